// Takes a response to the caller: its head, then its body with back-pressure, and a visible break where it breaks off.
import type { ServerResponse } from 'node:http'
import { excerptOf } from '../observe/excerpt.ts'
import type { Exchange } from '../observe/exchange.ts'
import { type BodySource, type BodyWishes, planBody, transformed } from './answer-body.ts'
import { type AnswerContext, responseHeaders } from './response-headers.ts'
import type { UpstreamResponse } from './upstream-response.ts'

/** A body that is complete with its head, and no longer, is written with it as one piece of text, which is one system call. */
const MOST_HELD_BYTES = 8 * 1024

export interface Delivery {
  readonly exchange: Exchange
  readonly context: AnswerContext
  readonly wishes: BodyWishes
}

/**
 * Writes the response; resolves when all of it was handed to the caller's socket. Throws where the body breaks off: the
 * caller's response has then begun, and must not be ended cleanly ({@link breakOff}).
 */
export async function deliver(
  upstream: UpstreamResponse,
  response: ServerResponse,
  delivery: Delivery,
): Promise<void> {
  const { exchange, context, wishes } = delivery
  const plan = planBody(upstream.status, upstream.head, wishes)
  const source = plan === undefined ? upstream : transformed(upstream, plan)
  const headers = responseHeaders(upstream.rawHeaders, context, plan)
  exchange.answerHeaders = headers
  if (exchange.bodies !== undefined) exchange.bodies.answer = excerptOf(headers)
  try {
    response.writeHead(upstream.status, reasonPhrase(upstream.statusText), headers)
  } catch (error) {
    // Node refuses characters that its own parser let through: nothing has been written yet.
    upstream.abort(error as Error)
    throw error
  }
  await pass(source, response, delivery)
  exchange.bodies?.answer?.end()
}

/**
 * Bytes are written as Latin-1 text, which maps each byte to one character. V8 collects text as soon as it has piled up a
 * little, but lets 64 MB of buffers pile up first, which are outside its heap.
 */
async function pass(source: BodySource, response: ServerResponse, { exchange }: Delivery): Promise<void> {
  let held: Buffer | undefined
  let isOpen = false
  const open = () => {
    if (isOpen) return
    isOpen = true
    // Not flushHeaders, which would write the head as UTF-8.
    response.write('', 'latin1')
    if (held !== undefined) response.write(held.toString('latin1'), 'latin1')
  }
  const done = source.pipe((chunk) => {
    exchange.bytesOut += chunk.length
    exchange.bodies?.answer?.add(chunk)
    if (!isOpen && held === undefined && chunk.length <= MOST_HELD_BYTES) {
      held = chunk
      return true
    }
    open()
    if (response.write(chunk.toString('latin1'), 'latin1') || response.destroyed) return true
    response.once('drain', () => source.resume())
    return false
  })
  if (!source.isComplete) open()
  try {
    await done
  } catch (error) {
    open()
    throw error
  }
  if (isOpen || held === undefined) response.end()
  else response.end(held.toString('latin1'), 'latin1')
}

/** The reason phrase as it came, byte for byte; undefined where it holds what Node would not write. */
function reasonPhrase(message: string): string | undefined {
  return /^[\t\x20-\x7e\x80-\xff]+$/.test(message) ? message : undefined
}

/**
 * Ends a response so that the caller sees that it is not whole, also where only the connection's end marks the end.
 * `headers` are those that it began with.
 */
export function breakOff(response: ServerResponse, headers: readonly string[] = []): void {
  const { socket } = response
  const hasLength = headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'content-length')
  const isDelimited = hasLength || response.chunkedEncoding
  if (socket !== null && !isDelimited && 'resetAndDestroy' in socket && socket.remoteAddress !== undefined) {
    socket.resetAndDestroy()
  } else response.destroy()
}
