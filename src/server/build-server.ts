// The one place of wiring: tokens, budgets, upstreams, observation and listeners, and the app that each configuration gets.
import type { FastifyInstance } from 'fastify'
import { requestToken } from '../auth/request-token.ts'
import { Tokens } from '../auth/tokens.ts'
import type { Config } from '../config/config.ts'
import { Budgets } from '../forward/budgets.ts'
import { send } from '../forward/send.ts'
import { Upstreams } from '../forward/upstreams.ts'
import type { Logger } from '../observe/log.ts'
import type { Recorder } from '../observe/recorder.ts'
import { VERSION } from '../observe/version.ts'
import { buildApp } from './app.ts'
import { Drain } from './drain.ts'
import { type Runtime, runtimeOf } from './judge.ts'
import { Listeners } from './listeners.ts'
import { LoginAsker } from './login-asker.ts'
import { Observation } from './observation.ts'
import { accountsInUse, Reloader } from './reload.ts'

export interface ServerDeps {
  readonly log: Logger
}

/** A proxy that is built but does not listen yet. */
export interface ProxyServer {
  /** Opens every configured address and starts fetching tokens; throws where an address can't be opened. */
  listen(): Promise<void>
  /** Addresses in use, as `http://127.0.0.1:8377` or `unix:/run/x.sock`, with the company of each. */
  addresses(): { url: string; company: string | undefined }[]
  /** Puts another configuration in force; see {@link Reloader.reload}. */
  reload(config: Config): Promise<void>
  /** Finishes what is under way, refuses what is new, then closes; false where requests were cut off. */
  drain(): Promise<boolean>
  readonly tokens: Tokens
  /** The requests that are remembered for the status page. */
  readonly recorder: Recorder
}

export async function buildServer(config: Config, { log }: ServerDeps): Promise<ProxyServer> {
  const login = new LoginAsker(config)
  const tokens = new Tokens(
    (account, signal) => requestToken(account, login.ask, signal),
    (event) => observation.token(event),
  )
  const budgets = new Budgets(config)
  const drain = new Drain()
  const deps = { tokens, budgets }
  let runtime = runtimeOf(config, new Upstreams(config, deps))
  const isReady = () => listeners.addresses().length > 0 && !drain.isDraining && allTried(tokens)
  const observation = new Observation(config, log, {
    version: VERSION,
    get config() {
      return runtime.config
    },
    get ready() {
      return isReady()
    },
    get inFlight() {
      return drain.inFlight
    },
    get listeners() {
      return listeners.addresses()
    },
    get tokens() {
      return [...tokens.sources()]
    },
    get loads() {
      return runtime.upstreams.loads()
    },
  })
  const listeners = new Listeners({
    handle: (request, response) => {
      drain.entered()
      listeners.connections.of(request.socket)?.current?.onClose.push(() => {
        drain.left()
        listeners.closeIdle()
      })
      app.routing(request, response)
    },
    onError: (_listener, error) => log.error({ error }, 'a listener failed to accept a connection'),
    onRefused: (most) => log.warn(`more than ${most} connections of callers: new ones are closed at once`),
  })
  const appOf = (next: Runtime) =>
    buildApp({
      runtime: next,
      connections: listeners.connections,
      observation,
      send,
      log,
      isReady,
      isDraining: () => drain.isDraining,
    })
  let app: FastifyInstance = await appOf(runtime)
  const reloader = new Reloader({
    tokens,
    login,
    log,
    listeners,
    current: () => runtime,
    report: (error) => observation.reloaded(error),
    apply: async (next) => {
      const before = { runtime, app }
      budgets.configure(next)
      const swapped = runtimeOf(next, new Upstreams(next, deps, before.runtime.upstreams))
      app = await appOf(swapped)
      runtime = swapped
      observation.configure(next)
      // Requests under way end as they began.
      await before.app.close()
      void before.runtime.upstreams.close()
    },
  })
  return {
    tokens,
    addresses: () => listeners.addresses(),
    listen: async () => {
      await listeners.apply(config)
      for (const account of accountsInUse(config)) tokens.source(account).prefetch()
    },
    recorder: observation.recorder,
    reload: (next) => reloader.reload(next),
    drain: () => {
      observation.endStreams()
      return drain.run(runtime.config.shutdownTimeoutMs, listeners, async (force) => {
        reloader.close()
        tokens.close()
        await (force ? runtime.upstreams.destroy() : runtime.upstreams.close())
        await login.destroy()
        await app.close()
        await observation.close()
      })
    },
  }
}

function allTried(tokens: Tokens): boolean {
  for (const source of tokens.sources()) if (!source.tried) return false
  return true
}
