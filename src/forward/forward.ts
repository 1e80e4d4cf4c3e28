// Forwards one call: sends it, delivers the response to the caller, and answers with an error if something fails.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProxyError } from '../errors.ts'
import { codingsOf, unpacked } from '../network/response.ts'
import type { Exchange } from '../observe/exchange.ts'
import { Excerpt } from '../observe/recorded-body.ts'
import { headerValues } from '../routing/raw-request.ts'
import {
  type ApprovedCall,
  type Call,
  CallerGoneError,
  type Departure,
  type Send,
  type UpstreamResponse,
} from './call.ts'
import { type BodyOptions, informationHeaders, planBody, responseHeaders } from './headers.ts'
import { rewriteFileUrl } from './links.ts'
import { sendProblem, upstreamError } from './problem.ts'
import { hastenGarbageCollection, RequestBody } from './request-body.ts'
import { type BodySource, transformed } from './response-body.ts'

/** A body of at most this length that has arrived goes out with its head as one piece of text, in one system call. */
const MOST_AT_ONCE_BYTES = 8 * 1024
/** How long a caller has to read the last bytes before its connection is reset. */
const RESET_AFTER_MS = 200

/** Awaited before the caller gets the last byte of a response. An error thrown here breaks the response off. */
type BeforeEnd = ((status: number) => Promise<void>) | undefined

/**
 * Writes the response. Resolves when all of it has been handed to the caller's socket. Throws if the body breaks off;
 * the caller's response has then begun and must not be ended cleanly (see {@link breakOff}).
 */
export async function deliver(
  upstream: UpstreamResponse,
  response: ServerResponse,
  call: ApprovedCall,
  beforeEnd: BeforeEnd,
): Promise<void> {
  const { exchange } = call
  const { status } = upstream
  const plan = planBody(status, upstream.head, { unpack: call.gzip, replace: fileUrlRewriter(call) })
  const headers = responseHeaders(upstream.rawHeaders, call, plan)
  exchange.responseHeaders = headers
  if (exchange.bodies !== undefined) exchange.bodies.response = new Excerpt(headers)
  const writeHead = (all: readonly string[] = headers) => {
    try {
      response.writeHead(status, reasonPhrase(upstream.statusText), all as string[])
    } catch (error) {
      // Node refuses some characters that its own parser accepts. Nothing has been written yet.
      upstream.abort(error as Error)
      throw error
    }
  }
  const passing = { exchange, beforeEnd, status, headers, writeHead }
  const whole = plan === undefined ? upstream.whole?.(MOST_AT_ONCE_BYTES) : undefined
  if (whole === undefined) {
    await pass(plan === undefined ? upstream : transformed(upstream, plan), response, passing)
  } else {
    keep(whole, passing)
    if (beforeEnd !== undefined) {
      await beforeEnd(status).catch((error) => {
        // The caller still gets the beginning of a response, which then breaks off. Without a body the head would be the whole.
        if (whole.length > 0) openResponse(response, writeHead)
        else response.destroy()
        throw error
      })
    }
    writeWhole(whole, response, passing)
  }
  if (exchange.errorBody !== undefined) exchange.errorBody = readable(exchange.errorBody, headers)
  exchange.bodies?.response?.end()
}

interface Passing {
  readonly exchange: Exchange
  readonly beforeEnd: BeforeEnd
  readonly status: number
  readonly headers: readonly string[]
  /** Writes status and headers; throws if Node refuses them. */
  readonly writeHead: (all?: readonly string[]) => void
}

function writeWhole(body: Buffer, response: ServerResponse, { headers, writeHead }: Passing): void {
  // Its length is known, although Procore may have sent it in chunks.
  const isCounted = body.length === 0 || lengthIn(headers) !== undefined
  writeHead(isCounted ? headers : [...headers, 'Content-Length', String(body.length)])
  if (body.length === 0) response.end()
  else response.end(body.toString('latin1'), 'latin1')
}

