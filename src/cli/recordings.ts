// Handles the flags of `start` for recordings, and makes a configuration for a replay without one.
import { resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { findConfigFile } from '../config/search.ts'
import type { RecordingMode } from '../recordings/session.ts'
import { readConfig, withDraft } from './config.ts'
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
  // JSON is valid YAML.
  const text = JSON.stringify(replayDocument(recordings))
  const config = await withDraft(text, (file) => readConfig({ ...options, config: file }))
  return { ...config, file: undefined, watchedFiles: [] }
}
