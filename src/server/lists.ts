// Answers GET and HEAD /_proxy/csv/…, /ndjson/… and /json/… with whole lists, each page of which is a request of its own;
// and reads such a list for this process itself.
import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { type ApprovedCall, type Call, CallerGoneError, Departure, responseWith } from '../forward/call.ts'
import { breakOff, deliver, fileUrlRewriter } from '../forward/forward.ts'
import { planBody } from '../forward/headers.ts'
import { upstreamError } from '../forward/problem.ts'
import { transformed } from '../forward/response-body.ts'
import {
  type Batch,
  type ListReader,
  type PageAnswer,
  PageRefusedError,
  readBody,
  readList,
  type Skipped,
} from '../lists/pages.ts'
import { idText, withProject } from '../lists/rows.ts'
import { LIST_FORMS, type ListTarget, readListTarget } from '../lists/target.ts'
import { type ListWriter, writerFor } from '../lists/writer.ts'
import { type Exchange, requestIdOf, startExchange } from '../observe/exchange.ts'
import { EVERYTHING } from '../observe/viewer.ts'
import type { AppDeps } from './app.ts'
import { judge, type ListRequest } from './judge.ts'
import type { RecordOnce } from './observation.ts'

/** How many rows are parsed at the same time. */
const ROWS_AT_A_TIME = 10
/** How many projects a warning names. */
const MOST_NAMED = 20

/** Is told how a list proceeds. */
export interface ListWatcher {
  /** A page is written: the rows so far and in total, for a list of all projects those of this one. */
  page(page: {
    readonly received: number
    readonly total: number | undefined
    readonly project: { readonly number: number; readonly of: number } | undefined
  }): void
  /** The list has ended, and projects are missing: how many, and the first of them, each as `7 (403)`. */
  passedOver(count: number, projects: readonly string[]): void
}

/**
 * Reads the list at `/acme/_proxy/csv/rest/v1.0/projects` for this process itself, judged like any other request; no
 * address has to be open. Rejects if there is an error before the first rows; a later one destroys the text.
 */
export async function readListHere(
  deps: AppDeps,
  url: string,
  { signal, watcher }: { readonly signal: AbortSignal; readonly watcher: ListWatcher },
): Promise<Readable> {
  const { pathname, search } = new URL(`http://localhost${url}`)
  const exchange = startExchange(requestIdOf(), 'GET', pathname + search)
  const request = { method: 'GET', httpVersion: '1.1', rawHeaders: ['Host', 'localhost'], socket: {} }
  const listener = { company: undefined, address: { kind: 'unix', path: '', mode: 0o600 } } as const
  const input = { runtime: deps.runtime, request, listener, exchange, isDraining: false }
  const judgement = judge(input, { viewer: EVERYTHING })
  if (judgement.kind !== 'list') throw new ProxyError('route_unknown', 'This is not the path of a list.')
  const { list } = judgement
  const { stream, leave } = openList(deps, list, readListTarget(list.url), { exchange, watcher })
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave)
  await once(stream, 'readable')
  return stream
}

/** Adds the routes of lists. */
export function registerLists(app: FastifyInstance, deps: AppDeps): void {
  for (const form of LIST_FORMS) {
    app.route({
      method: ['GET', 'HEAD'],
      url: `/_proxy/${form}/`,
      handler: (request, reply) => answerList(deps, request, reply),
    })
  }
}

