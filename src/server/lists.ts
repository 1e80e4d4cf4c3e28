// Answers GET and HEAD /_proxy/csv/…, /ndjson/… and /json/… with whole lists, each page of which is a request of its own.
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { type Call, CallerGoneError, Departure } from '../forward/call.ts'
import { deliver, type Forwarded } from '../forward/forward.ts'
import { planBody } from '../forward/headers.ts'
import { upstreamError } from '../forward/problem.ts'
import { transformed } from '../forward/response-body.ts'
import { oneAhead } from '../lists/ahead.ts'
import { listText, writerFor } from '../lists/list-text.ts'
import { PageBuffers } from '../lists/page-buffers.ts'
import { type PageAnswer, PageRefusedError } from '../lists/pages.ts'
import { type ProjectReader, readList, type Skipped } from '../lists/projects.ts'
import { LIST_FORMS, readListTarget } from '../lists/target.ts'
import type { Exchange } from '../observe/exchange.ts'
import { type AppDeps, requestContext } from './app.ts'

/** Adds the routes of lists. */
export function registerLists(app: FastifyInstance, deps: AppDeps): void {
  for (const form of LIST_FORMS) {
    app.route({
      method: ['GET', 'HEAD'],
      url: `/_proxy/${form}/*`,
      handler: (request, reply) => answerList(deps, request, reply),
    })
  }
}

async function answerList(deps: AppDeps, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { exchange } = requestContext(request)
  const target = readListTarget(request.url)
  const writer = writerFor(target, deps.runtime.config.lists)
  const skipped: Skipped[] = []
  const { reader, latestPage } = openList(deps, request)
  const text = listText({
    batches: oneAhead(readList(reader, target)),
    writer,
    skipped,
    path: target.path,
    response: reply.raw,
    log: deps.shared.log,
    brokeOff: (error) => setFailure(exchange, error),
  })
  try {
    const first = await text.next()
    reply.type(writer.contentType).header('Cache-Control', 'no-store')
    if (request.method === 'HEAD') {
      await text.return()
      return reply.send('')
    }
    // HTTP/1.0 has neither chunks nor trailers.
    if (target.isForEachProject && request.raw.httpVersion !== '1.0') {
      reply.trailer('Procore-Proxy-Skipped', async () => String(skipped.length))
    }
    // Nothing is prepared in advance here: the page that is read ahead is enough.
    return reply.send(Readable.from(counted(exchange, first, text), { highWaterMark: 0 }))
  } catch (error) {
    if (!(error instanceof PageRefusedError)) throw error
    const { call, context } = latestPage()
    reply.hijack()
    await deliver(error.response, reply.raw, {
      exchange,
      context: { ...context, requestId: exchange.reqId, extra: exchange.extra },
      bodyOptions: { unpack: call.gzip, replace: undefined },
    }).catch(() => reply.raw.destroy())
  }
}

/** The text from its beginning; its bytes are counted for the log line of the list. */
async function* counted(
  exchange: Exchange,
  first: IteratorResult<string, void>,
  rest: AsyncGenerator<string, void>,
): AsyncGenerator<string, void> {
  const start = first.value ?? ''
  exchange.bytesOut += Buffer.byteLength(start)
  yield start
  for await (const text of rest) {
    exchange.bytesOut += Buffer.byteLength(text)
    yield text
  }
}

/** How the pages of this request's list are read, and the page that was requested last. */
function openList(
  { runtime, send, shared }: AppDeps,
  request: FastifyRequest,
): { reader: ProjectReader; latestPage: () => Forwarded } {
  const { exchange, list, connection } = requestContext(request)
  // Invariant: the judge has passed every request that comes to this route.
  if (list === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  const buffers = new PageBuffers()
  // Several projects are read at the same time, each page with a departure of its own.
  const departures = new Set<Departure>()
  let hasLeft = false
  let latest: Forwarded
  if (connection.current !== undefined) {
    connection.current.stallMs = runtime.config.upstream.responseTimeoutMs
    connection.current.onClose.push(() => {
      hasLeft = true
      for (const departure of departures) departure.leave()
    })
  }
  const ask = async (url: string): Promise<PageAnswer> => {
    latest = list.page(url)
    exchange.pages++
    const departure = new Departure()
    if (hasLeft) departure.leave()
    departures.add(departure)
    const call = { ...latest.call, body: null, departure }
    return await askPage({ send, shared }, call, buffers).finally(() => departures.delete(departure))
  }
  const { companyId, apiOrigin, caller } = list
  const reader = { ...runtime.config.lists, companyId, apiOrigin, projects: caller?.projects, ask }
  return { reader, latestPage: () => latest }
}

async function askPage(
  { send, shared }: Pick<AppDeps, 'send' | 'shared'>,
  call: Call,
  buffers: PageBuffers,
): Promise<PageAnswer> {
  let status: number | null = null
  try {
    const response = await send(call)
    // Rows are read without the compression that the proxy asks for; a refusal is passed on unchanged.
    const plan = response.status < 300 ? planBody(response.status, response.head, UNPACKED) : undefined
    const source = plan === undefined ? response : transformed(response, plan)
    const body = await buffers.read(source, () => response.abort(new Error('the page is too long')))
    call.exchange.bytesOut += body.bytes?.length ?? 0
    status = response.status
    return { response, body }
  } catch (error) {
    setFailure(call.exchange, error)
    throw error instanceof CallerGoneError ? error : upstreamError(error)
  } finally {
    shared.observation.ended(call.exchange, status)
  }
}

const UNPACKED = { unpack: true, replace: undefined }

function setFailure(exchange: Exchange, error: unknown): void {
  const failure = upstreamError(error)
  exchange.error = failure
  exchange.cause = failure.code
}
