// The routes of whole lists: GET and HEAD /_proxy/csv/…, /_proxy/ndjson/… and /_proxy/json/….
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ListSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { type Call, CallerGoneError, type Send } from '../forward/call.ts'
import { planBody, transformed } from '../forward/response-body.ts'
import { upstreamError } from '../forward/upstream-error.ts'
import type { UpstreamResponse } from '../forward/upstream-response.ts'
import type { Logger } from '../observe/log.ts'
import { oneAhead } from './ahead.ts'
import { listText, writerFor } from './list-text.ts'
import { PageBuffers } from './page-buffers.ts'
import { type PageAnswer, PageRefusedError } from './pages.ts'
import { type ProjectReader, readList, type Skipped } from './projects.ts'
import { LIST_FORMS, readListTarget } from './target.ts'

/** What is known about a caller's request for a list before any page is requested. */
export interface ListScope {
  readonly companyId: string
  /** `https://api.procore.com`; links to pages are followed there and nowhere else. */
  readonly apiOrigin: string
  /** The caller's projects (ids as text); undefined for all. */
  readonly projects: readonly string[] | undefined
}

/** What lists need of the server. */
export interface ListDeps {
  readonly settings: ListSettings
  readonly send: Send
  readonly log: Logger
  /** Chooses the company by the API's path and query, as for a forwarded request. Called once, before any page. */
  scope(request: FastifyRequest): ListScope
  /**
   * Makes the GET of one page, which is judged like a forwarded request. It has its own departure, which follows the
   * list's caller, and none of the caller's `Accept`, `Accept-Encoding`, `Range` and conditional headers. Throws
   * `ProxyError`.
   */
  pageCall(request: FastifyRequest, path: string): Call
  /** Logs and counts the request of one page; `status` is null if there was no complete response. */
  pageOver(call: Call, status: number | null, error?: unknown): void
  /** Passes Procore's response to a page on to the caller unchanged. */
  deliver(request: FastifyRequest, reply: FastifyReply, response: UpstreamResponse): Promise<unknown>
  /** Reports why the list broke off, for the log line of the caller's request. */
  brokeOff(request: FastifyRequest, error: unknown): void
}

const UNPACKED = { unpack: true, replace: undefined }

/** Adds the routes; with `lists.enabled: false` they answer `route_unknown`. */
export function registerLists(app: FastifyInstance, deps: ListDeps): void {
  for (const form of LIST_FORMS) {
    app.route({
      method: ['GET', 'HEAD'],
      url: `/_proxy/${form}/*`,
      handler: (request, reply) => answerList(deps, request, reply),
    })
  }
}

async function answerList(deps: ListDeps, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (!deps.settings.enabled) {
    const help = 'Set `lists.enabled: true` to read whole lists.'
    throw new ProxyError('route_unknown', 'Lists are turned off here (`lists.enabled`).', { help })
  }
  const target = readListTarget(request.url)
  const writer = writerFor(target, deps.settings)
  const skipped: Skipped[] = []
  const text = listText({
    batches: oneAhead(readList(readerFor(deps, request), target)),
    writer,
    skipped,
    path: target.path,
    response: reply.raw,
    log: deps.log,
    brokeOff: (error) => deps.brokeOff(request, error),
  })
  try {
    const first = await text.next()
    reply.type(writer.contentType).header('Cache-Control', 'no-store')
    if (request.method === 'HEAD') {
      await text.return()
      return reply.send('')
    }
    // HTTP/1.0 knows neither chunks nor trailers.
    if (target.isForEachProject && request.raw.httpVersion !== '1.0') {
      reply.trailer('Procore-Proxy-Skipped', async () => String(skipped.length))
    }
    // No buffering here, because one page is already read ahead.
    return reply.send(Readable.from(startingWith(first, text), { highWaterMark: 0 }))
  } catch (error) {
    if (error instanceof PageRefusedError) return deps.deliver(request, reply, error.response)
    throw error
  }
}

async function* startingWith(
  first: IteratorResult<string, void>,
  rest: AsyncGenerator<string, void>,
): AsyncGenerator<string, void> {
  yield first.value ?? ''
  yield* rest
}

function readerFor(deps: ListDeps, request: FastifyRequest): ProjectReader {
  const buffers = new PageBuffers()
  const { companyId, apiOrigin, projects } = deps.scope(request)
  return {
    ...deps.settings,
    companyId,
    apiOrigin,
    projects,
    ask: (url) => askPage(deps, request, buffers, url),
  }
}

async function askPage(
  deps: ListDeps,
  request: FastifyRequest,
  buffers: PageBuffers,
  url: string,
): Promise<PageAnswer> {
  const call = deps.pageCall(request, url)
  try {
    const response = await deps.send(call)
    // Rows are decompressed. A refusal is passed on unchanged.
    const isList = response.status >= 200 && response.status < 300
    const plan = isList ? planBody(response.status, response.head, UNPACKED) : undefined
    const source = plan === undefined ? response : transformed(response, plan)
    const body = await buffers.read(source, () => response.abort(new Error('the page is too long')))
    call.exchange.bytesOut += body.bytes?.length ?? 0
    deps.pageOver(call, response.status)
    return { response, body }
  } catch (error) {
    const failure = error instanceof CallerGoneError ? error : upstreamError(error)
    deps.pageOver(call, null, failure)
    throw failure
  }
}
