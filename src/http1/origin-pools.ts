// Short questions to any origin, each answered as a whole: token requests, and the calls of `check`.
import { ConnectionError } from '../network/connection-error.ts'
import type { Connector } from '../network/connector.ts'
import type { AnswerHead, Controller, Handler } from './handler.ts'
import { Pool } from './pool.ts'

export interface Question {
  /** Scheme, host and port. */
  readonly origin: string
  readonly method: string
  readonly path: string
  /** Flat (name, value, …), without Host. */
  readonly headers: readonly string[]
  readonly body?: string
  /** Gives the question up. */
  readonly signal: AbortSignal
  /** Whoever answers may never end: of a longer body nothing is kept. */
  readonly mostBytes: number
}

export interface Reply {
  readonly status: number
  readonly head: AnswerHead
  /** Undefined where it was longer than `mostBytes`. */
  readonly text: string | undefined
}

/** To one origin at once; more wait. */
const CONNECTIONS = 16

export class OriginPools {
  readonly #connect: Connector
  readonly #keepAliveMs: number
  readonly #pools = new Map<string, Pool>()
  #isClosed = false

  constructor(connect: Connector, keepAliveMs: number) {
    this.#connect = connect
    this.#keepAliveMs = keepAliveMs
  }

  /** Rejects with the connection's error, or the signal's reason. */
  ask(question: Question): Promise<Reply> {
    return new Promise((resolve, reject) => {
      question.signal.throwIfAborted()
      const { method, path, headers, body } = question
      const { host } = new URL(question.origin)
      this.#pool(question.origin).dispatch(
        {
          method,
          path,
          headers: ['Host', host, ...headers],
          body: body === undefined ? null : Buffer.from(body),
        },
        new Asking(question, resolve, reject),
      )
    })
  }

  /** Takes no more questions; those under way are answered. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#pools.values()].map((pool) => pool.close()))
  }

  async destroy(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()))
  }

  #pool(origin: string): Pool {
    let pool = this.#pools.get(origin)
    if (pool === undefined) {
      if (this.#isClosed) throw new ConnectionError('UND_ERR_CLOSED', 'the connections were closed')
      pool = openPool(origin, this.#connect, { connections: CONNECTIONS, keepAliveMs: this.#keepAliveMs })
      this.#pools.set(origin, pool)
    }
    return pool
  }
}

/** A pool for one origin. */
export function openPool(
  origin: string,
  connect: Connector,
  settings: { connections: number; keepAliveMs: number },
): Pool {
  const { protocol, host, hostname, port } = new URL(origin)
  const target = { protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port }
  return new Pool({ ...settings, connect: (onread, callback) => connect({ ...target, onread }, callback) })
}

class Asking implements Handler {
  readonly #question: Question
  readonly #resolve: (reply: Reply) => void
  readonly #reject: (reason: unknown) => void
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #status = 0
  #head: AnswerHead = {}
  #controller: Controller | undefined

  constructor(question: Question, resolve: (reply: Reply) => void, reject: (reason: unknown) => void) {
    this.#question = question
    this.#resolve = resolve
    this.#reject = reject
    question.signal.addEventListener('abort', this.#onAbort)
  }

  onRequestStart(controller: Controller): void {
    this.#question.signal.throwIfAborted()
    this.#controller = controller
  }

  onResponseStart(_controller: Controller, status: number, head: AnswerHead): void {
    this.#status = status
    this.#head = head
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#bytes += chunk.length
    this.#chunks.push(chunk)
    if (this.#bytes <= this.#question.mostBytes) return
    this.#answer(undefined)
    controller.abort(new Error('too long an answer'))
  }

  onResponseEnd(): void {
    this.#answer(Buffer.concat(this.#chunks).toString())
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#question.signal.removeEventListener('abort', this.#onAbort)
    this.#reject(error)
  }

  #answer(text: string | undefined): void {
    this.#question.signal.removeEventListener('abort', this.#onAbort)
    this.#resolve({ status: this.#status, head: this.#head, text })
  }

  readonly #onAbort = (): void => {
    const reason = this.#question.signal.reason as Error
    this.#reject(reason)
    this.#controller?.abort(reason)
  }
}
