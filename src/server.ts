// The one place of wiring: the listeners, the forwarder and the proxy's own pages behind them, and the tokens.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { LoginConnections } from './auth/login-connections.ts'
import { requestToken } from './auth/request-token.ts'
import { Tokens } from './auth/tokens.ts'
import type { Config } from './config/config.ts'
import { forward, type Passage } from './forward/forwarder.ts'
import { Upstreams } from './forward/upstreams.ts'
import { type Exchange, startExchange } from './observe/exchange.ts'
import type { Live } from './observe/live.ts'
import type { Logger } from './observe/log.ts'
import type { Recorder } from './observe/recorder.ts'
import { requestIdOf } from './observe/request-id.ts'
import { VERSION } from './observe/version.ts'
import { Drain } from './server/drain.ts'
import { answerHealth } from './server/health.ts'
import { Listeners } from './server/listeners.ts'
import { Observation } from './server/observation.ts'
import type { Pages } from './server/pages.ts'
import { receive, runtimeOf } from './server/reception.ts'
import { condemn, isCondemned, refuse } from './server/refusal.ts'
import { accountsInUse, Reloader } from './server/reload.ts'
import { type House, hangOn, Visit } from './server/visit.ts'

export type { Config } from './config/config.ts'
export { loadConfig } from './config/load.ts'
export { createLogger, type Logger } from './observe/log.ts'

export interface ServerDeps {
  readonly log: Logger
  /** Called once, when the proxy has had some requests: time for what an idle one can do without. */
  readonly onBusy?: () => void
}

/** A proxy that is built but does not listen yet. */
export interface ProxyServer {
  /** Opens every configured address and starts fetching tokens; throws where an address can't be had. */
  listen(): Promise<void>
  /** Addresses in use, as `http://127.0.0.1:8377` or `unix:/run/x.sock`, with the company of each. */
  addresses(): { url: string; company: string | undefined }[]
  /** Puts another configuration in force; see {@link Reloader.reload}. */
  reload(config: Config): Promise<void>
  /** Ends what is under way, refuses what is new, then closes; false where the configured time ran out first. */
  drain(): Promise<boolean>
  /** Requests under way. */
  readonly inFlight: number
  readonly tokens: Tokens
  /** What is remembered of requests, for the status page. */
  readonly recorder: Recorder
}

/** So many requests are more than a probe or somebody's try. */
const BUSY_AFTER_REQUESTS = 64

/** Traces that are not sent by then are lost: nobody's request waits for them. */
const LONGEST_FLUSH_MS = 2_000

export async function buildServer(config: Config, { log, onBusy }: ServerDeps): Promise<ProxyServer> {
  // Loaded only where it is wanted: OpenTelemetry is a good part of all packages.
  const tracing = config.tracing && new (await import('./observe/tracing.ts')).Tracing(config.tracing, log)
  const login = new LoginConnections(config)
  const tokens = new Tokens(
    (account, signal) => requestToken(account, login.pools, signal),
    (event) => observation.token(event),
  )
  const upstreams = new Upstreams(config, tokens)
  const reloader = new Reloader(runtimeOf(config, upstreams), tokens, login, log)
  const drain = new Drain()
  const isReady = () => listeners.addresses().length > 0 && !drain.draining && allTried(tokens)
  // Getters: whoever wants one of them pays for no other, and an address is asked for only while there is one.
  const live: Live = {
    version: VERSION,
    get config() {
      return reloader.runtime.config
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
      return reloader.runtime.upstreams.loads()
    },
  }
  const observation = new Observation(config, log, live, tracing)

  let pages: Promise<Pages> | undefined
  // Loaded with the first request for one: calls of the API need nothing of it.
  const buildPages = async () => {
    try {
      const { Pages } = await import('./server/pages.ts')
      return await Pages.build({ isReady, observation })
    } catch (error) {
      // What was amiss may pass: the next one tries again.
      pages = undefined
      throw error
    }
  }
  /** Those that could not be built have told whoever asked for them. */
  const built = () => pages?.catch(() => undefined)
  const endStreams = async () => (await built())?.endStreams()
  const route = (request: IncomingMessage, response: ServerResponse, exchange: Exchange) => {
    pages ??= buildPages()
    pages
      .then(({ handle }) => handle(request, response))
      .catch((error: unknown) => refuse(error, response, exchange))
  }

  let requests = 0
  const listeners = new Listeners((request, response, listener) => {
    if (isCondemned(request.socket)) return
    if (++requests === BUSY_AFTER_REQUESTS) onBusy?.()
    // Node throws away what came with it in one packet: the next bytes may be the middle of something.
    if (request.headers.upgrade !== undefined) condemn(request.socket, response)
    const exchange = startExchange(
      requestIdOf(request.headers['x-request-id']),
      request.method ?? '',
      request.url ?? '/',
    )
    exchange.listener = listener.address
    exchange.rawHeaders = request.rawHeaders
    if (tracing !== undefined) exchange.trace = tracing.begin(request.rawHeaders)
    const visit = new Visit(house, listener, exchange, response)
    try {
      const reception = receive(reloader.runtime, request, listener, exchange, drain.draining)
      if (reception.kind === 'preflight') {
        response.writeHead(204, [...reception.headers])
        response.end()
      } else if (reception.kind === 'forward' && isForApi(reception.passage)) {
        forward(request, response, reception.passage)
      } else if (answerHealth(request, response, isReady)) {
        exchange.own = true
      } else {
        if (reception.kind === 'forward') visit.passage = reception.passage
        hangOn(request, visit)
        route(request, response, exchange)
      }
    } catch (error) {
      refuse(error, response, exchange)
    }
  })

  const house: House = { drain, listeners, observation }

  return {
    get inFlight() {
      return drain.inFlight
    },
    tokens,
    addresses: () => listeners.addresses(),
    listen: async () => {
      await listeners.apply(reloader.runtime.config)
      for (const account of accountsInUse(reloader.runtime.config)) tokens.source(account).prefetch()
    },
    recorder: observation.recorder,
    reload: async (next) => {
      await reloader.reload(next, listeners)
      observation.recorder.configure(reloader.runtime.config.inspector)
      // One may stand on an address that was closed.
      await endStreams()
    },
    drain: () => {
      void endStreams()
      return drain.run(reloader.runtime.config.shutdownTimeoutMs, listeners, async (force) => {
        tokens.close()
        observation.close()
        await (force ? reloader.runtime.upstreams.destroy() : reloader.runtime.upstreams.close())
        await login.destroy()
        await (await built())?.close()
        await tracing?.close(Math.min(LONGEST_FLUSH_MS, reloader.runtime.config.shutdownTimeoutMs))
      })
    },
  }
}

/** Calls of the API go straight to the forwarder: Fastify's router and objects are a tenth of what such a call costs. */
function isForApi({ upstream }: Passage): boolean {
  return upstream.origin === upstream.environment.apiUrl
}

function allTried(tokens: Tokens): boolean {
  for (const source of tokens.sources()) if (!source.tried) return false
  return true
}
