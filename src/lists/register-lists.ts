// The routes of whole lists: GET and HEAD /_proxy/csv/…, /_proxy/ndjson/… and /_proxy/json/….
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ListSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { Call, Send } from '../forward/call.ts'
import { headerValue, type UpstreamResponse } from '../forward/upstream-response.ts'
import type { Logger } from '../observe/log.ts'
import { oneAhead } from './ahead.ts'
import { listText, writerFor } from './list-text.ts'
import { MOST_PAGE_BYTES, type PageAnswer, PageRefusedError } from './pages.ts'
import { type ProjectReader, readList, type Skipped } from './projects.ts'
import { LIST_FORMS, readListTarget } from './target.ts'

/** What is known of a caller's request for a list before any page is asked for. */
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
  /** Chooses the company by the API's path and query, as for a forwarded request. Throws `ProxyError`. */
  scope(request: FastifyRequest, path: string): ListScope
  /**
   * The GET of one page, judged like a forwarded request by the API's path; its departure is that of the list's caller,
   * and its `Accept`, `Accept-Encoding`, `Range` and conditional headers are not the caller's. Throws `ProxyError`.
   */
  pageCall(request: FastifyRequest, path: string): Call
  /** The request of one page is over: it is logged and counted. `status` is null where there was no complete answer. */
  pageOver(call: Call, status: number | null, error?: unknown): void
  /** Gives an answer of Procore's to the caller as it came. */
  deliver(request: FastifyRequest, reply: FastifyReply, response: UpstreamResponse): Promise<unknown>
  /** The list ended in the middle: the reason, for the log line of the caller's request. */
  brokeOff(request: FastifyRequest, error: unknown): void
}

const unzip = promisify(gunzip)

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
    // Nothing is made in advance here: the page that is read ahead is enough.
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
  const { perPage, maxPages, maxProjects, concurrency } = deps.settings
  const path = request.url.replace(/^\/_proxy\/[a-z]+/, '')
  const { companyId, apiOrigin, projects } = deps.scope(request, path)
  const ask = (url: string): Promise<PageAnswer> => askPage(deps, request, url, apiOrigin)
  return { ask, perPage, maxPages, maxProjects, concurrency, companyId, projects }
}

async function askPage(
  deps: ListDeps,
  request: FastifyRequest,
  url: string,
  origin: string,
): Promise<PageAnswer> {
  const call = deps.pageCall(request, url)
  try {
    const response = await deps.send(call)
    const raw = await response.read(MOST_PAGE_BYTES)
    call.exchange.bytesOut += raw?.length ?? 0
    deps.pageOver(call, response.status)
    return { response, body: raw && (await decoded(response, raw)), origin }
  } catch (error) {
    deps.pageOver(call, null, error)
    throw error
  }
}

/** The body without its gzip, which the proxy asks for on its own; undefined where it is too long. */
async function decoded(response: UpstreamResponse, body: Buffer): Promise<Buffer | undefined> {
  if (headerValue(response.head, 'content-encoding')?.toLowerCase() !== 'gzip' || body.length === 0)
    return body
  try {
    return await unzip(body, { maxOutputLength: MOST_PAGE_BYTES })
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw new ProxyError('upstream_protocol', 'A page of the list is no valid gzip.', { cause })
  }
}
