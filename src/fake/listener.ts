// One HTTP server of the fake: enters every request in the journal, then hands it to a handler.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Journal, JournalEntry, ServerName } from './journal.ts'

/** A request under way and the answer to it. */
export interface Exchange {
  readonly entry: JournalEntry
  readonly response: ServerResponse
  /** The target up to its `?`, not decoded. */
  readonly path: string
  readonly query: URLSearchParams
  /** Aborted once the answer is over, whoever ended it. */
  readonly over: AbortSignal
  /** Reads the body to its end and gives its first 64 KiB; rejects where the caller breaks off. */
  received(): Promise<Buffer>
  /** Writes bytes past HTTP and ends the connection. */
  sendRaw(bytes: string | Buffer): void
  /** Ends the connection with a TCP reset. */
  reset(): void
}

/** Answers a request, or leaves it open. */
export type Handler = (exchange: Exchange) => Promise<void>

/** Where and how a server listens. */
export interface ListenerOptions {
  readonly host: string
  readonly port: number
  readonly tls?: { cert: string; key: string } | undefined
  readonly journal: Journal
  readonly now: () => number
}

/** A listening server. */
export interface Listener {
  readonly port: number
  openSockets(): number
  /** Ends every connection at once. */
  close(): Promise<void>
}

interface Connection {
  readonly serial: number
  readonly socket: Socket
}

const KEPT_BYTES = 64 * 1024
const NO_BYTES_SHA256 = createHash('sha256').digest('hex')

/** Starts a server; rejects when the port is taken. */
export async function listen(
  name: ServerName,
  options: ListenerOptions,
  handler: Handler,
): Promise<Listener> {
  const server = options.tls === undefined ? createServer() : createTlsServer({ ...options.tls })
  const connections = new Map<number | undefined, Connection>()
  let connectionCount = 0
  server.on('connection', (socket: Socket) => {
    const { remotePort } = socket
    connectionCount += 1
    const connection = { serial: connectionCount, socket }
    connections.set(remotePort, connection)
    socket.once('close', () => {
      // After a reset the port may already be another connection's.
      if (connections.get(remotePort) === connection) connections.delete(remotePort)
    })
  })
  const receive = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = connections.get(request.socket.remotePort)
    /* c8 ignore next -- the socket broke before its request was handed over */
    if (connection === undefined) return
    const exchange = open(name, options, connection, request, response)
    handler(exchange).catch((error: unknown) => {
      if (!exchange.over.aborted) response.destroy(error as Error)
    })
  }
  server.on('request', receive)
  // With a listener of its own `100 Continue` goes out only once the body is wanted.
  server.on('checkContinue', receive)
  patient(server)
  server.listen(options.port, options.host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    openSockets: () => connections.size,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const { socket } of connections.values()) socket.destroy()
      await closed
      connections.clear()
    },
  }
}

/** No time limits of the server's own: tests hang and drip on purpose. */
function patient(server: Server): void {
  server.requestTimeout = 0
  server.headersTimeout = 0
  server.keepAliveTimeout = 600_000
}

function open(
  name: ServerName,
  { journal, now }: ListenerOptions,
  { serial, socket }: Connection,
  request: IncomingMessage,
  response: ServerResponse,
): Exchange {
  const { method = '', url = '', rawHeaders, httpVersion } = request
  const entry: JournalEntry = {
    server: name,
    at: now(),
    socket: serial,
    httpVersion,
    method,
    url,
    rawHeaders,
    headers: joinHeaders(rawHeaders),
    bodyBytes: 0,
    bodySha256: '',
    aborted: false,
    answer: 'pending',
  }
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
    // An early answer may be over while the body still comes.
    if (body === undefined) settle()
    else body.then(settle, settle)
  })
  const mark = url.indexOf('?')
  return {
    entry,
    response,
    path: mark < 0 ? url : url.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    over: over.signal,
    received() {
      if (body === undefined) {
        if (entry.headers['expect']?.toLowerCase() === '100-continue') response.writeContinue()
        body = readBody(request, entry, journal)
      }
      return body
    },
    sendRaw: (bytes) => void request.socket.end(bytes),
    reset: () => void socket.resetAndDestroy(),
  }
}

function joinHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const joined = new Map<string, string>()
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase()
    const value = rawHeaders[index + 1]!
    const earlier = joined.get(name)
    joined.set(name, earlier === undefined ? value : `${earlier}, ${value}`)
  }
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
    if (kept.length > 0) journal.keepBody(entry, Buffer.concat(kept).toString())
    journal.changed(entry)
  }
  return Buffer.concat(kept)
}
