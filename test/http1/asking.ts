// Pools over real sockets, and handlers that write down what they hear.
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import type { AnswerHead, Controller, Handler, OutgoingRequest } from '../../src/http1/handler.ts'
import { type Connect, Pool } from '../../src/http1/pool.ts'

/** Connects to a raw upstream; what is read is an event, as in a tunnel, unless it `lends`. `sockets` are those made. */
export function connectTo(url: string, sockets: Socket[] = [], lends = false): Connect {
  const { hostname, port } = new URL(url)
  return (onread, callback) => {
    const socket = connect({ host: hostname, port: Number(port), ...(lends && { onread }) })
    sockets.push(socket)
    const onError = (error: Error) => callback(error, null)
    socket.once('error', onError)
    socket.once('connect', () => {
      socket.off('error', onError)
      callback(null, socket)
    })
  }
}

/** A pool with one connection and a minute of patience, unless told otherwise; it ends with the test. */
export function poolTo(t: Test, connect: Connect, { connections = 1, keepAliveMs = 60_000 } = {}): Pool {
  const pool = new Pool({ connect, connections, keepAliveMs })
  t.teardown(() => pool.destroy())
  return pool
}

export const request = (parts: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
  method: 'GET',
  path: '/',
  headers: ['Host', 'a'],
  body: null,
  ...parts,
})

export interface Heard {
  status: number | undefined
  body: string
  error: Error | undefined
}

type Callbacks = Partial<{
  [Name in keyof Handler]: (controller: Controller, value: unknown, heard: Asked) => void
}>

/** Hears one answer; `callbacks` run in its place in the order of things. */
export class Asked implements Handler, Heard {
  readonly #callbacks: Callbacks
  readonly #gone = Promise.withResolvers<Heard>()
  status: number | undefined
  body = ''
  error: Error | undefined
  controller: Controller | undefined
  /** What was heard, in short: start, head, data (once), end, error. */
  readonly events: string[] = []

  constructor(callbacks: Callbacks = {}) {
    this.#callbacks = callbacks
  }

  /** Ended or failed. */
  get over(): Promise<Heard> {
    return this.#gone.promise
  }

  onRequestStart(controller: Controller): void {
    this.events.push('start')
    this.controller = controller
    this.#callbacks.onRequestStart?.(controller, undefined, this)
  }

  onResponseStart(controller: Controller, status: number, head: AnswerHead): void {
    this.events.push('head')
    this.status = status
    this.#callbacks.onResponseStart?.(controller, head, this)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.events.at(-1) !== 'data') this.events.push('data')
    this.body += chunk.toString('latin1')
    this.#callbacks.onResponseData?.(controller, chunk, this)
  }

  onResponseEnd(controller: Controller): void {
    this.events.push('end')
    this.#gone.resolve(this)
    this.#callbacks.onResponseEnd?.(controller, undefined, this)
  }

  onResponseError(controller: Controller, error: Error): void {
    this.events.push('error')
    this.error = error
    this.#gone.resolve(this)
    this.#callbacks.onResponseError?.(controller, error, this)
  }
}

/** Sends it, and gives who hears its answer. */
export function ask(pool: Pool, parts: Partial<OutgoingRequest> = {}, callbacks: Callbacks = {}): Asked {
  const asked = new Asked(callbacks)
  pool.dispatch(request(parts), asked)
  return asked
}

/** An answer with a length. */
export const answer = (body = '', lines = ''): string =>
  `HTTP/1.1 200 OK\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`

/** Waits for something that comes about by itself. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

/** So many whole turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let nth = 0; nth < count; nth++) await new Promise((resolve) => setImmediate(resolve))
}
