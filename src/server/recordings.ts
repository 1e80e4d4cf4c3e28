// Sets up recording and replay for `start --record`, `--replay` and `--replay-else-record`; loaded only then.
import type { Config, RecordingSettings } from '../config/config.ts'
import type { Send } from '../forward/call.ts'
import { send } from '../forward/send.ts'
import type { KnownSecrets } from '../observe/known-secrets.ts'
import type { Logger } from '../observe/log.ts'
import type { RecordingMode } from '../recordings/session.ts'

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
  option: RecordingMode | undefined,
  { config, log, secrets }: RecordingsDeps,
): Promise<Recordings> {
  if (option === undefined) return { send, needsTokens: true, configure: () => {}, flush: async () => {} }
  const { openSession } = await import('../recordings/session.ts')
  const session = await openSession(option, config.recordings, {
    holdsSecret: (text) => secrets.isIn(text),
    warn: (message, details) => log.warn(details, message),
  })
  return {
    send: session.wrap(send),
    needsTokens: !session.isOffline,
    configure: (settings) => session.configure(settings),
    flush: () => session.flush(),
  }
}
