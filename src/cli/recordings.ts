// Handles the flags --record, --replay and --replay-else-record of `start`, and makes a configuration for a replay
// without one.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { findConfigFile } from '../config/search.ts'
import type { RecordingMode } from '../recordings/session.ts'
import { readConfig } from './config.ts'
import { usageError } from './exit.ts'
import type { Options } from './options.ts'

/** The mode that the flags ask for; undefined without any. */
export function recordingMode({ record, replay, replayElseRecord }: Options): RecordingMode | undefined {
  if (record !== undefined) return { mode: 'record', folder: resolve(record) }
  if (replay !== undefined) return { mode: 'replay', folder: resolve(replay) }
  if (replayElseRecord === undefined) return undefined
  return { mode: 'replay-else-record', folder: resolve(replayElseRecord) }
}

/**
 * The configuration for a replay: the usual one without its secrets or, if there is none, the companies of the
 * recordings. Throws CommandError if the folder contains no recordings.
 */
export async function readReplayConfig(folder: string, options: Options): Promise<Config> {
  const hasFile = await findConfigFile({ flag: options.config, env: process.env, cwd: process.cwd() })
  if (hasFile !== undefined || process.env['PROCORE_COMPANY_ID']) {
    return readConfig(options, { resolveSecrets: false })
  }
  const { recordedCompanies } = await import('../recordings/har-file.ts')
  const { replayDocument } = await import('../recordings/replay-config.ts')
  const recordings = await recordedCompanies(folder).catch((error: Error) => {
    throw usageError(`--replay ${folder}: ${error.message}`)
  })
  if (recordings.length === 0) throw usageError(`--replay ${folder}: there are no recordings in this folder`)
  const draft = await mkdtemp(join(tmpdir(), 'procore-proxy-replay-'))
  try {
    const config = join(draft, 'recordings.yaml')
    // JSON is valid YAML.
    await writeFile(config, JSON.stringify(replayDocument(recordings)), { mode: 0o600 })
    return { ...(await readConfig({ ...options, config })), file: undefined, watchedFiles: [] }
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}