async function answerList(deps: AppDeps, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { exchange, list, current } = request.proxyContext
  // Invariant: the judge has passed every request that comes to this route.
  if (list === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  const target = readListTarget(list.url)
  const { path } = target
  const { log, audits } = deps.shared
  const beforeEnd = audits.recordOnce(exchange)
  // Records the list if its caller disconnected; otherwise this does nothing.
  current.onClose.push(() => beforeEnd?.(reply.raw.headersSent ? reply.raw.statusCode : null))
  const watcher: ListWatcher = {
    page: (page) => log.debug({ path, ...page }, 'a page of a list'),
    passedOver: (skipped, projects) =>
      log.warn({ path, skipped, projects }, 'projects were passed over in a list'),
  }
  const output = { exchange, watcher, beforeEnd, breakOff: () => breakOff(reply.raw) }
  const { stream, writer, skipped, latestPage, leave } = openList(deps, list, target, output)
  current.stallMs = deps.runtime.config.upstream.responseTimeoutMs
  current.onClose.push(leave)
  try {
    // Throws the error if there is one before the first rows.
    await once(stream, 'readable')
    const { companyName, upstream } = latestPage()
    reply.type(writer.contentType).headers({
      'Cache-Control': 'no-store',
      'Procore-Proxy-Company': companyName,
      'Procore-Proxy-Environment': upstream.environment.name,
      'X-Request-Id': exchange.reqId,
    })
    if (request.method === 'HEAD') {
      stream.destroy()
      exchange.bytesOut = 0
      await beforeEnd?.(200)
      // Without a Content-Length, which a GET does not have either.
      return reply.send()
    }
    // HTTP/1.0 has neither chunks nor trailers.
    if (target.isForEachProject && request.raw.httpVersion !== '1.0') {
      reply.trailer('Procore-Proxy-Skipped', async () => String(skipped.length))
    }
    return reply.send(stream)
  } catch (error) {
    if (!(error instanceof PageRefusedError)) throw error
    reply.hijack()
    const { response } = error
    const answer = request.method === 'HEAD' ? responseWith(response, { pipe: async () => {} }) : response
    const page = { ...latestPage(), exchange }
    await deliver(answer, reply.raw, page, beforeEnd).catch(async (failure) => {
      setFailure(exchange, failure)
      await breakOff(reply.raw, exchange.responseHeaders)
    })
  }
}

// --- the pages ---------------------------------------------------------------------------------------------------------

/** The text of a list, the page that was requested last, and what to call when the caller has left. */
function openList(
  { runtime, send, shared }: AppDeps,
  list: ListRequest,
  target: ListTarget,
  output: Omit<ListOutput, 'batches' | 'writer' | 'skipped'>,
) {
  const { exchange } = output
  const writer = writerFor(target, runtime.config.lists)
  const skipped: Skipped[] = []
  const buffers: Buffer[] = []
  // Several projects are read at the same time, each page with a departure of its own.
  const departures = new Set<Departure>()
  let hasLeft = false
  let latest: ApprovedCall
  const leave = () => {
    hasLeft = true
    for (const departure of departures) departure.leave()
  }
  const ask = async (url: string): Promise<PageAnswer> => {
    latest = list.page(url)
    exchange.pages++
    const departure = new Departure()
    if (hasLeft) departure.leave()
    departures.add(departure)
    const call = { ...latest, body: null, departure }
    return await askPage({ send, shared }, call, buffers).finally(() => departures.delete(departure))
  }
  const { companyId, apiOrigin, caller } = list
  const projects = caller?.projects
  const reader: ListReader = { ...runtime.config.lists, companyId, apiOrigin, projects, ask }
  // One page is read ahead, while the one before it is written.
  const batches = Readable.from(readList(reader, target), { highWaterMark: 1 })
  // Nothing is prepared in advance here: the page that is read ahead is enough.
  const stream = Readable.from(listText({ ...output, batches, writer, skipped }), { highWaterMark: 0 })
  return { stream, writer, skipped, latestPage: () => latest, leave }
}

async function askPage(
  { send, shared }: Pick<AppDeps, 'send' | 'shared'>,
  call: Call,
  buffers: Buffer[],
): Promise<PageAnswer> {
  let status: number | null = null
  try {
    const response = await send(call)
    // Rows are read without the compression that the proxy asks for; a refusal is passed on unchanged.
    const bodyOptions = { unpack: true, replace: fileUrlRewriter(call) }
    const plan = response.status < 300 ? planBody(response.status, response.head, bodyOptions) : undefined
    const source = plan === undefined ? response : transformed(response, plan)
    const body = await readBody(buffers, source, () => response.abort(new Error('the page is too long')))
    call.exchange.bytesOut += body.bytes.length
    status = response.status
    return { response, body }
  } catch (error) {
    if (call.departure.hasLeft) {
      // Whatever ended the page then, it is not the reason.
      call.exchange.cause = 'caller_gone'
      throw new CallerGoneError()
    }
    setFailure(call.exchange, error)
    throw upstreamError(error)
  } finally {
    shared.observation.ended(call.exchange, status)
  }
}

function setFailure(exchange: Exchange, error: unknown): void {
  const failure = upstreamError(error)
  exchange.error = failure
  exchange.cause = failure.code
}

// --- the text ----------------------------------------------------------------------------------------------------------

interface ListOutput {
  readonly batches: AsyncIterable<Batch>
  readonly writer: ListWriter
  /** Filled with the skipped projects. */
  readonly skipped: Skipped[]
  readonly exchange: Exchange
  readonly watcher: ListWatcher
  readonly beforeEnd?: RecordOnce | undefined
  /** Ends the response so that no caller takes it for complete. */
  readonly breakOff?: () => Promise<void>
}

/**
 * Yields the text, a few rows at a time. An error before the first rows is thrown before any text is yielded. A later
 * error is thrown too, and destroys the stream that is made from the text, so that the list never ends cleanly.
 */
async function* listText(output: ListOutput): AsyncGenerator<string, void> {
  const { batches, writer, skipped, exchange, watcher, beforeEnd, breakOff } = output
  let hasBegun = false
  let pending = ''
  const take = (added: string) => {
    const text = pending + added
    pending = ''
    exchange.bytesOut += Buffer.byteLength(text)
    return text
  }
  try {
    for await (const batch of batches) {
      if ('skipped' in batch) {
        skipped.push(batch.skipped)
        pending += writer.missing(batch.skipped)
        continue
      }
      const { page, project } = batch
      const hasMore = page.hasNext || (project !== undefined && project.number < project.of)
      const rows = () =>
        Iterator.from(page.rows).map((row) => (project === undefined ? row : withProject(project.id, row)))
      if (!hasBegun && page.rows.length > 0) pending += writer.begin(rows(), hasMore)
      for (const part of inParts(rows().filter(page.isNew))) {
        const text = take(writer.rows(part))
        hasBegun = true
        yield text
      }
      page.release()
      watcher.page({ received: page.received, total: page.total, project })
    }
    if (!hasBegun) pending += writer.begin([], false)
    await beforeEnd?.(200)
    yield take(writer.end())
  } catch (error) {
    if (!hasBegun || error instanceof CallerGoneError) throw error
    setFailure(exchange, error)
    await beforeEnd?.(200)
    yield take(writer.missing(reasonOf(error)))
    await breakOff?.()
    throw error
  } finally {
    if (skipped.length > 0) {
      const named = skipped.slice(0, MOST_NAMED)
      const projects = named.map(({ project_id, status }) => `${idText(project_id)} (${status})`)
      watcher.passedOver(skipped.length, projects)
    }
  }
}

/** Handles a few rows at a time, so that their objects can be freed before the next ones are parsed. */
function* inParts(rows: Iterable<unknown>): Generator<unknown[], void> {
  let part: unknown[] = []
  for (const row of rows) {
    part.push(row)
    if (part.length < ROWS_AT_A_TIME) continue
    yield part
    part = []
  }
  if (part.length > 0) yield part
}

/** The error for an NDJSON caller: the status, and for the proxy's own errors also the code. */
function reasonOf(error: unknown): object {
  if (error instanceof PageRefusedError) return { status: error.response.status, detail: error.message }
  if (!(error instanceof ProxyError)) return { code: 'internal_error', status: 500 }
  return { code: error.code, status: error.status, detail: error.message, help: error.help }
}
