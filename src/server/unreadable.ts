// Answers on connections without a readable request: bytes that are not HTTP, and CONNECT.
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ProxyError } from '../errors.ts'
import { problem } from '../forward/problem.ts'
import { newRequestId } from '../observe/exchange.ts'
import type { CallerConnections } from './connections.ts'

/** Listener for a server's `clientError`, which reports what Node's parser refused. */
export function onClientError(connections: CallerConnections) {
  return (error: NodeJS.ErrnoException, stream: Duplex): void => {
    const socket = stream as Socket
    const connection = connections.of(socket)
    const current = connection?.current
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else if (current === undefined) {
      if (connection?.isCondemned) socket.destroy()
      else refuseUnread(socket, error)
    } else if (current.request.complete || current.response.writableEnded) {
      // The malformed bytes follow a complete request. That one gets its response, and then the connection ends.
      connection?.condemn()
    } else if (error.code === 'HPE_INVALID_EOF_STATE') {
      // The caller left in the middle of its body.
      socket.destroy()
    } else if (current.onBroken !== undefined && !current.response.headersSent) {
      connection?.condemn()
      current.onBroken(new ProxyError('request_invalid', "The request's body is not proper HTTP/1.1."))
    } else {
      // The current request is broken, and a second response must not be mixed into the one that has begun.
      socket.destroy()
    }
  }
}

function refuseUnread(socket: Socket, error: NodeJS.ErrnoException): void {
  if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT')
    refuse(socket, new ProxyError('request_invalid', detailOf(error)))
  // A connection on which nothing was ever sent is closed without a response (RFC 9110 section 15.5.9).
  else if (socket.bytesRead === 0) socket.destroy()
  else socket.end('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
}

/** Listener for a server's `connect`. Node no longer handles such a connection, nor earlier requests on it. */
export function onConnect(connections: CallerConnections) {
  return (_request: IncomingMessage, stream: Duplex): void => {
    const socket = stream as Socket
    if (connections.of(socket)?.current !== undefined) socket.destroy()
    else refuse(socket, new ProxyError('method_not_allowed', 'CONNECT requests are never forwarded.'))
  }
}

function detailOf({ code }: NodeJS.ErrnoException): string {
  return code === 'HPE_HEADER_OVERFLOW'
    ? 'The request line and headers are too long.'
    : 'The bytes that arrived are not a proper HTTP/1.1 request.'
}

function refuse(socket: Socket, error: ProxyError): void {
  const { headers, body } = problem(error, { requestId: newRequestId() })
  const lines = [`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`, 'Connection: close']
  for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`)
  socket.on('error', () => {})
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
}
