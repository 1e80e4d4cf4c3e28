// Connects whole lists to the server: each page is judged, sent, logged and counted like a separate request.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { type Call, Departure } from '../forward/call.ts'
import { deliver } from '../forward/deliver.ts'
import type { Forwarded } from '../forward/forward.ts'
import { upstreamError } from '../forward/upstream-error.ts'
import type { ListDeps } from '../lists/register-lists.ts'
import type { AppDeps } from './app.ts'
import type { ListRequest } from './judge.ts'
import { requestContext } from './request-context.ts'

/** The state of one list while it is read. */
interface Reading {
  /** Of the pages that are under way: several projects are read at the same time. */
  readonly departures: Set<Departure>
  hasLeft: boolean
  /** The page that was requested last. */
  page: Forwarded | undefined
}

/** What lists need from the server. */
export function listDeps({ runtime, send, shared }: AppDeps): ListDeps {
  const readings = new WeakMap<FastifyRequest, Reading>()
  const ofPages = new WeakMap<Departure, Reading>()
  return {
    settings: runtime.config.lists,
    send,
    log: shared.log,
    scope: (request) => {
      const { companyId, apiOrigin, caller } = listOf(request)
      const reading: Reading = { departures: new Set(), hasLeft: false, page: undefined }
      readings.set(request, reading)
      const { current } = requestContext(request).connection
      if (current !== undefined) {
        current.stallMs = runtime.config.upstream.responseTimeoutMs
        current.onClose.push(() => {
          reading.hasLeft = true
          for (const departure of reading.departures) departure.leave()
        })
      }
      return { companyId, apiOrigin, projects: caller?.projects }
    },
    pageCall: (request, url): Call => {
      const reading = readings.get(request) as Reading
      const page = listOf(request).page(url)
      reading.page = page
      requestContext(request).exchange.pages++
      const departure = new Departure()
      if (reading.hasLeft) departure.leave()
      reading.departures.add(departure)
      ofPages.set(departure, reading)
      return { ...page.call, body: null, departure }
    },
    pageOver: ({ exchange, departure }, status, error) => {
      ofPages.get(departure)?.departures.delete(departure)
      if (error !== undefined) {
        const failure = upstreamError(error)
        exchange.cause = failure.code
        exchange.error = failure
      }
      shared.observation.ended(exchange, status)
    },
    deliver: (request, reply, response) => {
      const { exchange } = requestContext(request)
      const { page } = readings.get(request) as Reading
      return answer(reply, async () => {
        const context = { ...(page as Forwarded).context, requestId: exchange.reqId, extra: exchange.extra }
        const bodyOptions = { unpack: (page as Forwarded).call.gzip, replace: undefined }
        await deliver(response, reply.raw, { exchange, context, bodyOptions })
      })
    },
    brokeOff: (request, error) => {
      const { exchange } = requestContext(request)
      const failure = upstreamError(error)
      exchange.cause = failure.code
      exchange.error = failure
    },
  }
}

async function answer(reply: FastifyReply, write: () => Promise<void>): Promise<void> {
  reply.hijack()
  try {
    await write()
  } catch {
    reply.raw.destroy()
  }
}

function listOf(request: FastifyRequest): ListRequest {
  const { list } = requestContext(request)
  // Invariant: only pages that pass the judge are requested.
  if (list === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  return list
}
