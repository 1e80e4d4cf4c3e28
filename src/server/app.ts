// Builds the Fastify instance of one configuration: a hook judges each request, routes answer it, and one handler
// answers errors.

import { setTimeout as sleep } from 'node:timers/promises'
import httpProxy from '@fastify/http-proxy'
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type onRequestHookHandler,
} from 'fastify'
import { FORWARDED_METHODS } from '../config/access-rules.ts'
import { ProxyError } from '../errors.ts'
import { type ApprovedCall, Departure, type Send } from '../forward/call.ts'
import { callOf, forward, once } from '../forward/forward.ts'
import { sendProblem } from '../forward/problem.ts'
import { asksForKeys, identifyKey, type KeyThrottle, WrongKeyError } from '../guards/callers.ts'
import { FILES_PATH } from '../guards/file-hosts.ts'
import { type Exchange, requestIdOf, startExchange } from '../observe/exchange.ts'
import type { Logger } from '../observe/log.ts'
import { EVERYTHING, type Viewer } from '../observe/viewer.ts'
import type { CallerConnection, CallerConnections, Current } from './connections.ts'
import {
  isHealth,
  type JudgeInput,
  type Judgement,
  judge,
  LIST,
  LIVE,
  type ListRequest,
  READY,
  type Runtime,
} from './judge.ts'
import { type Drain, MAX_HEADER_BYTES } from './listeners.ts'
import type { Audits, Observation } from './observation.ts'
import { type OwnPlaces, registerOwnPages } from './own-pages.ts'
import { registerPlaceholderLogin } from './placeholder-login.ts'

/** What the hooks found out about a request, for the route that answers it. */
export interface RequestContext {
  readonly exchange: Exchange
  /** The caller's connection. */
  readonly connection: CallerConnection
  /** This request on its connection. */
  readonly current: Current
  viewer: Viewer
  /** Set for requests that go to Procore. */
  call: ApprovedCall | undefined
  /** Set for requests for a whole list. */
  list: ListRequest | undefined
  /** Call this to count the request as ended, although its response may continue. */
  readonly end: () => void
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the first hook, without which no request comes to a route. */
    proxyContext: RequestContext
  }
}

/** The internal route of requests to Procore: Fastify routes by this path, but the original URL is sent. */
const FORWARD_ROUTE = '/rest/'
/** Whether the proxy accepts requests; `strict` also requires a token for each account. Never calls Procore. */
type IsReady = (strict: boolean) => boolean

/** `live` is up while the process answers; `ready` is up while `isReady` returns true. */
function registerHealth(app: FastifyInstance, isReady: IsReady): void {
  app.get(LIVE, (_request, reply) => answer(reply, true))
  app.get<{ Querystring: { strict?: string } }>(READY, ({ query }, reply) =>
    answer(reply, isReady(query.strict === '1')),
  )
}

function answer(reply: FastifyReply, isUp: boolean): void {
  reply
    .status(isUp ? 200 : 503)
    .header('cache-control', 'no-store')
    .type('text/plain; charset=utf-8')
    .send(isUp ? 'up\n' : 'down\n')
}

export interface AppDeps {
  readonly runtime: Runtime
  readonly send: Send
  readonly shared: SharedParts
}

/** What outlives a configuration. */
export interface SharedParts {
  readonly log: Logger
  readonly drain: Drain
  readonly connections: CallerConnections
  readonly keyThrottle: KeyThrottle
  readonly ownPlaces: OwnPlaces
  readonly observation: Observation
  readonly audits: Audits
  readonly isReady: IsReady
}

