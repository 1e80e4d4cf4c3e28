// Short questions to any origin, each answered as a whole: token requests, and the calls of `check`.
import { Agent } from 'undici'
import type { NetworkSettings } from '../config/config.ts'
import { readBounded } from './bounded-body.ts'
import { connector } from './connect.ts'
import { decodeBody } from './decode-body.ts'

export interface Question {
  /** Scheme, host and port. */
  readonly origin: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Name, value, name, value, …; without Host. */
  readonly headers: readonly string[]
  readonly body?: string
  /** Gives the question up. */
  readonly signal: AbortSignal
  /** Of a longer response nothing is kept. */
  readonly mostBytes: number
}

export interface Reply {
  readonly status: number
  /** By lower-case name; several of a name are a list. */
  readonly head: Readonly<Record<string, string | string[] | undefined>>
  /** Undefined where it was longer than `mostBytes`. */
  readonly text: string | undefined
}

/** Rejects with the connection's error, or with the signal's reason. */
export type Ask = (question: Question) => Promise<Reply>

/** Connections to one origin at once; more questions wait. */
const CONNECTIONS = 16
/** Token requests are rare: a connection is for the next company's, not for the next hour. */
const KEEP_ALIVE_MS = 4_000

export interface Asker {
  readonly ask: Ask
  /** Takes no more questions; those under way are answered. */
  close(): Promise<void>
  destroy(): Promise<void>
}

/** `connectTimeoutMs` is for the connection alone; the question's signal bounds the whole. */
export function createAsker(network: NetworkSettings, connectTimeoutMs: number): Asker {
  const agent = new Agent({
    connect: connector(network, connectTimeoutMs),
    connections: CONNECTIONS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    pipelining: 1,
  })
  return {
    ask: async ({ mostBytes, headers, ...question }) => {
      const asked = [...headers, 'Accept-Encoding', 'identity']
      const { statusCode, headers: head, body } = await agent.request({ ...question, headers: asked })
      const bytes = await readBounded(body, mostBytes)
      const text = bytes && decodeBody(bytes, String(head['content-encoding'] ?? ''), mostBytes)
      return { status: statusCode, head, text }
    },
    close: () => agent.close(),
    destroy: () => agent.destroy(),
  }
}