async function pass(source: BodySource, response: ServerResponse, passing: Passing): Promise<void> {
  const { beforeEnd, status, headers, writeHead } = passing
  const length = isWithoutBody(response, status) ? 0 : lengthIn(headers)
  let isOpen = false
  const open = () => {
    if (!isOpen && !response.destroyed) openResponse(response, writeHead)
    isOpen = true
  }
  // An empty response is complete for its caller once it has the head. One of unknown length never is by its bytes alone,
  // except where the connection ends cleanly whatever happens.
  const isHeldBack = beforeEnd !== undefined && (length !== undefined || alwaysEndsCleanly(response))
  if (!isHeldBack) open()
  const write = (chunk: Buffer) => {
    open()
    hastenGarbageCollection(chunk)
    return response.write(chunk)
  }
  const holdBack = isHeldBack ? holdingLastByte(write, length ?? 0) : undefined
  const take = holdBack ?? write
  const onDrain = () => source.resume()
  // The end of a body that is paused would never come.
  const onClose = () => source.abort(new CallerGoneError())
  response.on('drain', onDrain).once('close', onClose)
  try {
    await source.pipe((chunk) => {
      keep(chunk, passing)
      return take(chunk) || response.destroyed
    })
    await beforeEnd?.(status).catch((error) => {
      // Without a body the head would be the whole response.
      if (!isOpen) response.destroy()
      throw error
    })
  } finally {
    response.off('drain', onDrain).off('close', onClose)
    // Also after an error: the response then breaks off.
    open()
  }
  response.end(holdBack?.rest())
}

function openResponse(response: ServerResponse, writeHead: () => void): void {
  writeHead()
  // Not flushHeaders, because it writes the head as UTF-8.
  response.write('', 'latin1')
}

/** Counts a piece of the body, and keeps what is shown of it. */
function keep(chunk: Buffer, { exchange, status }: Passing): void {
  exchange.bytesOut += chunk.length
  exchange.bodies?.response?.add(chunk)
  if (REFUSALS.has(status)) keepErrorBody(exchange, chunk)
}

type HoldingWrite = ((chunk: Buffer) => boolean) & { rest(): Buffer | undefined }

/**
 * Holds back the last byte, because the caller sees a response of this length as complete once it has that byte. With
 * length 0, it is the last byte so far.
 */
function holdingLastByte(write: (chunk: Buffer) => boolean, length: number): HoldingWrite {
  let left = length
  let last: Buffer | undefined
  const holding = (chunk: Buffer) => {
    left -= chunk.length
    if (left > 0 || chunk.length === 0) return write(chunk)
    const whole = last === undefined ? chunk : Buffer.concat([last, chunk])
    last = whole.subarray(-1)
    return write(whole.subarray(0, -1))
  }
  return Object.assign(holding, { rest: () => last })
}

/** Whether only the end of the connection marks the end of the body, and that cannot be a reset. */
function alwaysEndsCleanly({ req, socket }: ServerResponse): boolean {
  return req.httpVersion === '1.0' && !canReset(socket)
}

/** Whether the connection can end with a reset; a Unix socket cannot. */
export function canReset(socket: Socket | null): socket is Socket {
  return socket !== null && 'resetAndDestroy' in socket && socket.remoteAddress !== undefined
}

/** Whether the head is the whole response (RFC 9112 section 6.3). */
function isWithoutBody({ req }: ServerResponse, status: number): boolean {
  return req.method === 'HEAD' || status === 204 || status === 304
}

/** The statuses of responses whose body says why Procore refused a request. */
const REFUSALS: ReadonlySet<number> = new Set([401, 403, 404])
/** How much of such a body is read to find the cause. */
const MOST_ERROR_BYTES = 8 * 1024

/** The beginning of a body, decompressed if it is compressed for the caller. */
function readable(body: Buffer, headers: readonly string[]): Buffer {
  const codings = codingsOf(headerValues(headers, 'content-encoding').join())
  return unpacked(body, codings, 64 * MOST_ERROR_BYTES)?.subarray(0, 8 * MOST_ERROR_BYTES) ?? body
}

function keepErrorBody(exchange: Exchange, chunk: Buffer): void {
  const kept = exchange.errorBody ?? Buffer.alloc(0)
  const room = MOST_ERROR_BYTES - kept.length
  if (room > 0) exchange.errorBody = Buffer.concat([kept, chunk.subarray(0, room)])
}

function lengthIn(headers: readonly string[]): number | undefined {
  const [length] = headerValues(headers, 'content-length')
  return length === undefined ? undefined : Number(length)
}

/** The reason phrase, byte for byte; undefined if it contains characters that Node would refuse to write. */
function reasonPhrase(message: string): string | undefined {
  return /^[\t\x20-\x7e\x80-\xff]+$/.test(message) ? message : undefined
}

/** Sends 102 and 103 on to the caller. */
function passInformation(
  response: ServerResponse,
  { status, head }: Pick<UpstreamResponse, 'status' | 'head'>,
  call: ApprovedCall,
): void {
  // They would pile up for a caller that does not read.
  if (response.headersSent || response.socket?.writableNeedDrain) return
  // Node has this method since 24.18. A caller of an older one gets no hints, which it must be able to do without.
  if (status === 102 || status === 103) response.writeInformation?.(status, informationHeaders(head, call))
}

