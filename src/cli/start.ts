// The command `start`: runs the proxy until a signal arrives, and applies changed configurations.

import { resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import type { Config } from '../config/config.ts'
import { findConfigFile, watchFiles } from '../config/files.ts'
import type { LoadInput } from '../config/load.ts'
import { ConfigError } from '../config/problems.ts'
import { createLogger, type Logger, LogOutput } from '../observe/log.ts'
import { KnownSecrets } from '../observe/mask.ts'
import { VERSION } from '../observe/own-files.ts'
import type { RecordingMode } from '../recordings/replay.ts'
import { buildServer, type ProxyServer, type ServerDeps } from '../server/build-server.ts'
import type { Options } from './commands.ts'
import { readConfig } from './config.ts'
import { CommandError, EXIT, goOnWithoutOutput, usageError } from './exit.ts'

/** A reader of the log that has not taken its last lines by then does not get them. */
const LONGEST_LAST_WRITE_MS = 1_000

const STOPS = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGUSR2'] as const

/** Runs the proxy; throws CommandError for a bad configuration and for an address that cannot be opened. */
export async function start(options: Options): Promise<void> {
  const recordings = recordingMode(options)
  const isReplay = recordings?.mode === 'replay'
  const read = () => (isReplay ? readReplayConfig(recordings.folder, options) : readConfig(options))
  // Without a listener, SIGHUP would end the process during its start and its drain, and process 1 of a container would not
  // get the others before it has started.
  let hungUp = false
  let onHangUp = () => {
    hungUp = true
  }
  let onStop = endBy
  process.on('SIGHUP', () => onHangUp())
  for (const name of STOPS) process.on(name, (signal) => onStop(signal))
  const readAtMs = Date.now()
  const config = await read()
  goOnWithoutOutput()
  const secrets = new KnownSecrets()
  const output = new LogOutput(process.stdout)
  const log = createLogger(config.log, output, secrets.conceal)
  process.on('SIGUSR1', () => log.warn('SIGUSR1 does nothing; SIGHUP reloads, and reopens the audit file'))
  const server = await runServer(config, { log, secrets, recordings, linesLost: () => output.lost })
  // Recordings are read at the start only, and so are the companies in them.
  const readAgain = isReplay && config.file === undefined ? async () => config : read
  const { watchedFiles } = config
  const reloads = reloadOnChange(server, log, { read: readAgain, watchedFiles, readAtMs })
  onHangUp = reloads.onHangUp
  if (hungUp) onHangUp()
  let stoppedBy: string | undefined
  const { close } = closeWithGrace(
    {
      // The drain has its own time limit, from the current configuration.
      delay: false,
      skip: ['SIGHUP', ...STOPS, 'beforeExit'],
      // close-with-grace would print whole errors, which may contain headers.
      logger: false,
      onSecondError: (error) => log.fatal({ error }, 'second unexpected error: stopped at once'),
    },
    async ({ signal = stoppedBy, err }) => {
      stoppedBy ??= signal ?? 'error'
      if (err) log.fatal({ error: err }, 'unexpected error: shutting down')
      else log.info({ signal }, 'draining')
      reloads.stop()
      const isClean = await server.drain()
      if (isClean) log.info('stopped')
      else log.error('stopped: shutdownTimeout ran out, and requests were cut off')
      await output.finish(LONGEST_LAST_WRITE_MS)
      await exit(isClean && !err ? EXIT.ok : EXIT.failure)
    },
  )
  onStop = (signal) => {
    if (stoppedBy === undefined) {
      stoppedBy = signal
      close()
      return
    }
    // Without a request it ends within seconds, and recordings may still have to be written. Programs such as npx pass a signal
    // on that the terminal sent to the proxy as well.
    if (server.inFlight === 0) return
    log.error({ signal }, 'second signal: stopped at once, and requests were cut off')
    void exit(EXIT.failure)
  }
}

/** Ends the process by a signal: process.exit would wait for a file that is being read from a pipe or a dead disk. */
function endBy(signal: NodeJS.Signals): void {
  if (process.pid === 1) process.exit()
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}

/** Ends the process with this status; by a signal if an operation on a file does not come back. */
async function exit(status: number): Promise<void> {
  const isBusy = () => process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))
  for (let tries = 0; isBusy() && tries < 25; tries++) await setTimeout(20)
  if (isBusy() && process.pid !== 1) endBy('SIGTERM')
  process.exit(status)
}

/** The mode that the flags ask for; undefined without any. */
export function recordingMode({ record, replay, replayElseRecord }: Options): RecordingMode | undefined {
  if (record !== undefined) return { mode: 'record', folder: resolve(record) }
  if (replay !== undefined) return { mode: 'replay', folder: resolve(replay) }
  if (replayElseRecord === undefined) return undefined
  return { mode: 'replay-else-record', folder: resolve(replayElseRecord) }
}

/**
 * The configuration for a replay: the usual one without its secrets, except the keys of callers, or, if there is none,
 * the companies of the recordings. Throws CommandError if the folder contains no recordings.
 */
