// The one place of wiring: a Fastify app that never listens itself, the listeners before it, the tokens behind it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify'
import { Agent } from 'undici'
import { requestToken } from './auth/request-token.ts'
import type { TokenEvent } from './auth/token-source.ts'
import { Tokens } from './auth/tokens.ts'
import type { Config } from './config/config.ts'
import { ProxyError } from './errors.ts'
import { FORWARDED_METHODS, type Passage, registerForwarder } from './forward/forwarder.ts'
import { Upstreams } from './forward/upstreams.ts'
import { type Exchange, startExchange } from './observe/exchange.ts'
import { type Logger, logExchange } from './observe/log.ts'
import { requestIdOf } from './observe/request-id.ts'
import { Drain } from './server/drain.ts'
import { registerHealth } from './server/health.ts'
import { type Listener, Listeners } from './server/listeners.ts'
import { registerPlaceholderLogin } from './server/placeholder-login.ts'
import { receive, refuse, runtimeOf } from './server/reception.ts'
import { Reloader } from './server/reload.ts'

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
}

declare module 'fastify' {
  interface FastifyRequest {
    passage: Passage | undefined
  }
}

/** What the listeners hang on Node's request, so that Fastify's hooks find it again. */
interface ListenedRequest extends IncomingMessage {
  listener: Listener
  exchange: Exchange
  /** The raw target; `url` is what Fastify routes by. */
  target: string
}

export async function buildServer(config: Config, { log }: ServerDeps): Promise<ProxyServer> {
  const login = new Agent({ connect: { timeout: config.upstream.connectTimeoutMs }, keepAliveTimeout: 4_000 })
  const tokens = new Tokens(
    (account, signal) => requestToken(account, login, signal),
    (event) => logTokenEvent(log, event),
  )
  const upstreams = new Upstreams(config, tokens)
  const reloader = new Reloader(runtimeOf(config, upstreams), tokens, log)
  const drain = new Drain()

  let route: (request: IncomingMessage, response: ServerResponse) => void = () => {}
  const options: FastifyHttpOptions<Server> = {
    logger: false,
    serverFactory: (handler) => {
      route = handler
      return createServer()
    },
    genReqId: (request) => (request as unknown as ListenedRequest).exchange.reqId,
    rewriteUrl: (request) => routeOf(request.url ?? '/'),
    // Never trusted: a caller could claim any address, host or scheme.
    trustProxy: false,
  }
  const app: FastifyInstance = fastify(options)
  // Parse no bodies at all: to Fastify no method has one, so none of its parsers ever runs.
  for (const method of FORWARDED_METHODS) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
  app.decorateRequest('passage', undefined)

  app.addHook('onRequest', (request, reply, done) => {
    const raw = request.raw as ListenedRequest
    try {
      const reception = receive(reloader.runtime, raw, raw.listener, raw.exchange, drain.draining)
      if (reception.kind === 'preflight') {
        reply.hijack()
        reply.raw.writeHead(204, [...reception.headers])
        reply.raw.end()
        return
      }
      if (reception.kind === 'forward') request.passage = reception.passage
      else addHeaders(reply, raw.exchange.extra)
    } catch (error) {
      reply.hijack()
      refuse(error, reply.raw, raw.exchange)
      return
    }
    done()
  })
  registerPlaceholderLogin(app)
  registerHealth(app, () => listeners.addresses().length > 0 && !drain.draining && allTried(tokens))
  await registerForwarder(app, passageOf)
  app.setNotFoundHandler((request, reply) => {
    reply.hijack()
    const raw = request.raw as ListenedRequest
    const unknown = request.passage
      ? new ProxyError('method_not_allowed', `${request.method} requests are not forwarded.`)
      : new ProxyError('route_unknown', 'The proxy has no such page.')
    refuse(unknown, reply.raw, raw.exchange)
  })
  app.setErrorHandler((error, request, reply) => {
    reply.hijack()
    refuse(error, reply.raw, (request.raw as ListenedRequest).exchange)
  })
  await app.ready()

  const listeners = new Listeners((request, response, listener) => {
    const raw = request as ListenedRequest
    raw.listener = listener
    raw.target = request.url ?? '/'
    raw.exchange = startExchange(
      requestIdOf(request.headers['x-request-id']),
      request.method ?? '',
      raw.target,
    )
    drain.entered(response)
    response.once('close', () => {
      drain.left()
      if (!response.writableFinished) raw.exchange.cause ??= 'caller_gone'
      logExchange(log, raw.exchange, response.headersSent ? response.statusCode : null)
    })
    route(request, response)
  })

  return {
    tokens,
    addresses: () => listeners.addresses(),
    listen: async () => {
      await listeners.apply(reloader.runtime.config)
      prefetch(reloader.runtime.config, tokens)
    },
    reload: (next) => reloader.reload(next, listeners),
    drain: () =>
      drain.run(reloader.runtime.config.shutdownTimeoutMs, listeners, async (force) => {
        tokens.close()
        await (force ? reloader.runtime.upstreams.destroy() : reloader.runtime.upstreams.close())
        await login.destroy()
        await app.close()
      }),
  }
}

/** `headers` is flat. */
function addHeaders(reply: FastifyReply, headers: readonly string[] = []): void {
  for (let i = 0; i < headers.length; i += 2) reply.header(headers[i] as string, headers[i + 1])
}

function passageOf(request: FastifyRequest): Passage {
  // Invariant: nothing is forwarded that the reception did not let through.
  if (request.passage === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  return request.passage
}

/** What Fastify routes by: one of the proxy's own pages (without company prefix and query), or `/` for the forwarder. */
function routeOf(target: string): string {
  const own = /^(?:https?:\/\/[^/?#]*)?(?:\/[^/?#]*)?(\/(?:_proxy|oauth)\/[\w./-]*)(?:\?|$)/.exec(target)?.[1]
  return own ?? '/'
}

function prefetch(config: Config, tokens: Tokens): void {
  for (const { account } of [...config.companies, ...(config.anyCompany ? [config.anyCompany] : [])]) {
    tokens.source(account).prefetch()
  }
}

function allTried(tokens: Tokens): boolean {
  for (const source of tokens.sources()) if (!source.tried) return false
  return true
}

function logTokenEvent(log: Logger, event: TokenEvent): void {
  const { account } = event
  const where = { account: account.name, environment: account.environment.name }
  if (event.type === 'issued') {
    log.info({ ...where, lifetimeS: Math.round(event.lifetimeMs / 1000) }, 'token issued')
    return
  }
  log.warn(
    { ...where, reason: event.failure.reason, retryInMs: Math.round(event.retryInMs), error: event.failure },
    'token request failed',
  )
}
