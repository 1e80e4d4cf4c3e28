// Answers on sockets where there is no request to answer to: bytes that are no HTTP, and CONNECT.
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ProxyError } from '../errors.ts'
import { problem } from '../forward/problem.ts'
import { newRequestId } from '../observe/request-id.ts'

/** Listener for a server's `clientError`: what Node's parser refused is `request_invalid`. */
export function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // An answer under way must not be mixed with another one.
  const answering = (socket as Duplex & { _httpMessage?: unknown })._httpMessage
  if (error.code === 'ECONNRESET' || !socket.writable || answering) {
    socket.destroy()
    return
  }
  refuse(socket, new ProxyError('request_invalid', detailOf(error)))
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