/**
 * Ends a response in a way that shows the caller that it is incomplete, even if only the end of the connection would
 * mark the end of the body. The caller gets what has been written before. `headers` are the ones that the response began
 * with.
 */
export async function breakOff(response: ServerResponse, headers: readonly string[] = []): Promise<void> {
  const { socket } = response
  if (socket !== null && !socket.destroyed) {
    await new Promise<void>((resolve) => {
      socket.once('close', resolve)
      socket.write('', () => resolve())
    })
  }
  const isDelimited = lengthIn(headers) !== undefined || response.chunkedEncoding
  if (!isDelimited && canReset(socket)) {
    // Some programs, such as those on Node 20, take a reset that comes together with the last bytes for a clean end.
    await sleep(RESET_AFTER_MS)
    socket.resetAndDestroy()
  } else response.destroy()
}

/** Completes a call with what belongs to the caller's connection. */
export function callOf(
  call: ApprovedCall,
  request: IncomingMessage,
  response: ServerResponse,
  departure: Departure,
): Call {
  return {
    ...call,
    body: hasBody(request) ? requestBody(request, call.exchange) : null,
    departure,
    onSending: expectsContinue(request) ? once(() => response.writeContinue()) : undefined,
    onInformation:
      request.httpVersion === '1.1'
        ? (status, head) => passInformation(response, { status, head }, call)
        : undefined,
  }
}

/** Whether the caller waits for 100 Continue (RFC 9110 section 10.1.1); HTTP/1.0 callers do not understand it. */
export function expectsContinue({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersion === '1.1'
}

/** How a call is sent, and what happens before its response ends. */
export interface ForwardDeps {
  readonly send: Send
  readonly beforeEnd?: BeforeEnd
  /** Awaited before the caller gets an error of the proxy's own. An error thrown here changes nothing. */
  readonly beforeProblem: (error: ProxyError) => Promise<void>
  /** Hides known secrets in such an error, which may repeat what the caller sent. */
  readonly conceal: (text: string) => string
}

/**
 * Sends a call and delivers the response to the caller. Never throws: a failure is answered, or breaks the response
 * off.
 */
export async function forward(call: Call, response: ServerResponse, deps: ForwardDeps): Promise<void> {
  const { upstream } = call
  upstream.inFlight++
  try {
    const received = await deps.send(call)
    await deliver(received, response, call, deps.beforeEnd)
  } catch (error) {
    if (!call.departure.hasLeft) await fail(error, call, response, deps)
  } finally {
    call.body?.destroy()
    upstream.inFlight--
  }
}

/** What replaces URLs of files in JSON responses by URLs of the proxy; undefined if they are to stay, as in files themselves. */
export function fileUrlRewriter({ company, upstream, base }: ApprovedCall): BodyOptions['replace'] {
  const { environment, origin } = upstream
  if (!company.rewriteFileUrls || origin !== environment.apiUrl) return undefined
  return (value) => rewriteFileUrl(value, environment, base)
}

/** Answers with the error, or breaks the response off so that the caller does not mistake it for a complete one. */
async function fail(
  error: unknown,
  { exchange }: Call,
  response: ServerResponse,
  { beforeEnd, beforeProblem, conceal }: ForwardDeps,
): Promise<void> {
  const failure = upstreamError(error)
  exchange.cause = failure.code
  exchange.error = failure
  if (response.destroyed) return
  if (response.headersSent) {
    await beforeEnd?.(response.statusCode).catch(() => {})
    await breakOff(response, exchange.responseHeaders)
    return
  }
  // Procore may have carried out a write, so it has to be in the audit file, unless that cannot be written.
  await beforeProblem(failure).catch(() => {})
  // Otherwise the rest of the body would be read as the next request.
  if (failure.code === 'request_invalid') response.shouldKeepAlive = false
  exchange.bytesOut += sendProblem(response, failure, exchange, conceal)
}

function requestBody(request: IncomingMessage, exchange: Exchange): RequestBody {
  const { bodies } = exchange
  if (bodies !== undefined) bodies.request = new Excerpt(request.rawHeaders)
  const body = new RequestBody(request)
  body.observe((piece) => {
    exchange.bytesIn += piece?.length ?? 0
    if (piece === undefined) bodies?.request?.end()
    else bodies?.request?.add(piece)
  })
  return body
}

/** A request has a body when its header fields say so (RFC 9112 section 6.3). */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0
}

/** Acts at the first call only. */
export function once(act: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    act()
  }
}
