// Sends short requests to any origin and reads each response whole: token requests and the calls of `check`.
import { Agent } from 'undici'
import type { NetworkSettings, UpstreamSettings } from '../config/config.ts'
import { connector } from './connect.ts'
import { decodeBody, readBounded } from './response.ts'

interface Question {
  /** Scheme, host and port. */
  readonly origin: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Name, value, name, value, …; without Host. */
  readonly headers: readonly string[]
  readonly body?: string
  readonly signal: AbortSignal
  /** A longer response body is not kept. */
  readonly mostBytes: number
}

export interface Reply {
  readonly status: number
  /** By lower-case name; several values of one name are an array. */
  readonly head: Readonly<Record<string, string | string[] | undefined>>
  /** Undefined if it was longer than `mostBytes`. */
  readonly text: string | undefined
}

/** Rejects with the connection's error, or with the signal's reason. */
export type Ask = (question: Question) => Promise<Reply>

/** Connections to one origin at the same time; more requests wait. */
const CONNECTIONS = 16
/** Token requests are rare. A connection is kept for those of the other companies, not for the next hour. */
const KEEP_ALIVE_MS = 4_000

export interface AskerSettings {
  readonly network: NetworkSettings
  readonly upstream: Pick<UpstreamSettings, 'connectTimeoutMs'>
}

export type Asker = ReturnType<typeof createAsker>

/**
 * The time limit for the connection alone. It is shorter than that of a token request, so that the error can name what blocks
 * the connection, such as an outbound proxy.
 */
const LONGEST_CONNECT_MS = 8_000

/** A request's signal limits the whole exchange. */
export function createAsker({ network, upstream }: AskerSettings) {
  const agent = new Agent({
    connect: connector(network, Math.min(upstream.connectTimeoutMs, LONGEST_CONNECT_MS)),
    connections: CONNECTIONS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    pipelining: 1,
  })
  const ask: Ask = async ({ mostBytes, headers, ...question }) => {
    const asked = [...headers, 'Accept-Encoding', 'identity']
    const { statusCode, headers: head, body } = await agent.request({ ...question, headers: asked })
    const bytes = await readBounded(body, mostBytes)
    const text = bytes && decodeBody(bytes, String(head['content-encoding'] ?? ''), mostBytes)
    return { status: statusCode, head, text }
  }
  /** Accepts no more requests; those under way are answered. */
  const close = () => agent.close()
  return { ask, close, destroy: () => agent.destroy() }
}
