// The one place of wiring: a Fastify app that never listens itself, the listeners before it, the tokens behind it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify'
import { LoginConnections } from './auth/login-connections.ts'
import { requestToken } from './auth/request-token.ts'
import { Tokens } from './auth/tokens.ts'
import type { Config } from './config/config.ts'
import { ProxyError } from './errors.ts'
import { forward, type Passage, registerForwarder } from './forward/forwarder.ts'
import { Upstreams } from './forward/upstreams.ts'
import { FILES_PATH } from './guards/file-hosts.ts'
import { FORWARDED_METHODS } from './guards/framing.ts'
import { startExchange } from './observe/exchange.ts'
import type { Live } from './observe/live.ts'
import type { Logger } from './observe/log.ts'
import type { Recorder } from './observe/recorder.ts'
import { requestIdOf } from './observe/request-id.ts'
import { VERSION } from './observe/version.ts'
import { Drain } from './server/drain.ts'
import { registerHealth } from './server/health.ts'
import { Listeners } from './server/listeners.ts'
import { Observation } from './server/observation.ts'
import { Page } from './server/page.ts'
import { registerPlaceholderLogin } from './server/placeholder-login.ts'
import { receive, runtimeOf } from './server/reception.ts'
import { condemn, isCondemned, refuse } from './server/refusal.ts'
import { accountsInUse, Reloader } from './server/reload.ts'
import { type House, Visit } from './server/visit.ts'

export type { Config } from './config/config.ts'
export { loadConfig } from './config/load.ts'
export { createLogger, type Logger } from './observe/log.ts'

export interface ServerDeps {
  readonly log: Logger
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
  readonly tokens: Tokens
  /** What is remembered of requests, for the status page. */
  readonly recorder: Recorder
}

/** Traces that are not sent by then are lost: nobody's request waits for them. */
const LONGEST_FLUSH_MS = 2_000

/** What is hung on Node's request, so that Fastify's routes find it again. */
interface ListenedRequest extends IncomingMessage {
  visit: Visit
}

function visitOf(request: unknown): Visit {
  return (request as ListenedRequest).visit
}

export async function buildServer(config: Config, { log }: ServerDeps): Promise<ProxyServer> {
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

  let route: (request: IncomingMessage, response: ServerResponse) => void = () => {}
  const options: FastifyHttpOptions<Server> = {
    logger: false,
    serverFactory: (handler) => {
      route = handler
      return createServer()
    },
    genReqId: (request) => visitOf(request).exchange.reqId,
    rewriteUrl: (request) => routeOf(request.url ?? '/'),
    // Request ids are as long.
    routerOptions: { maxParamLength: 128 },
    // Never trusted: a caller could claim any address, host or scheme.
    trustProxy: false,
    // No route has a schema: Fastify need not load what compiles them.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  }
  const app: FastifyInstance = fastify(options)
  // Parse no bodies at all: to Fastify no method has one, so none of its parsers ever runs.
  for (const method of FORWARDED_METHODS) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }

  app.addHook('onRequest', (request, reply, done) => {
    const { passage, exchange } = visitOf(request.raw)
    if (passage === undefined) {
      exchange.own = request.url.startsWith('/_proxy/')
      addHeaders(reply, exchange.extra)
    }
    done()
  })
  // Before any route: a route keeps the handler that was there when it was made.
  app.setErrorHandler((error, request, reply) => {
    reply.hijack()
    refuse(error, reply.raw, visitOf(request.raw).exchange)
  })
  registerPlaceholderLogin(app)
  registerHealth(app, isReady)
  observation.register(app)
  const page = new Page({
    recorder: observation.recorder,
    status: () => observation.status(),
    detach: (request) => visitOf(request).end(),
  })
  page.register(app)
  await registerForwarder(app, passageOf)
  app.setNotFoundHandler((request, reply) => {
    reply.hijack()
    const { exchange } = visitOf(request.raw)
    refuse(new ProxyError('route_unknown', 'The proxy has no such page.'), reply.raw, exchange)
  })
  await app.ready()

  const listeners = new Listeners((request, response, listener) => {
    if (isCondemned(request.socket)) return
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
      } else {
        if (reception.kind === 'forward') visit.passage = reception.passage
        ;(request as ListenedRequest).visit = visit
        route(request, response)
      }
    } catch (error) {
      refuse(error, response, exchange)
    }
  })

  const house: House = { drain, listeners, observation }

  return {
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
      page.endStreams()
    },
    drain: () => {
      page.endStreams()
      return drain.run(reloader.runtime.config.shutdownTimeoutMs, listeners, async (force) => {
        tokens.close()
        observation.close()
        await (force ? reloader.runtime.upstreams.destroy() : reloader.runtime.upstreams.close())
        await login.destroy()
        await app.close()
        await tracing?.close(Math.min(LONGEST_FLUSH_MS, reloader.runtime.config.shutdownTimeoutMs))
      })
    },
  }
}

function noSchemas(): never {
  throw new Error('no route has a schema')
}

/** `headers` is flat. */
function addHeaders(reply: FastifyReply, headers: readonly string[] = []): void {
  for (let i = 0; i < headers.length; i += 2) reply.header(headers[i] as string, headers[i + 1])
}

function passageOf(request: FastifyRequest): Passage {
  const { passage } = visitOf(request.raw)
  // Invariant: nothing is forwarded that the reception did not let through.
  if (passage === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  return passage
}

/** Calls of the API go straight to the forwarder: Fastify's router and objects are a tenth of what such a call costs. */
function isForApi({ upstream }: Passage): boolean {
  return upstream.origin === upstream.environment.apiUrl
}

/** What Fastify routes by: one of the proxy's own pages (without company prefix and query), or `/` for the forwarder. */
function routeOf(target: string): string {
  const own =
    /^(?:https?:\/\/[^/?#]*)?(?:\/(?!(?:rest|vapid)\/)[^/?#]*)?(\/(?:_proxy|oauth)\/[\w./-]*)(?:\?|$)/i.exec(
      target,
    )?.[1]
  return own === undefined || own.startsWith(FILES_PATH) ? '/' : own
}

function allTried(tokens: Tokens): boolean {
  for (const source of tokens.sources()) if (!source.tried) return false
  return true
}
