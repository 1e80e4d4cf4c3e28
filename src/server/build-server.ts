// Puts all parts together: creates what outlives a configuration, and a new app for each configuration.
import type { FastifyInstance } from 'fastify'
import { requestToken } from '../auth/request-token.ts'
import { type RequestToken, Tokens } from '../auth/token-source.ts'
import { isOff, ResponseCache } from '../cache/response-cache.ts'
import type { Config, ServiceAccount } from '../config/config.ts'
import { Budgets } from '../forward/budgets.ts'
import type { Send } from '../forward/call.ts'
import { send } from '../forward/send.ts'
import { Upstreams } from '../forward/upstreams.ts'
import { KeyThrottle } from '../guards/callers.ts'
import { FileHostLimiter } from '../guards/file-hosts.ts'
import type { Inspector } from '../observe/inspector.ts'
import { createLogger, type Logger } from '../observe/log.ts'
import { KnownSecrets } from '../observe/mask.ts'
import { VERSION } from '../observe/own-files.ts'
import type { RecordingMode, Recordings } from '../recordings/replay.ts'
import type { Shared } from '../shared/open-shared.ts'
import { type AppDeps, buildApp } from './app.ts'
import { type Runtime, runtimeOf } from './judge.ts'
import { Drain, Listeners } from './listeners.ts'
import type { readListHere } from './lists.ts'
import { Audits, Observation } from './observation.ts'
import { OwnPlaces } from './own-pages.ts'
import { accountsInUse, LoginAsker, Reloader, withLateChanges } from './reload.ts'

export interface ServerDeps {
  /** By default a log on standard output, in which known secrets are hidden. */
  readonly log?: Logger
  /** Shared with the log, which hides them. */
  readonly secrets?: KnownSecrets
  /** The number of log lines that could not be written, for the metrics. */
  readonly linesLost?: () => number
  /** Records traffic, or answers from recordings. */
  readonly recordings?: RecordingMode | undefined
}

/** A proxy that has been built but does not listen yet. */
export interface ProxyServer {
  /** Opens every configured address and starts to fetch tokens. Throws if an address cannot be opened, or after `drain`. */
  listen(): Promise<void>
  /** The open addresses, as `http://127.0.0.1:8377` or `unix:/run/x.sock`, each with its company. */
  addresses(): { url: string; company: string | undefined }[]
  /** Applies another configuration; see {@link Reloader.reload}. */
  reload(config: Config): Promise<void>
  /**
   * Reports that a changed configuration could not be read, so that status, page and metrics can say why the old one
   * stays in force.
   */
  reloadFailed(problems: readonly string[]): void
  /** Reopens the audit file, after a log rotation. */
  reopen(): Promise<void>
  /**
   * Refuses new requests, finishes those in flight, then closes. Resolves with false if requests were cut off. From then on
   * no configuration is applied.
   */
  drain(): Promise<boolean>
  /** Reads a whole list without an address; see {@link readListHere}. */
  readList(url: string, options: Parameters<typeof readListHere>[2]): ReturnType<typeof readListHere>
  /** The number of requests that have not ended. */
  readonly inFlight: number
  readonly tokens: Tokens
  /** The recent requests, for the status page. */
  readonly inspector: Inspector
}