export async function readReplayConfig(folder: string, options: Options): Promise<Config> {
  const read = (more: Partial<LoadInput> = {}) => readConfig(options, { resolveSecrets: 'keys', ...more })
  const hasFile = findConfigFile({ flag: options.config, env: process.env, cwd: process.cwd() })
  if (hasFile !== undefined) return read()
  if (process.env['PROCORE_COMPANY_ID']) {
    const account = { PROCORE_CLIENT_ID: 'replay', PROCORE_CLIENT_SECRET: 'replay' }
    return read({ env: { ...process.env, ...account, PROCORE_CLIENT_SECRET_FILE: undefined } })
  }
  const { recordedCompanies } = await import('../recordings/har-file.ts')
  const { replayDocument } = await import('../recordings/replay.ts')
  const companies = await recordedCompanies(folder).catch((error: Error) => {
    throw usageError(`--replay ${folder}: ${error.message}`)
  })
  if (companies.length === 0) throw usageError(`--replay ${folder}: there are no recordings in this folder`)
  // JSON is valid YAML.
  return read({ text: JSON.stringify(replayDocument(companies)) })
}

/** Listens, and says where and for which companies. */
async function runServer(config: Config, deps: ServerDeps & { readonly log: Logger }): Promise<ProxyServer> {
  const { log } = deps
  const server = await buildServer(config, deps).catch((error: Error) => {
    // Compared by name, because the code of recordings is loaded only if they are used.
    if (error.name === 'RecordingError') throw usageError(error.message)
    // The audit file cannot be opened.
    throw 'syscall' in error ? new CommandError(error.message) : error
  })
  log.info({ version: VERSION, node: process.versions.node, file: config.file }, 'procore-proxy starts')
  for (const warning of config.warnings) log.warn(warning)
  describeConfig(config, log)
  try {
    await server.listen()
  } catch (error) {
    await server.drain()
    throw new CommandError((error as Error).message)
  }
  for (const { url, company } of server.addresses()) announce(url, company, config, log)
  return server
}

/** Prints the address for the user if the log hides it, or if the log is JSON on a terminal. */
function announce(url: string, company: string | undefined, { log: settings }: Config, log: Logger): void {
  const isLogged = log.isLevelEnabled('info')
  if (isLogged) log.info({ company }, `listening on ${url}`)
  const isReadable = settings.format === 'readable' || (settings.format === 'auto' && process.stdout.isTTY)
  if (isLogged && (isReadable || !process.stderr.isTTY)) return
  process.stderr.write(`listening on ${url}${company === undefined ? '' : ` (${company})`}\n`)
}

function describeConfig({ network, companies, anyCompany }: Config, log: Logger): void {
  if (network.proxy !== undefined) {
    const hosts = network.noProxy.map(({ host, port }) => (port === undefined ? host : `${host}:${port}`))
    log.info({ noProxy: hosts }, `Procore is reached through the outbound proxy ${network.proxy.origin}`)
  }
  const others =
    anyCompany === undefined ? [] : [{ ...anyCompany, name: '*', id: undefined, isDefault: false }]
  for (const { name, id, account, access, isDefault } of [...companies, ...others]) {
    const environment = account.environment.name
    const fields = { company: name, id, environment, account: account.name, access }
    log.info({ ...fields, ...(isDefault && { default: true }) }, 'company')
  }
}

/** Reloads when a watched file changes, until `stop` is called, and at `onHangUp`, which also reopens the audit file. */
function reloadOnChange(
  server: ProxyServer,
  log: Logger,
  given: { read: () => Promise<Config>; watchedFiles: readonly string[]; readAtMs: number },
): { readonly stop: () => void; readonly onHangUp: () => void } {
  let watched: readonly string[] = []
  let stop = () => {}
  let isStopped = false
  let isWaiting = false
  let queue: Promise<void> = Promise.resolve()
  /** `readAtMs`: when reading these files began. */
  const watch = (files: readonly string[], readAtMs: number) => {
    if (isStopped || files.join() === watched.join()) return
    stop()
    watched = files
    stop = watchFiles(files, () => reload('a file changed'), readAtMs)
  }
  // One reload at a time, so that an older configuration is never applied after a newer one. At most one waits, because
  // it reads the newest files.
  const reload = (why: string) => {
    if (isWaiting) return
    isWaiting = true
    queue = queue.then(() => load(why))
  }
  const load = async (why: string) => {
    isWaiting = false
    if (isStopped) return
    log.info(`reload: ${why}`)
    const readAtMs = Date.now()
    try {
      const config = await given.read()
      if (isStopped) return
      watch(config.watchedFiles, readAtMs)
      await server.reload(config)
    } catch (error) {
      // What is wrong may be in a file that only the new configuration names.
      const { cause } = error as Error
      if (cause instanceof ConfigError && cause.watchedFiles.length > 0) watch(cause.watchedFiles, readAtMs)
      const problems = (error as Error).message.split('\n')
      for (const problem of problems) log.error(problem)
      log.error('reload: the old configuration stays in force')
      server.reloadFailed(problems)
    }
  }
  watch(given.watchedFiles, given.readAtMs)
  return {
    stop: () => {
      isStopped = true
      stop()
    },
    onHangUp: () => {
      server.reopen().catch((error: unknown) => log.error({ error }, 'the audit file could not be reopened'))
      reload('SIGHUP')
    },
  }
}
