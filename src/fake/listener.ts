// One HTTP server of the fake: records every request in the journal, then passes it to a handler.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { headOf } from '../forward/call.ts'
import type { Journal, JournalEntry, ServerName } from './journal.ts'

/** A request and its response. */
export interface Exchange {
  readonly entry: JournalEntry
  readonly response: ServerResponse
  /** The target up to its `?`, not decoded. */
  readonly path: string
  readonly query: URLSearchParams
  /** Aborted once the response is over, whichever side ended it. */
  readonly over: AbortSignal
  /** Reads the body to its end and returns its first 64 KiB; rejects if the caller breaks off. */
  received(): Promise<Buffer>
  /** Writes raw bytes and ends the connection. */
  sendRaw(bytes: string | Buffer): void
  /** Ends the connection with a TCP reset. */
  reset(): void
}

/** Answers a request, or leaves it unanswered. */
export type Handler = (exchange: Exchange) => Promise<void>

/** A listening server. */
export type Listener = Awaited<ReturnType<typeof listen>>

const KEPT_BYTES = 64 * 1024
const NO_BYTES_SHA256 = createHash('sha256').digest('hex')

/** Starts a server; rejects if the port is in use. */
export async function listen(
  name: ServerName,
  options: {
    port: number
    tls?: { cert: string; key: string } | undefined
    journal: Journal
    now: () => number
  },
  handler: Handler,
) {
  const server = options.tls === undefined ? createServer() : createTlsServer({ ...options.tls })
  // With TLS a request has only the TLS socket, but a reset needs the TCP socket below it.
  const sockets = new Map<number | undefined, { readonly serial: number; readonly socket: Socket }>()
  let serial = 0
  server.on('connection', (socket: Socket) => {
    const { remotePort } = socket
    const connection = { serial: ++serial, socket }
    sockets.set(remotePort, connection)
    socket.once('close', () => {
      // After a reset the port may already be another connection's.
      if (sockets.get(remotePort) === connection) sockets.delete(remotePort)
    })
  })
  const receive = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = sockets.get(request.socket.remotePort)
    /* c8 ignore next -- the socket broke before its request was handed over */
    if (connection === undefined) return
    const { method = '', url = '', rawHeaders, httpVersion } = request
    const entry: JournalEntry = {
      ...{ server: name, at: options.now(), socket: connection.serial, httpVersion, method, url, rawHeaders },
      ...{
        headers: joinHeaders(rawHeaders),
        bodyBytes: 0,
        bodySha256: '',
        aborted: false,
        answer: 'pending',
      },
    }
    const exchange = open(entry, request, response, options.journal)
    handler({ ...exchange, reset: () => void connection.socket.resetAndDestroy() }).catch((error: Error) => {
      if (!exchange.over.aborted) response.destroy(error)
    })
  }
  server.on('request', receive)
  // With this listener, `100 Continue` is sent only when the body is needed.
  server.on('checkContinue', receive)
  // The server has no time limits, because tests hang and send slowly on purpose.
  Object.assign(server, { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 600_000 })
  server.listen(options.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    openSockets: () => sockets.size,
    /** Ends every connection immediately. */
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const { socket } of sockets.values()) socket.destroy()
      await closed
      sockets.clear()
    },
  }
}

function open(
  entry: JournalEntry,
  request: IncomingMessage,
  response: ServerResponse,
  journal: Journal,
): Omit<Exchange, 'reset'> {
  journal.add(entry)
  const over = new AbortController()
  let body: Promise<Buffer> | undefined
  const settle = (): void => {
    entry.aborted = !request.complete && request.socket.destroyed
    entry.answer = response.writableFinished ? 'finished' : 'cut'
    journal.changed(entry)
  }
  response.once('close', () => {
    over.abort()
    // An early response may be over while the body still arrives.
    if (body === undefined) settle()
    else body.then(settle, settle)
  })
  const [path = '', ...query] = entry.url.split('?')
  return {
    entry,
    response,
    path,
    query: new URLSearchParams(query.join('?')),
    over: over.signal,
    received() {
      if (body === undefined) {
        if (entry.headers['expect']?.toLowerCase() === '100-continue') response.writeContinue()
        body = readBody(request, entry, journal)
      }
      return body
    },
    sendRaw: (bytes) => void request.socket.end(bytes),
  }
}

function joinHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const joined = Object.entries(headOf(rawHeaders)).map(([name, text]) => [name, [text].flat().join(', ')])
  return Object.fromEntries(joined)
}

/** Counts and hashes the whole body, and keeps only its beginning. */
async function readBody(request: IncomingMessage, entry: JournalEntry, journal: Journal): Promise<Buffer> {
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      hash.update(chunk)
      if (entry.bodyBytes < KEPT_BYTES) kept.push(chunk.subarray(0, KEPT_BYTES - entry.bodyBytes))
      entry.bodyBytes += chunk.length
    }
  } finally {
    entry.bodySha256 = entry.bodyBytes === 0 ? NO_BYTES_SHA256 : hash.digest('hex')
    if (kept.length > 0) entry.body = Buffer.concat(kept).toString()
    journal.changed(entry)
  }
  return Buffer.concat(kept)
}
