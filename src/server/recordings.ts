// Sends calls, sends and records them, or answers them from recordings, as the command line asks.
import type { Config } from '../config/config.ts'
import { send } from '../forward/send.ts'
import type { Logger } from '../observe/log.ts'
import type { KnownSecrets } from '../observe/mask.ts'
import type { RecordingMode, Recordings } from '../recordings/replay.ts'

interface RecordingsDeps {
  readonly config: Config
  readonly log: Logger
  readonly secrets: KnownSecrets
}

/** What carries calls; the code of recordings is loaded only if they are used. */
export async function openRecordings(
  mode: RecordingMode | undefined,
  { config, log, secrets }: RecordingsDeps,
): Promise<Recordings> {
  if (mode === undefined) return { send, needsTokens: true, configure: () => {}, flush: async () => {} }
  const { openSession } = await import('../recordings/replay.ts')
  return await openSession(mode, config.recordings, {
    send,
    holdsSecret: (text) => secrets.isIn(text),
    warn: (message, details) => log.warn(details, message),
  })
}
