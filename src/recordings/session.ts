// Implements `start --record`, `--replay` and `--replay-else-record` as one object that wraps `send`.
import { existsSync } from 'node:fs'
import type { RecordingSettings } from '../config/config.ts'
import type { Send } from '../forward/call.ts'
import { stored } from './har.ts'
import { readFolder } from './har-file.ts'
import { CallRecorder, type RecorderDeps, withRecorder } from './recorder.ts'
import { RecordedAnswers, replayElseRecord, replaySend } from './replay.ts'

/** The mode that the command line chooses. */
export interface RecordingMode {
  readonly mode: 'record' | 'replay' | 'replay-else-record'
  /** The folder of the recordings. It is created if it is missing, except for `--replay`. */
  readonly folder: string
}

/** It outlives a reload. */
export interface RecordingSession {
  /** True if nothing is ever sent, so that tokens and connections are not needed. */
  readonly isOffline: boolean
  wrap(send: Send): Send
  configure(settings: RecordingSettings): void
  /** Writes everything that waits, for the drain. */
  flush(): Promise<void>
}

/**
 * Opens the folder. @throws {RecordingError} for a file that is not a recording; an Error of Node if a folder to
 * replay cannot be read.
 */
export async function openSession(
  { mode, folder }: RecordingMode,
  settings: RecordingSettings,
  deps: Omit<RecorderDeps, 'onRecorded'>,
): Promise<RecordingSession> {
  const answers = new RecordedAnswers(settings)
  if (mode === 'replay' || (mode === 'replay-else-record' && existsSync(folder))) {
    for (const recording of await readFolder(folder)) answers.addAll(recording)
  }
  const recorder = new CallRecorder(folder, settings, {
    ...deps,
    // Without replay, entries are not kept in memory.
    ...(mode === 'record' ? {} : { onRecorded: (company, entry) => answers.add(company, stored(entry)) }),
  })
  const wraps: Record<RecordingMode['mode'], (send: Send) => Send> = {
    record: (send) => withRecorder(send, recorder),
    replay: () => replaySend(answers),
    'replay-else-record': (send) => replayElseRecord(answers, send, recorder),
  }
  return {
    isOffline: mode === 'replay',
    wrap: wraps[mode],
    configure: (next) => {
      answers.configure(next)
      recorder.configure(next)
    },
    flush: () => recorder.flush(),
  }
}
