// The Fastify instance of one configuration: hooks judge each request, routes answer it, one place answers errors.
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type onRequestHookHandler,
} from 'fastify'
import { ProxyError } from '../errors.ts'
import { Departure, type Send } from '../forward/call.ts'
import { callOf, type Forwarded, forward } from '../forward/forward.ts'
import { FORWARD_ROUTE, registerForwarding } from '../forward/http-proxy.ts'
import { sendProblem } from '../forward/problem.ts'
import { FILES_PATH } from '../guards/file-hosts.ts'
import { FORWARDED_METHODS } from '../guards/framing.ts'
import { startExchange } from '../observe/exchange.ts'
import type { Logger } from '../observe/log.ts'
import { requestIdOf } from '../observe/request-id.ts'
import type { CallerConnection, CallerConnections } from './connections.ts'
import { registerHealth } from './health.ts'
import { type Judgement, judge, type Runtime } from './judge.ts'
import { registerListPages } from './lists.ts'
import type { Observation } from './observation.ts'
import { registerPage } from './page.ts'
import { registerPlaceholderLogin } from './placeholder-login.ts'
import { type RequestContext, requestContext } from './request-context.ts'

/** A refused caller has this long to stop sending and read its response. */
const LINGER_MS = 5_000

export interface AppDeps {
  readonly runtime: Runtime
  readonly connections: CallerConnections
  readonly observation: Observation
  readonly send: Send
  readonly log: Logger
  readonly isReady: () => boolean
  readonly isDraining: () => boolean
}

/** Builds the app; its `routing` handles requests once this has resolved. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const { observation, isReady, connections, send } = deps
  const app = fastify({
    logger: false,
    genReqId: (request) => requestIdOf(request.headers['x-request-id']),
    rewriteUrl: (request) => routeOf(request.url ?? '/'),
    // Never trusted: a caller could claim any address, host or scheme.
    trustProxy: false,
    // Request ids are as long.
    routerOptions: { maxParamLength: 128 },
    // The drain refuses new requests, with a reason.
    return503OnClosing: false,
    // No route has a schema, so that what compiles them need not be loaded.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  })
  // To Fastify no method has a body, so that none of its parsers ever runs.
  for (const method of FORWARDED_METHODS)
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  app.decorateRequest('proxyContext', null)
  app.addHook('onRequest', judgeHook(deps))
  app.setErrorHandler((error, request, reply) => refuse(error, request, reply))
  app.setNotFoundHandler(() => {
    throw new ProxyError('route_unknown', 'The proxy has no such page.')
  })
  registerHealth(app, isReady)
  registerPlaceholderLogin(app)
  observation.register(app)
  registerPage(app, observation)
  registerListPages(app, deps)
  await registerForwarding(app, {
    originOf: (request) => forwardedOf(request).call.upstream.origin,
    carry: (request, reply) => carry(request, reply, connections, send),
  })
  await app.ready()
  return app
}

/** Judges the request and keeps what came of it in its context; refusals are thrown to the error handler. */
function judgeHook({ runtime, connections, observation, isDraining }: AppDeps): onRequestHookHandler {
  return (request, reply, done) => {
    const { raw } = request
    const connection = connections.of(raw.socket) as CallerConnection
    const exchange = startExchange(request.id, raw.method ?? '', request.originalUrl)
    exchange.listener = connection.listener.address
    exchange.rawHeaders = raw.rawHeaders
    const context: RequestContext = {
      exchange,
      connection,
      viewer: { companies: undefined, caller: undefined },
      caller: undefined,
      forwarded: undefined,
      ownUrl: undefined,
    }
    request.proxyContext = context
    if (isDraining()) reply.raw.shouldKeepAlive = false
    connection.current?.onClose.push(() => {
      const { headersSent, statusCode, writableFinished } = reply.raw
      if (!writableFinished) exchange.cause ??= 'caller_gone'
      observation.ended(exchange, headersSent ? statusCode : null)
    })
    let judgement: Judgement
    try {
      judgement = judge(
        { runtime, request: raw, listener: connection.listener, exchange, isDraining: isDraining() },
        context,
      )
    } catch (error) {
      done(error as Error)
      return
    }
    admit(judgement, context, reply)
    if (!reply.sent) done()
  }
}

function admit(judgement: Judgement, context: RequestContext, reply: FastifyReply): void {
  const { exchange } = context
  switch (judgement.kind) {
    case 'forward':
      context.forwarded = judgement.forwarded
      break
    case 'own':
      exchange.own = true
      context.ownUrl = judgement.url
      addHeaders(reply, exchange.extra)
      break
    case 'preflight':
      addHeaders(reply, judgement.headers)
      reply.status(204).send()
  }
}

function forwardedOf(request: FastifyRequest): Forwarded {
  const { forwarded } = requestContext(request)
  // Invariant: nothing is forwarded that the hooks did not let through.
  if (forwarded === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  return forwarded
}

function carry(
  request: FastifyRequest,
  reply: FastifyReply,
  connections: CallerConnections,
  send: Send,
): void {
  const forwarded = forwardedOf(request)
  const departure = new Departure()
  const call = callOf(forwarded, request.raw, reply.raw, departure)
  const current = connections.of(request.raw.socket)?.current
  if (current !== undefined) {
    current.stallMs = call.upstream.settings.responseTimeoutMs
    current.onBroken = (error) => call.body?.destroy(error)
    current.onClose.push(() => departure.leave())
  }
  void forward(call, reply.raw, forwarded, send)
}

/** Answers a request that was refused or failed. */
function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  reply.hijack()
  const refusal =
    error instanceof ProxyError
      ? error
      : new ProxyError('internal_error', 'Something unforeseen happened.', { cause: error })
  const { exchange, connection } = requestContext(request)
  exchange.cause = refusal.code
  exchange.error = refusal
  const { raw } = request
  // What seems to be the next request may be the rest of this one.
  if (refusal.code === 'request_invalid') connection.condemn()
  if (!raw.complete) {
    setTimeout(() => {
      if (!raw.complete) raw.destroy()
    }, LINGER_MS).unref()
  }
  sendProblem(reply.raw, refusal, {
    requestId: exchange.reqId,
    company: exchange.company,
    extra: exchange.extra,
  })
}

/** `headers` are name, value, name, value, … */
function addHeaders(reply: FastifyReply, headers: readonly string[] = []): void {
  for (let at = 0; at < headers.length; at += 2) reply.header(headers[at] as string, headers[at + 1])
}

/** One of the proxy's own pages, without company prefix; anything else goes to the forwarder. */
const OWN =
  /^(?:https?:\/\/[^/?#]*)?(?:\/(?!(?:rest|vapid)\/)[^/?#]*)?(\/(?:_proxy|oauth)\/[\w./-]*(?:\?.*)?)$/i

/** A whole list, which may hold any path of the API; its handler reads the URL for itself. */
const LIST = /^(?:https?:\/\/[^/?#]*)?(?:\/(?!(?:rest|vapid)\/)[^/?#]*)?(\/_proxy\/(?:csv|ndjson|json)\/)/

/** What Fastify routes by. The judge reads the URL for itself, so that this decides about no right. */
function routeOf(target: string): string {
  const list = LIST.exec(target)?.[1]
  if (list !== undefined) return list
  const own = OWN.exec(target)?.[1]
  return own === undefined || own.startsWith(FILES_PATH) ? FORWARD_ROUTE : own
}

function noSchemas(): never {
  throw new Error('no route has a schema')
}