export async function buildServer(config: Config, deps: ServerDeps = {}): Promise<ProxyServer> {
  const { secrets = new KnownSecrets(), linesLost = () => 0 } = deps
  const { log = createLogger(config.log, undefined, secrets.conceal) } = deps
  // Before anything is logged: Redis may repeat what it was sent.
  secrets.configure(config)
  const audits = new Audits(log, secrets.conceal)
  ;(await audits.prepare(config)).apply()
  const recordings = await openRecordings(config, { ...deps, log, secrets })
  // After all that can fail, because an open connection would keep the process from its end.
  const shared = await openSharedState(config, log)
  const login = new LoginAsker(config)
  const requestNew: RequestToken = ({ account, signal }) => requestToken(account, login.ask, signal)
  const requestAny = shared?.shareTokens(requestNew) ?? requestNew
  const tokens = new Tokens(
    async (request) => {
      const issued = await requestAny(request)
      secrets.issued(issued.value)
      return issued
    },
    (event) => observation.token(event),
  )
  const budgets = new Budgets(config, shared?.openBudget)
  const cache = new ResponseCache(config.cache, ({ upstream }) => upstream.budget?.isExhausted ?? false)
  const cached: Send = (call) => cache.send(call, recordings.send)
  const upstreamsDeps = { tokens, budgets, lookUps: new FileHostLimiter() }
  let runtime = runtimeOf(config, new Upstreams(config, upstreamsDeps).start())
  const listeners = new Listeners(log)
  const drain = new Drain(listeners)
  const isUp = () => listeners.addresses().length > 0 && !drain.isDraining
  const loginsOf = (next: Config) => (recordings.needsTokens ? accountsInUse(next) : [])
  // Not those of a configuration that is still being tried.
  const sourcesOf = (accounts: readonly ServiceAccount[]) => accounts.map((account) => tokens.source(account))
  const isReady = (strict: boolean) => {
    const states = sourcesOf(loginsOf(runtime.config)).map((source) => source.state())
    return isUp() && states.every(({ tried, token }) => tried && (!strict || token !== undefined))
  }
  const observation = new Observation({
    config,
    log,
    secrets,
    live: () => ({
      version: VERSION,
      config: runtime.config,
      ready: isReady(false),
      inFlight: drain.inFlight,
      listeners: listeners.addresses(),
      tokens: sourcesOf(loginsOf(runtime.config)),
      loads: runtime.upstreams.loads(),
      logLinesLost: linesLost(),
      shared: shared?.state(),
      cache: cache.stats(),
    }),
    budgetRemaining: (group) => runtime.upstreams.budgetRemaining(group),
  })
  const parts = {
    log,
    drain,
    audits,
    connections: listeners.connections,
    keyThrottle: new KeyThrottle(),
    ownPlaces: new OwnPlaces(),
    observation,
    isReady,
  }
  const depsOf = (next: Runtime): AppDeps => {
    const isUncached = isOff(next.config.cache)
    return { runtime: next, send: isUncached ? recordings.send : cached, shared: parts }
  }
  listeners.connections.onUnread = async (exchange, error) => {
    await audits.recordRefusal(exchange, error)
    observation.ended(exchange, error.status)
  }
  let app: FastifyInstance = await buildApp(depsOf(runtime))
  listeners.connections.handle = app.routing
  const reloader = new Reloader({
    tokens,
    login,
    loginsOf,
    log,
    listeners,
    current: () => runtime,
    report: (problems) => observation.reloaded(problems),
    prepare: async (next) => {
      const upstreams = new Upstreams(next, upstreamsDeps)
      const nextRuntime = runtimeOf(next, upstreams)
      const nextApp = await buildApp(depsOf(nextRuntime))
      const audit = await audits.prepare(next)
      return {
        apply: () => {
          const before = app
          budgets.configure(next)
          shared?.configure(next)
          upstreams.start(runtime.upstreams)
          audit.apply()
          app = nextApp
          listeners.connections.handle = app.routing
          runtime = nextRuntime
          cache.configure(next.cache)
          recordings.configure(next.recordings)
          observation.configure(next)
          // Requests in flight end with the configuration that they began with.
          void before.close()
        },
        discard: () => audit.discard(),
      }
    },
  })
  let stopped: Promise<boolean> | undefined
  const stop = async () => {
    drain.isDraining = true
    await reloader.close()
    observation.streams.end()
    return drain.run(runtime.config.shutdownTimeoutMs, async () => {
      tokens.close()
      await runtime.upstreams.destroy()
      await login.destroy()
      await app.close()
      await recordings.close()
      await audits.close()
      observation.close()
      shared?.close()
    })
  }
  return {
    tokens,
    get inFlight() {
      return drain.inFlight
    },
    addresses: () => listeners.addresses(),
    listen: () => reloader.listen(),
    get inspector() {
      return observation.inspector
    },
    reload: (next) => reloader.reload(withLateChanges(config, next)),
    reloadFailed: (problems) => reloader.failed(problems),
    reopen: () => audits.reopen(),
    readList: async (url, options) => {
      const { readListHere } = await import('./lists.ts')
      return readListHere(depsOf(runtime), url, options)
    },
    drain: () => {
      stopped ??= stop()
      return stopped
    },
  }
}

/** Connects to Redis or Valkey if replicas share a budget. The client library is loaded only then. */
async function openSharedState(config: Config, log: Logger): Promise<Shared | undefined> {
  const { shared } = config
  if (shared === undefined) return undefined
  const { openShared } = await import('../shared/open-shared.ts')
  return await openShared({ ...config, shared }, log)
}

/** What carries calls: to Procore, recorded or not, or from recordings. The code of recordings is loaded only if they are used. */
async function openRecordings(
  config: Config,
  { recordings: mode, log, secrets }: ServerDeps & Readonly<{ log: Logger; secrets: KnownSecrets }>,
): Promise<Recordings> {
  if (mode === undefined) return { send, needsTokens: true, configure: () => {}, close: async () => {} }
  const { openSession } = await import('../recordings/replay.ts')
  return await openSession(mode, config.recordings, {
    send,
    holdsSecret: (text) => secrets.isIn(text),
    warn: (message, details) => log.warn(details, message),
  })
}