/** Builds the app; its `routing` handles requests once this has resolved. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const { shared } = deps
  const app = fastify({
    logger: false,
    genReqId: (request) => requestIdOf(request.headers['x-request-id']),
    rewriteUrl: (request) => routeOf(request.url ?? '/'),
    // X-Forwarded-* headers are never trusted, because a caller could claim any address, host or scheme.
    trustProxy: false,
    // No request line is longer, so that the router refuses nothing before the request is judged.
    routerOptions: { maxParamLength: MAX_HEADER_BYTES },
    // The drain itself refuses new requests and gives the reason.
    return503OnClosing: false,
    // No route has a schema, so the schema compilers need not be loaded.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  })
  // To Fastify, no method has a body, so that none of its parsers ever runs.
  for (const method of FORWARDED_METHODS) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
  app.decorateRequest('proxyContext')
  app.addHook('onRequest', judgeHook(deps))
  app.addHook('onSend', async (request, reply, payload) => {
    const { exchange, list } = request.proxyContext
    if (request.method !== 'HEAD' && typeof payload === 'string')
      exchange.bytesOut += Buffer.byteLength(payload)
    // A list is recorded at its end, and not when it is about to begin.
    if (list === undefined) await shared.audits.recordOwn(exchange, reply.statusCode)
  })
  app.setErrorHandler((error, request, reply) => refuse(error, request, reply, shared))
  await registerOwnRoutes(app, deps)
  await app.register(httpProxy, {
    upstream: '',
    replyOptions: {
      getUpstream: (request: FastifyRequest) => approvedCallOf(request).upstream.origin,
    },
    httpMethods: [...FORWARDED_METHODS],
    routes: [FORWARD_ROUTE],
    proxyPayloads: false,
    // Invariant: requests leave only through the company's own connections.
    undici: { request: neverSent },
    handler: (request: FastifyRequest, reply: FastifyReply) => {
      reply.hijack()
      void carry(deps, request, reply)
    },
  } as Parameters<typeof httpProxy>[1])
  await app.ready()
  return app
}

/** Registers every route that the proxy answers itself; `explain` registers the same ones to find out whether a page exists. */
export async function registerOwnRoutes(app: FastifyInstance, deps: AppDeps): Promise<void> {
  const { runtime, shared } = deps
  const { observation, isReady } = shared
  app.setNotFoundHandler(({ url }) => {
    const isList = LIST.test(url) && !runtime.config.lists.enabled
    const detail = isList ? 'Lists are switched off (`lists.enabled: false`).' : 'The proxy has no such page.'
    throw new ProxyError('route_unknown', detail)
  })
  registerHealth(app, isReady)
  registerPlaceholderLogin(app, {
    asksForKeys: asksForKeys(runtime.config),
    findKey: async (secrets, request) => {
      const keys = secrets.filter((secret) => identifyKey(runtime.config, secret) !== undefined)
      if (keys.length === 0 && secrets.length > 0) await throttle(shared, request)
      // The company, and the keys of other callers, could not be judged before.
      if (keys.length > 0) judge(judgeInput(deps, request, keys), request.proxyContext)
      return keys[0]
    },
    refused: (request, error) => shared.audits.recordRefusal(request.proxyContext.exchange, error),
  })
  const { config } = runtime
  // Companies may have public URLs of their own.
  const hasPublicUrl = [config, ...config.companies].some(({ publicUrl }) => publicUrl !== undefined)
  registerOwnPages(app, observation, hasPublicUrl)
  if (config.lists.enabled) {
    const { registerLists } = await import('./lists.ts')
    registerLists(app, deps)
  }
}

/** Judges the request and stores the result in its context. Refusals go to the error handler. */
function judgeHook(deps: AppDeps): onRequestHookHandler {
  const { shared } = deps
  const { connections, observation, drain } = shared
  return (request, reply, done) => {
    const { raw } = request
    const connection = connections.of(raw.socket) as CallerConnection
    const current = connection.current as Current
    const exchange = startExchange(request.id, raw.method ?? '', request.originalUrl)
    exchange.listener = connection.listener.address
    exchange.rawHeaders = raw.rawHeaders
    drain.entered()
    const end = once(() => {
      drain.left()
      const { headersSent, statusCode } = reply.raw
      if (!headersSent) exchange.bytesOut = 0
      observation.ended(exchange, headersSent ? statusCode : null)
    })
    const context: RequestContext = {
      exchange,
      connection,
      current,
      viewer: EVERYTHING,
      call: undefined,
      list: undefined,
      end,
    }
    request.proxyContext = context
    if (drain.isDraining) reply.raw.shouldKeepAlive = false
    current.onClose.push(() => {
      if (!reply.raw.writableFinished) exchange.cause ??= 'caller_gone'
      end()
    })
    let judgement: Judgement
    try {
      judgement = judge(judgeInput(deps, request), context)
      if (takesPlace(judgement, connection)) current.onClose.push(shared.ownPlaces.enter())
    } catch (error) {
      done(error as Error)
      return
    }
    admit(judgement, context, reply)
    // A preflight has its answer, although hooks may hold it back for a moment.
    if (judgement.kind !== 'preflight') done()
  }
}

/** Whether a request counts against the bound on lists and own pages. Callers that have shown no key yet must not fill it. */
function takesPlace(judgement: Judgement, { listener }: CallerConnection): boolean {
  if (judgement.kind !== 'own') return judgement.kind === 'list'
  return !listener.isForMetrics && !isHealth(judgement.url) && !judgement.url.startsWith('/oauth/')
}

function judgeInput(
  { runtime, shared }: AppDeps,
  request: FastifyRequest,
  keysOfLogin?: readonly string[],
): JudgeInput {
  const { exchange, connection } = request.proxyContext
  const { isDraining } = shared.drain
  return { runtime, request: request.raw, listener: connection.listener, exchange, isDraining, keysOfLogin }
}

