// Gives lists what they need of the server: pages that are judged, sent, logged and counted like any other request.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Call, Departure, type Send } from '../forward/call.ts'
import { deliver } from '../forward/deliver.ts'
import type { AnswerContext } from '../forward/response-headers.ts'
import { upstreamError } from '../forward/upstream-error.ts'
import type { Upstream } from '../forward/upstreams.ts'
import { type ListDeps, registerLists } from '../lists/register-lists.ts'
import { startExchange } from '../observe/exchange.ts'
import type { Logger } from '../observe/log.ts'
import { type Judgement, judge, type Runtime } from './judge.ts'
import type { Observation } from './observation.ts'
import { requestContext } from './request-context.ts'

export interface ListPagesDeps {
  readonly runtime: Runtime
  readonly observation: Observation
  readonly send: Send
  readonly log: Logger
}

/** The caller's headers that say something of the list, not of its pages; `accept*` are all that begin so. */
const OF_THE_LIST = /^(?:accept.*|range|if-.*|content-.*|transfer-encoding|expect|te|upgrade)$/i

/** Adds the routes of whole lists. */
export function registerListPages(
  app: FastifyInstance,
  { runtime, observation, send, log }: ListPagesDeps,
): void {
  const pages = new WeakMap<Call, { readonly context: AnswerContext; readonly departures: Set<Departure> }>()
  const departuresOf = new WeakMap<FastifyRequest, Set<Departure>>()
  const deps: ListDeps = {
    settings: runtime.config.lists,
    log,
    urlOf: (request) => requestContext(request).ownUrl ?? '',
    pageCall(request, path) {
      const { call, context } = judgePage(runtime, request, path)
      const departure = new Departure()
      const departures = departuresOf.get(request) ?? followCaller(request, call.upstream)
      departuresOf.set(request, departures.add(departure))
      // The list counts as a request to its company, and is shown with its pages.
      Object.assign(requestContext(request).exchange, {
        company: call.companyName,
        group: call.exchange.group,
        own: false,
      })
      const page = { ...call, body: null, departure }
      pages.set(page, { context, departures })
      return page
    },
    send(call) {
      call.upstream.inFlight++
      return send(call)
    },
    pageOver(call, status, error) {
      call.upstream.inFlight--
      if (error !== undefined) {
        call.exchange.error = error
        call.exchange.cause = call.departure.hasLeft ? 'caller_gone' : upstreamError(error).code
      }
      pages.get(call)?.departures.delete(call.departure)
      observation.ended(call.exchange, status)
    },
    async deliver(call, reply, response) {
      reply.hijack()
      const { exchange } = requestContext(reply.request)
      const context = pages.get(call)?.context
      if (context === undefined) throw new Error('a page was delivered that was not asked for')
      const wishes = { unpack: call.gzip, replace: undefined }
      await deliver(response, reply.raw, { exchange, context, wishes })
    },
    brokeOff(request, error) {
      const { exchange } = requestContext(request)
      exchange.error = error
      exchange.cause = upstreamError(error).code
    },
  }
  registerLists(app, deps)
}

/** Judges a page as if its caller had asked for it; the list itself was let through before a drain began. */
function judgePage(runtime: Runtime, request: FastifyRequest, path: string) {
  const context = requestContext(request)
  const { raw } = request
  const [, prefix = ''] = /^(?:https?:\/\/[^/]*)?(\/(?!_proxy\/)[^/]*)?/i.exec(context.exchange.target) ?? []
  const exchange = startExchange(context.exchange.reqId, 'GET', prefix + path)
  const rawHeaders = raw.rawHeaders.filter(
    (_, at) => !OF_THE_LIST.test(raw.rawHeaders[at - (at % 2)] as string),
  )
  exchange.listener = context.connection.listener.address
  exchange.rawHeaders = rawHeaders
  const judgement: Judgement = judge(
    {
      runtime,
      request: { method: 'GET', httpVersion: raw.httpVersion, rawHeaders, socket: raw.socket },
      listener: context.connection.listener,
      exchange,
      isDraining: false,
    },
    context,
  )
  if (judgement.kind !== 'forward') throw new Error('a page of a list is no path of the API')
  return judgement.forwarded
}

/** The pages that are under way: they end with the caller of their list, which may take as long over it as over a response. */
function followCaller(request: FastifyRequest, { settings }: Upstream): Set<Departure> {
  const departures = new Set<Departure>()
  const { current } = requestContext(request).connection
  if (current !== undefined) {
    current.stallMs = settings.responseTimeoutMs
    current.onClose.push(() => {
      for (const departure of departures) departure.leave()
    })
  }
  return departures
}
