// The page at /_proxy/: its files, the remembered requests as JSON, and a stream of events that keeps it live.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { ProxyError } from '../errors.ts'
import { ownFile } from '../observe/own-files.ts'
import type { Recorder } from '../observe/recorder.ts'
import type { Status } from '../observe/status.ts'
import type { Observation } from './observation.ts'

/** So many pages may be open at once. */
const MOST_STREAMS = 16
/** How often new requests are sent. */
const TICK_MS = 1_000
/** Every so many ticks comes the status, which is the heartbeat too. */
const STATUS_TICKS = 2
/** The plots' buckets are as wide. */
const SERIES_TICKS = 10
/** A page that takes nothing off its stream for so many ticks is dropped. */
const STALLED_TICKS = 15
/** At the start and at each tick, no more requests than this; the newest ones. */
const MOST_REQUESTS = 200

/**
 * Nothing but the page's own files may run, load or be called. A page of another origin can't frame it, open it with a
 * handle to it, or load any of its files.
 */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
}

const FILES: readonly (readonly [path: string, file: string, type: string])[] = [
  ['/_proxy/', 'page.html', 'text/html; charset=utf-8'],
  ['/_proxy/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/_proxy/page.css', 'page.css', 'text/css; charset=utf-8'],
]

export interface PageDeps {
  readonly recorder: Recorder
  readonly status: () => Status
  /** From here on a request counts as ended, although its answer goes on. */
  readonly detach: (request: IncomingMessage) => void
}

/** One open page. */
interface Stream {
  readonly response: ServerResponse
  /** The last request that it was told of. */
  seq: number
  ticks: number
  stalled: number
}

export class Page {
  readonly #deps: PageDeps
  readonly #streams = new Set<Stream>()
  #timer: NodeJS.Timeout | undefined

  constructor(deps: PageDeps) {
    this.#deps = deps
  }

  /** How many pages are open. */
  get streams(): number {
    return this.#streams.size
  }

  /** The routes; the reception has judged whoever asks. */
  register(app: FastifyInstance): void {
    for (const [path, file, type] of FILES) {
      let text: string | undefined
      app.get(path, (_request, reply) => {
        this.#judge()
        text ??= ownFile(`page/${file}`)
        reply.headers(SECURITY_HEADERS).type(type).send(text)
      })
    }
    const { recorder } = this.#deps
    app.get('/_proxy/requests', (_request, reply) => {
      this.#judge()
      reply.headers(SECURITY_HEADERS).send({ requests: recorder.requests() })
    })
    for (const path of ['/_proxy/requests/:id', '/_proxy/requests/:id/:seq']) {
      app.get<{ Params: { id: string; seq?: string } }>(path, ({ params: { id, seq } }, reply) => {
        this.#judge()
        const found = recorder.request(id, seq === undefined ? undefined : Number(seq))
        if (found === undefined) throw new ProxyError('route_unknown', 'No request of this id is remembered.')
        reply.headers(SECURITY_HEADERS).send(found)
      })
    }
    app.get('/_proxy/events', { exposeHeadRoute: false }, (request, reply) => {
      this.#judge()
      if (this.#streams.size >= MOST_STREAMS) {
        const help = 'Close one of them.'
        throw new ProxyError('overloaded', `${MOST_STREAMS} pages are open already.`, {
          help,
          retryAfterSeconds: 5,
        })
      }
      this.#open(request.raw, reply)
    })
  }

  #judge(): void {
    if (this.#deps.recorder.enabled) return
    throw new ProxyError('route_unknown', 'The page is switched off (`inspector.enabled: false`).')
  }

  #open(request: IncomingMessage, reply: FastifyReply): void {
    const response = reply.raw
    reply.hijack()
    // What the answer is owed whoever gives it.
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) response.setHeader(name, value)
    }
    // Not worth keeping: it ends with the page, or with the proxy.
    response.shouldKeepAlive = false
    response.writeHead(200, { ...SECURITY_HEADERS, 'content-type': 'text/event-stream' })
    this.#deps.detach(request)
    const stream: Stream = { response, seq: 0, ticks: 0, stalled: 0 }
    this.#streams.add(stream)
    response.once('close', () => {
      this.#streams.delete(stream)
      if (this.#streams.size === 0) {
        clearTimeout(this.#timer)
        this.#timer = undefined
      }
    })
    this.#timer ??= this.#nextTick()
    const { recorder, status } = this.#deps
    const requests = recorder.requests().slice(0, MOST_REQUESTS)
    stream.seq = requests[0]?.seq ?? 0
    const { keepsBodies } = recorder
    response.write(event('hello', { status: status(), series: recorder.series(), requests, keepsBodies }))
  }

  #nextTick(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timer = this.#nextTick()
      this.#tick()
    }, TICK_MS)
    timer.unref()
    return timer
  }

  #tick(): void {
    const { recorder } = this.#deps
    if (!recorder.enabled) {
      this.endStreams()
      return
    }
    // Made once, for all who want it.
    const status = once(() => event('status', this.#deps.status()))
    const series = once(() => event('series', recorder.series()))
    for (const stream of this.#streams) {
      const { response } = stream
      if (response.writableLength > 0) {
        // Nothing is piled up for it: what it has missed it gets once it reads on.
        if (++stream.stalled > STALLED_TICKS) response.destroy()
        continue
      }
      stream.stalled = 0
      stream.ticks++
      let text = ''
      const requests = recorder.requests(stream.seq).slice(0, MOST_REQUESTS)
      if (requests[0] !== undefined) {
        stream.seq = requests[0].seq
        text += event('requests', requests)
      }
      if (stream.ticks % STATUS_TICKS === 0) text += status()
      if (stream.ticks % SERIES_TICKS === 0) text += series()
      if (text !== '') response.write(text)
    }
  }

  /** Ends every stream; pages that are still open come back by themselves. */
  endStreams(): void {
    for (const { response } of this.#streams) {
      // What it does not read would never be flushed.
      if (response.writableLength > 0) response.destroy()
      else response.end()
    }
  }
}

function once(make: () => string): () => string {
  let made: string | undefined
  return () => {
    made ??= make()
    return made
  }
}

export function registerPage(app: FastifyInstance, observation: Observation): void {
  const page = new Page({
    recorder: observation.recorder,
    status: () => observation.status(),
    detach: () => {},
  })
  observation.page = page
  page.register(app)
}

/** JSON holds no line break, so that an event is always one line of data. */
function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
