// Answers on sockets where there is no request to answer to: bytes that are no HTTP, and CONNECT.
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ProxyError } from '../errors.ts'
import { problem } from '../forward/problem.ts'
import { newRequestId } from '../observe/request-id.ts'
import { condemn, isCondemned, LINGER_MS } from './refusal.ts'

/** Where Node keeps the answer that a connection is busy with. */
type ServedSocket = Socket & { readonly _httpMessage?: ServerResponse | null }

/** Listener for a server's `clientError`: what Node's parser refused is `request_invalid`. */
export function onClientError(error: NodeJS.ErrnoException, stream: Duplex): void {
  const socket = stream as ServedSocket
  const answering = socket._httpMessage
  if (error.code === 'ECONNRESET') socket.destroy()
  else if (isCondemned(socket)) {
    if (socket.readableEnded) socket.destroy()
  } else if (!socket.writable) socket.destroy()
  else if (answering === undefined || answering === null) {
    refuse(socket, new ProxyError('request_invalid', detailOf(error)))
  } else if (!answering.req.complete) {
    // An answer under way must not be mixed with another one, and its request came to nothing.
    socket.destroy()
  } else {
    // What is wrong came behind a whole request, whose caller shall have its answer: the connection ends with it.
    condemn(socket, answering)
    socket.destroySoon = () => endGently(socket)
    answering.once('finish', () => socket.destroySoon())
  }
}

/** To close a socket on which unread bytes lie, or still come, takes what was written last from the caller. */
function endGently(socket: Socket): void {
  socket.end()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(timer))
}

/** Listener for a server's `connect`. */
export function onConnect(_request: IncomingMessage, socket: Duplex): void {
  refuse(socket, new ProxyError('method_not_allowed', 'CONNECT requests are never forwarded.'))
}

function detailOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'HPE_HEADER_OVERFLOW') return 'The request line and headers are too long.'
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'The request did not arrive in time.'
  return 'The bytes that came in are no proper HTTP/1.1 request.'
}

function refuse(socket: Duplex, error: ProxyError): void {
  const { headers, body } = problem(error, { requestId: newRequestId() })
  const lines = [`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`, 'Connection: close']
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`)
  socket.on('error', () => {})
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}
