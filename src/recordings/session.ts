// Opens a folder of recordings for `start --record`, `--replay` or `--replay-else-record`.
import { existsSync } from 'node:fs'
import type { RecordingSettings } from '../config/config.ts'
import type { Send } from '../forward/call.ts'
import { stored } from './har.ts'
import { makeFolder, RecordingError, readFolder } from './har-file.ts'
import { MemberMask } from './masks.ts'
import { CallRecorder, type RecorderDeps, withRecorder } from './recorder.ts'
import { RecordedAnswers, replayElseRecord, replaySend } from './replay.ts'

/** What the command line asks for. */
export interface RecordingMode {
  readonly mode: 'record' | 'replay' | 'replay-else-record'
  /** The folder of the recordings. It is created if it is missing, unless it is only replayed. */
  readonly folder: string
}

/** Calls that are recorded or answered from recordings. They outlive a reload. */
export type Recordings = Awaited<ReturnType<typeof openSession>>

/**
 * Opens the folder; `deps.send` sends what is not replayed.
 * @throws {RecordingError} for a file that is not a recording, and for a folder that cannot be read or made.
 */
export async function openSession(
  { mode, folder }: RecordingMode,
  { redact }: RecordingSettings,
  { send, ...deps }: Omit<RecorderDeps, 'onRecorded'> & { readonly send: Send },
) {
  const mask = new MemberMask(redact)
  const answers = new RecordedAnswers(mask)
  // What a folder already holds can be replayed although nothing can be added.
  if (mode === 'record' || (mode === 'replay-else-record' && !existsSync(folder))) await makeFolder(folder)
  if (mode !== 'record') {
    for (const recording of await readFolder(folder).catch(unreadable(folder))) answers.addAll(recording)
  }
  const recorder = new CallRecorder(folder, mask, {
    ...deps,
    // What is only recorded is not held in memory.
    ...(mode === 'record' ? {} : { onRecorded: (company, entry) => answers.add(company, stored(entry)) }),
  })
  const sends = {
    record: withRecorder(send, recorder),
    replay: replaySend(answers),
    'replay-else-record': replayElseRecord(answers, send, recorder),
  }
  return {
    send: sends[mode],
    /** False if nothing is ever sent to Procore. */
    needsTokens: mode !== 'replay',
    configure: (next: RecordingSettings) => mask.configure(next.redact),
    /** Writes everything that has not been written yet. */
    flush: () => recorder.flush(),
  }
}

function unreadable(folder: string) {
  return (cause: Error): never => {
    if (cause instanceof RecordingError) throw cause
    throw new RecordingError(`The folder ${folder} cannot be read: ${cause.message}`, { cause })
  }
}
