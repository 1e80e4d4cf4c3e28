// Forwards one call: sends it, delivers the response to the caller, and answers with an error if something fails.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { excerptOf } from '../observe/excerpt.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { Call, Departure, Send } from './call.ts'
import { breakOff, deliver, passInformation } from './deliver.ts'
import { rewriteFileUrl } from './file-urls.ts'
import { sendProblem } from './problem.ts'
import { RequestBody } from './request-body.ts'
import type { ResponseContext } from './response-headers.ts'
import { upstreamError } from './upstream-error.ts'

/** A call without its body and its caller's connection, which {@link callOf} adds. */
export interface Forwarded {
  readonly call: Omit<Call, 'body' | 'departure' | 'onSending' | 'onInformation'>
  readonly context: ResponseContext
  /** Rewrite URLs of files in JSON responses to URLs of the proxy. */
  readonly rewritesFileUrls: boolean
}

/** Completes a call with what belongs to the caller's connection. */
export function callOf(
  { call, context }: Forwarded,
  request: IncomingMessage,
  response: ServerResponse,
  departure: Departure,
): Call {
  const { exchange } = call
  const expectsContinue = request.headers.expect !== undefined && request.httpVersion === '1.1'
  return {
    ...call,
    body: hasBody(request) ? requestBody(request, exchange) : null,
    departure,
    // RFC 9110 section 10.1.1; HTTP/1.0 callers do not understand it.
    onSending: expectsContinue ? once(() => response.writeContinue()) : undefined,
    onInformation:
      request.httpVersion === '1.1'
        ? (status, head) => passInformation(response, { status, head }, context)
        : undefined,
  }
}

/** How a call is sent, and what happens before its response ends. */
export interface ForwardDeps {
  readonly send: Send
  /** Awaited before the caller sees the end of the response. An error thrown here breaks the response off. */
  readonly beforeEnd?: ((status: number) => Promise<void>) | undefined
}

/**
 * Sends a call and delivers the response to the caller. Never throws: a failure is answered, or breaks the response
 * off.
 */
export async function forward(
  call: Call,
  response: ServerResponse,
  { context, rewritesFileUrls }: Omit<Forwarded, 'call'>,
  { send, beforeEnd }: ForwardDeps,
): Promise<void> {
  const { exchange, upstream } = call
  upstream.inFlight++
  try {
    const received = await send(call)
    const { environment } = upstream
    const replace = (value: string) => rewriteFileUrl(value, environment, context.base)
    const bodyOptions = { unpack: call.gzip, replace: rewritesFileUrls ? replace : undefined }
    await deliver(received, response, { exchange, context, bodyOptions, beforeEnd })
  } catch (error) {
    if (!call.departure.hasLeft) await fail(error, { call, response, context, beforeEnd })
  } finally {
    call.body?.destroy()
    upstream.inFlight--
  }
}

interface Failed {
  readonly call: Call
  readonly response: ServerResponse
  readonly context: ResponseContext
  readonly beforeEnd: ForwardDeps['beforeEnd']
}

/** Answers with the error, or breaks the response off so that the caller does not mistake it for a complete one. */
async function fail(error: unknown, { call, response, context, beforeEnd }: Failed): Promise<void> {
  const { exchange } = call
  const failure = upstreamError(error)
  exchange.cause = failure.code
  exchange.error = failure
  if (response.headersSent) {
    breakOff(response, exchange.answerHeaders)
    return
  }
  // Procore may have carried out a write, so it has to be in the audit file, unless that cannot be written.
  await beforeEnd?.(failure.status).catch(() => {})
  // Otherwise the rest of the body would be read as the next request.
  if (failure.code === 'request_invalid') response.shouldKeepAlive = false
  const { extra } = context
  sendProblem(response, failure, { requestId: exchange.reqId, company: exchange.company, extra })
}

function requestBody(request: IncomingMessage, exchange: Exchange): RequestBody {
  const { bodies } = exchange
  if (bodies !== undefined) bodies.request = excerptOf(request.rawHeaders)
  return new RequestBody(request, (bytes, piece) => {
    exchange.bytesIn += bytes
    if (piece === undefined) bodies?.request?.end()
    else bodies?.request?.add(piece)
  })
}

/** A request has a body when its header fields say so (RFC 9112 section 6.3). */
function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) !== 0)
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
