// Answers a refused request, and ends the connection where what follows on it can't be trusted.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { ProxyError } from '../errors.ts'
import { sendProblem } from '../forward/problem.ts'
import type { Exchange } from '../observe/exchange.ts'

/** A refused caller has this long to stop sending and read its answer. */
export const LINGER_MS = 5_000

/** Connections whose framing was refused: what seems to be the next request may be the rest of that one. */
const condemned = new WeakSet<Socket>()

/** True for a connection on which nothing more is taken for a request. */
export function isCondemned(socket: Socket): boolean {
  return condemned.has(socket)
}

/** Ends a connection with this answer, and takes nothing that comes behind it. */
export function condemn(socket: Socket, response: ServerResponse): void {
  condemned.add(socket)
  response.shouldKeepAlive = false
}

/** Answers a refused request; the exchange gets its cause. */
export function refuse(error: unknown, response: ServerResponse, exchange: Exchange): void {
  const refusal =
    error instanceof ProxyError
      ? error
      : new ProxyError('internal_error', 'Something unforeseen happened.', { cause: error })
  exchange.cause = refusal.code
  exchange.error = refusal
  const { req: request } = response
  if (refusal.code === 'request_invalid') condemn(request.socket, response)
  if (!request.complete) {
    setTimeout(() => {
      if (!request.complete) request.destroy()
    }, LINGER_MS).unref()
  }
  sendProblem(response, refusal, {
    requestId: exchange.reqId,
    company: exchange.company,
    extra: exchange.extra,
  })
}
