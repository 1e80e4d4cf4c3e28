// One HTTP server of the fake, and the journal, which records every request that arrives at any of them.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { headOf } from '../forward/call.ts'

/** One request as it arrived. The later fields are filled in while it proceeds. */
export interface JournalEntry {
  /** `login` or `api`; the tests have one more. */
  readonly server: string
  /** When the head arrived, in ms since 1970 by the fake's clock. */
  readonly at: number
  /** A number for the connection; two entries with the same number shared a socket. */
  readonly socket: number
  readonly httpVersion: string
  readonly method: string
  /** The request target, byte for byte. */
  readonly url: string
  readonly rawHeaders: readonly string[]
  /** By lower-case name; values of repeated fields are joined with `, `. */
  readonly headers: Readonly<Record<string, string>>
  bodyBytes: number
  /** The first 64 KiB of the body as UTF-8, once it has ended; absent if there was none. */
  body?: string
  /** SHA-256 in hex of the part of the body that arrived; empty until it ended or broke off. */
  bodySha256: string
  /** The caller disconnected before its body was complete. */
  aborted: boolean
  /** Which of the issued tokens (1, 2, …) was sent, valid or not. */
  tokenSerial?: number
  /** The status answered, once there is one. */
  status?: number
  /** `cut`: the connection ended before the answer did. */
  answer: 'pending' | 'finished' | 'cut'
}

const MOST_ENTRIES = 20_000
const MOST_BODIES = 500

/** The received requests, oldest first, and the bodies of the last of them. It holds credentials as they were sent. */
export class Journal {
  entries: JournalEntry[] = []

  api(): JournalEntry[] {
    return this.entries.filter(({ server }) => server === 'api')
  }

  /** The token requests, including refused ones. */
  tokenRequests(): JournalEntry[] {
    return this.entries.filter(
      ({ server, method, url }) =>
        server === 'login' && method === 'POST' && /^\/oauth\/token\/?(?:\?|$)/.test(url),
    )
  }

  /** Forgets everything so far. */
  clear(): void {
    this.entries = []
  }

  /** Adds a request whose head has arrived. */
  add(entry: JournalEntry): void {
    // A tenth at a time, so that a long run does not move the whole list for each request.
    if (this.entries.length >= MOST_ENTRIES) this.entries.splice(0, MOST_ENTRIES / 10)
    this.entries.push(entry)
    delete this.entries.at(-1 - MOST_BODIES)?.body
    this.changed(entry)
  }

  /** Called after each change of an entry. The tests wait for some. */
  changed(_entry: JournalEntry): void {}
}

/** A request and its response. */
export interface Exchange extends ReturnType<typeof open> {
  /** The TCP socket; with TLS, the one below it. */
  readonly socket: Socket
  /** The server's own, such as `http://127.0.0.1:9002`. */
  readonly origin: string
}

/** Answers a request, or leaves it unanswered. */
export type Handler = (exchange: Exchange) => Promise<void>

/** A listening server. */
export type Listener = Awaited<ReturnType<typeof listen>>

const KEPT_BYTES = 64 * 1024

interface ListenOptions {
  readonly port: number
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
  readonly journal: Journal
  readonly now: () => number
}

/** Starts a server; rejects if the port is in use. */
export async function listen(name: string, { port, tls, journal, now }: ListenOptions, handler: Handler) {
  const server = tls === undefined ? createServer() : createTlsServer({ ...tls })
  // With TLS a request has only the TLS socket, not the TCP socket below it.
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
    const joined = Object.entries(headOf(rawHeaders)).map(([name, text]) => [name, [text].flat().join(', ')])
    const headers = Object.fromEntries(joined)
    const exchange = open(request, response, journal, {
      ...{ server: name, at: now(), socket: connection.serial, httpVersion, method, url, rawHeaders },
      ...{ headers, bodyBytes: 0, bodySha256: '', aborted: false, answer: 'pending' },
    })
    handler({ ...exchange, socket: connection.socket, origin }).catch(() => response.destroy())
  }
  server.on('request', receive)
  // With this listener, `100 Continue` is sent only when the body is needed.
  server.on('checkContinue', receive)
  // The server has no time limits, because tests hang and send slowly on purpose.
  Object.assign(server, { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 600_000 })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const { port: openPort } = server.address() as AddressInfo
  const origin = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${openPort}`
  return {
    port: openPort,
    origin,
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

function open(request: IncomingMessage, response: ServerResponse, journal: Journal, entry: JournalEntry) {
  journal.add(entry)
  let body: Promise<Buffer> | undefined
  const settle = (): void => {
    entry.aborted = !request.complete && request.socket.destroyed
    entry.answer = response.writableFinished ? 'finished' : 'cut'
    journal.changed(entry)
  }
  response.once('close', () => {
    // An early response may be over while the body still arrives.
    if (body === undefined) settle()
    else body.then(settle, settle)
  })
  const [path = '', ...query] = entry.url.split('?')
  return {
    entry,
    response,
    /** The target up to its `?`, not decoded. */
    path,
    query: new URLSearchParams(query.join('?')),
    /** Reads the body to its end and returns its first 64 KiB; rejects if the caller breaks off. */
    received(): Promise<Buffer> {
      if (body === undefined) {
        if (entry.headers['expect']?.toLowerCase() === '100-continue') response.writeContinue()
        body = readBody(request, entry, journal)
      }
      return body
    },
  }
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
    entry.bodySha256 = hash.digest('hex')
    if (kept.length > 0) entry.body = Buffer.concat(kept).toString()
    journal.changed(entry)
  }
  return Buffer.concat(kept)
}
