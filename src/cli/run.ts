// Runs the proxy until a signal; reloads on SIGHUP and on changed files.
import closeWithGrace from 'close-with-grace'
import type { Config } from '../config/config.ts'
import type { Flags } from '../config/overrides.ts'
import { ConfigError } from '../config/problems.ts'
import { watchFiles } from '../config/watch.ts'
import { batched } from '../observe/batched.ts'
import { createLogger, type Logger } from '../observe/log.ts'
import { VERSION } from '../observe/version.ts'
import { buildServer, loadConfig, type ProxyServer } from '../server.ts'
import { readConfig } from './config-options.ts'
import { CommandError, EXIT } from './exit.ts'
import { whenUnread } from './output.ts'

/** What `start` does; a bad configuration and an address that can't be had end the command. */
export async function start(flags: Flags): Promise<void> {
  const config = await readConfig(flags)
  const log = createLogger(config.log, batched(process.stdout))
  const server = await runServer(config, log)
  const stopWatching = reloadOnChange(flags, config, server, log)
  const { close } = closeWithGrace(
    {
      // The drain keeps to the time of the configuration in force.
      delay: false,
      skip: ['SIGHUP', 'beforeExit'],
      // Its own messages would print whole errors, which may hold headers.
      logger: false,
      onSecondSignal: (signal) =>
        log.error({ signal }, 'second signal: stopped at once, requests were cut off'),
      onSecondError: (error) => log.fatal({ error }, 'second unforeseen error: stopped at once'),
    },
    async ({ signal, err }) => {
      if (err) log.fatal({ error: err }, 'unforeseen error: shutting down')
      else log.info({ signal }, 'draining')
      stopWatching()
      if (await server.drain()) log.info('stopped')
      else {
        log.error('stopped: shutdownTimeout ran out, requests were cut off')
        process.exit(EXIT.failure)
      }
    },
  )
  whenUnread(close)
}

/** Listens, and says where and for which companies. */
async function runServer(config: Config, log: Logger): Promise<ProxyServer> {
  const server = await buildServer(config, { log })
  log.info({ version: VERSION, node: process.versions.node, file: config.file }, 'procore-proxy starts')
  for (const warning of config.warnings) log.warn(warning)
  const { proxy, noProxy } = config.network
  if (proxy !== undefined) {
    const hosts = noProxy.map(({ host, port }) => (port === undefined ? host : `${host}:${port}`))
    log.info({ noProxy: hosts }, `Procore is reached through the outbound proxy ${proxy.origin}`)
  }
  if (config.tracing !== undefined) {
    log.info({ protocol: config.tracing.protocol }, `traces are sent to ${config.tracing.origin}`)
  }
  for (const { name, id, account, access, isDefault } of config.companies) {
    log.info(
      {
        company: name,
        id,
        environment: account.environment.name,
        account: account.name,
        access,
        ...(isDefault && { default: true }),
      },
      'company',
    )
  }
  if (config.anyCompany !== undefined) {
    const { account, access } = config.anyCompany
    log.info(
      { company: '*', environment: account.environment.name, account: account.name, access },
      'company',
    )
  }
  try {
    await server.listen()
  } catch (error) {
    await server.drain()
    throw new CommandError((error as Error).message)
  }
  for (const { url, company } of server.addresses()) {
    // Whoever started it has to learn the address, whatever the log is for.
    if (log.isLevelEnabled('info')) log.info({ company }, `listening on ${url}`)
    else process.stderr.write(`listening on ${url}${company === undefined ? '' : ` (${company})`}\n`)
  }
  return server
}

function reloadOnChange(flags: Flags, first: Config, server: ProxyServer, log: Logger): () => void {
  let watched = first.watchedFiles
  let stop = watchFiles(watched, () => reload('a file changed'))
  let stopped = false
  let queue: Promise<void> = Promise.resolve()
  // One after the other: an older reading must never come into force after a newer one.
  const reload = (why: string) => {
    queue = queue.then(() => load(why))
  }
  const load = async (why: string) => {
    if (stopped) return
    log.info(`reload: ${why}`)
    try {
      const config = await loadConfig({ flags, env: process.env, cwd: process.cwd() })
      if (stopped) return
      if (config.watchedFiles.join() !== watched.join()) {
        stop()
        watched = config.watchedFiles
        stop = watchFiles(watched, () => reload('a file changed'))
      }
      await server.reload(config)
    } catch (error) {
      const problems = error instanceof ConfigError ? error.message.split('\n') : [(error as Error).message]
      for (const problem of problems) log.error(problem)
      log.error('reload: the old configuration stays in force')
    }
  }
  // Never taken off again: without a listener the signal would end the process in the middle of its drain.
  process.on('SIGHUP', () => reload('SIGHUP'))
  return () => {
    stopped = true
    stop()
  }
}
