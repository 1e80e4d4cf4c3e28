// The pool of undici, for `upstream.http2`: it is loaded when a configuration asks for it, not at every start.
import type { Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type buildConnector, Client, Pool } from 'undici'
import type { Handler, OutgoingRequest } from '../http1/handler.ts'
import type { Connector } from '../network/connector.ts'
import { Wire } from './wire.ts'

export interface Http2PoolSettings {
  readonly connect: Connector
  readonly connections: number
  readonly keepAliveMs: number
}

/** Connections to one origin over HTTP/2, or HTTP/1.1 where the server speaks nothing else. */
export class Http2Pool {
  readonly #pool: Pool

  constructor(origin: string, { connect, connections, keepAliveMs }: Http2PoolSettings) {
    this.#pool = new Pool(origin, {
      connections,
      pipelining: 1,
      allowH2: true,
      connect: connect as buildConnector.connector,
      factory: sharedByStreams,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMs,
      // Forwarding keeps its own time: undici's would count a slow upload as a slow answer.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  dispatch(request: OutgoingRequest, handler: Handler): void {
    const { method, path, headers, body } = request
    const options = { method, path, headers: headers as string[], body: body as Buffer | Readable | null }
    const stream = body === null || Buffer.isBuffer(body) ? undefined : body
    this.#pool.dispatch(options, new Wire(handler, stream))
  }

  async close(): Promise<void> {
    if (!this.#pool.destroyed) await this.#pool.close()
  }

  destroy(): Promise<void> {
    return this.#pool.destroy()
  }
}

/** So many requests at once share a connection that speaks HTTP/2; servers allow 100 by custom (RFC 9113 section 6.5.2). */
const MOST_STREAMS = 100

/** undici would keep to one request a connection, whatever it speaks; over HTTP/1.1 that is right. */
function sharedByStreams(origin: URL, options: Client.Options): Client {
  const connect = options.connect as buildConnector.connector
  const client: Client = new Client(origin, {
    ...options,
    connect: (target, callback) =>
      connect(target, (...result) => {
        const [, socket] = result
        if (socket !== null) {
          socket.on('error', namePlainly)
          client.pipelining = (socket as TLSSocket).alpnProtocol === 'h2' ? MOST_STREAMS : 1
        }
        callback(...result)
      }),
  })
  return client
}

/**
 * undici takes an ECONNRESET for the end of an answer that is delimited by the connection's end: a broken answer would
 * look whole, and where the answer is paused undici asserts and takes the process along. Under another name it is what it
 * is, a failure. This listener was there before undici's.
 */
function namePlainly(error: NodeJS.ErrnoException): void {
  if (error.code === 'ECONNRESET') error.code = 'UND_ERR_SOCKET'
}
