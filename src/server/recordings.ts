// Sets up recording and replay for `start --record`, `--replay` and `--replay-else-record`; loaded only then.
import type { Config, RecordingSettings } from '../config/config.ts'
import type { Send } from '../forward/call.ts'
import { send } from '../forward/send.ts'
import type { KnownSecrets } from '../observe/known-secrets.ts'
import type { Logger } from '../observe/log.ts'

export interface RecordingsOption {
  readonly mode: 'record' | 'replay' | 'replay-else-record'
  readonly folder: string
}

export interface Recordings {
  readonly send: Send
  /** False if nothing is ever sent to Procore. */
  readonly needsTokens: boolean
  configure(settings: RecordingSettings): void
  /** Writes everything that has not been written yet. */
  flush(): Promise<void>
}

interface RecordingsDeps {
  readonly config: Config
  readonly log: Logger
  readonly secrets: KnownSecrets
}

/** Sends calls, sends and records them, or answers them from recordings. */
export async function openRecordings(
  option: RecordingsOption | undefined,
  { config, log, secrets }: RecordingsDeps,
): Promise<Recordings> {
  if (option === undefined) return { send, needsTokens: true, configure: () => {}, flush: async () => {} }
  const { mode, folder } = option
  const { Recorder, withRecorder } = await import('../recordings/recorder.ts')
  const { RecordedAnswers, replayElseRecord, replaySend } = await import('../recordings/replay.ts')
  const answers = mode === 'record' ? undefined : await RecordedAnswers.read(folder, config.recordings)
  const recorder = new Recorder(folder, config.recordings, {
    holdsSecret: (text) => secrets.isIn(text),
    warn: (message, details) => log.warn(details, message),
    onRecorded: (company, entry) => answers?.add(company, entry),
  })
  return {
    send:
      answers === undefined
        ? withRecorder(send, recorder)
        : mode === 'replay'
          ? replaySend(answers)
          : replayElseRecord(answers, send, recorder),
    needsTokens: mode !== 'replay',
    configure: (settings) => {
      answers?.configure(settings)
      recorder.configure(settings)
    },
    flush: () => recorder.flush(),
  }
}