/** Counts a wrong key from this address, and waits if there were too many. */
async function throttle({ keyThrottle }: SharedParts, request: FastifyRequest): Promise<void> {
  const delayMs = keyThrottle.delayMs(request.raw.socket.remoteAddress)
  if (delayMs > 0) await sleep(delayMs, undefined, { ref: false })
}

function admit(judgement: Judgement, context: RequestContext, reply: FastifyReply): void {
  const { exchange } = context
  if (judgement.kind !== 'forward') reply.header('x-content-type-options', 'nosniff')
  switch (judgement.kind) {
    case 'forward':
      context.call = judgement.call
      break
    case 'list':
      context.list = judgement.list
      addHeaders(reply, exchange.extra)
      break
    case 'own':
      exchange.own = true
      addHeaders(reply, exchange.extra)
      break
    case 'preflight':
      addHeaders(reply, judgement.headers)
      reply.status(204).send()
  }
}

function approvedCallOf(request: FastifyRequest): ApprovedCall {
  const { call } = request.proxyContext
  // Invariant: only requests that the hooks let through are forwarded.
  if (call === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  return call
}

/** Forwards a request whose reply is hijacked. */
async function carry({ send, shared }: AppDeps, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { audits, observation } = shared
  const { connection, current } = request.proxyContext
  const departure = new Departure()
  const call = callOf(approvedCallOf(request), request.raw, reply.raw, departure)
  try {
    audits.assertWritable(call.method)
  } catch (error) {
    await refuse(error, request, reply, shared)
    return
  }
  current.stallMs = call.upstream.settings.responseTimeoutMs
  connection.whenBroken((error) => call.body?.destroy(error))
  current.onClose.push(() => {
    if (!reply.raw.writableFinished) departure.leave()
  })
  const beforeEnd = audits.recordOnce(call.exchange)
  await forward(call, reply.raw, {
    send,
    beforeEnd,
    beforeProblem: (error) => beforeEnd?.(error.status) ?? audits.recordRefusal(call.exchange, error),
    conceal: observation.secrets.conceal,
  })
  // Records the response if it broke off or its caller disconnected; otherwise this does nothing.
  if (beforeEnd !== undefined) {
    await beforeEnd(reply.raw.headersSent ? reply.raw.statusCode : null).catch(() => {})
  }
}

/** Answers a request that was refused or failed. */
async function refuse(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  shared: SharedParts,
): Promise<void> {
  const { audits, observation } = shared
  reply.hijack()
  // The caller has left, which looks like some other error to a list.
  if (!(error instanceof ProxyError) && reply.raw.destroyed) return
  if (error instanceof WrongKeyError) await throttle(shared, request)
  const refusal =
    error instanceof ProxyError
      ? error
      : new ProxyError('internal_error', 'An unexpected error occurred in the proxy.', { cause: error })
  const { exchange, connection } = request.proxyContext
  // The refusal is on its way, whatever else turns out to be wrong with the request.
  connection.whenBroken(() => {})
  // The next bytes on this connection may be the rest of this request.
  if (refusal.code === 'request_invalid') connection.condemn()
  await audits.recordRefusal(exchange, refusal)
  exchange.bytesOut += sendProblem(reply.raw, refusal, exchange, observation.secrets.conceal)
}

/** `headers` are name, value, name, value, … */
function addHeaders(reply: FastifyReply, headers: readonly string[] = []): void {
  for (let at = 0; at < headers.length; at += 2) reply.header(headers[at] as string, headers[at + 1])
}

/**
 * Finds the path of one of the proxy's own pages, without company prefix. Anything else is forwarded. Of a list, only the
 * beginning is routed by: Fastify would refuse a path that it cannot decode before it is judged.
 */
const OWN =
  /^(?:https?:\/\/[^/?#]*)?(?:\/(?!(?:rest|vapid|_proxy)\/)[^/?#]*)?(?:(\/_proxy\/(?:csv|ndjson|json)\/).*|(\/(?:_proxy|oauth)\/[\w./-]*(?:\?.*)?|\/_proxy(?:\?.*)?|\/))$/i

/** The path that Fastify routes by. It decides no access, because the judge reads the URL by itself. */
export function routeOf(target: string): string {
  const [, list, own = list] = OWN.exec(target) ?? []
  return own === undefined || own.startsWith(FILES_PATH) ? FORWARD_ROUTE : own
}

function noSchemas(): never {
  throw new Error('no route has a schema')
}

function neverSent(): never {
  throw new Error('the handler sends every request')
}
