// Sends the server-sent events that keep open pages up to date. The streams outlive a reload and are bounded in number and memory.
import type { ServerResponse } from 'node:http'
import { ProxyError } from '../errors.ts'
import { printableLines } from '../observe/mask.ts'
import type { Viewer } from '../observe/viewer.ts'
import type { Observation } from './observation.ts'

/** How many pages may be open at the same time. */
const MOST_STREAMS = 16
/** How often new requests are sent. */
const TICK_MS = 1_000
/** The status, which is also the heartbeat, is sent after this many ticks. */
const STATUS_TICKS = 2
/** The width of a bar in the plots. */
const SERIES_TICKS = 10
/** A page that reads nothing for this many ticks is disconnected. */
const STALLED_TICKS = 15

interface Stream {
  readonly response: ServerResponse
  readonly viewer: Viewer
  /** The newest request that the page was sent. */
  seq: number
  ticks: number
  stalled: number
}

export class EventStreams {
  readonly #observation: Observation
  readonly #streams = new Set<Stream>()
  #timer: NodeJS.Timeout | undefined

  constructor(observation: Observation) {
    this.#observation = observation
  }

  /** Throws `overloaded` if too many are open. */
  judge(): void {
    if (this.#streams.size < MOST_STREAMS) return
    throw new ProxyError('overloaded', `${MOST_STREAMS} pages are open already.`, {
      help: 'Close one of them.',
      retryAfterSeconds: 5,
    })
  }

  /** Sends everything so far as `hello`, then whatever is new. The head of the response must already be written. */
  open(response: ServerResponse, viewer: Viewer): void {
    const { inspector } = this.#observation
    const requests = inspector.requests(viewer)
    const stream: Stream = { response, viewer, seq: requests[0]?.seq ?? 0, ticks: 0, stalled: 0 }
    if (this.#timer === undefined) this.#tick()
    this.#streams.add(stream)
    response.once('close', () => {
      this.#streams.delete(stream)
      if (this.#streams.size > 0) return
      clearTimeout(this.#timer)
      this.#timer = undefined
    })
    const status = this.#observation.status(viewer)
    const { keepsBodies } = inspector
    response.write(this.#event('hello', { status, series: inspector.series(viewer), requests, keepsBodies }))
  }

  #tick(): void {
    this.#timer = setTimeout(() => this.#tick(), TICK_MS)
    this.#timer.unref()
    for (const stream of this.#streams) {
      const { response } = stream
      if (response.writableLength > 0) {
        // Nothing is queued for a slow page. It gets what it missed once it reads again.
        if (++stream.stalled > STALLED_TICKS) response.destroy()
        continue
      }
      stream.stalled = 0
      stream.ticks++
      const text = this.#news(stream)
      if (text !== '') response.write(text)
    }
  }

  #news(stream: Stream): string {
    const { viewer, ticks } = stream
    const { inspector } = this.#observation
    let text = ''
    const requests = inspector.requests(viewer, stream.seq)
    if (requests.length > 0) text += this.#event('requests', requests)
    stream.seq = requests[0]?.seq ?? stream.seq
    if (ticks % STATUS_TICKS === 0) text += this.#event('status', this.#observation.status(viewer))
    if (ticks % SERIES_TICKS === 0) text += this.#event('series', inspector.series(viewer))
    return text
  }

  /** JSON contains no line break, so an event is always one line of data. */
  #event(name: string, data: unknown): string {
    const text = `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
    return printableLines(this.#observation.secrets.conceal(text))
  }

  /** Ends every stream. Pages that are still open reconnect automatically. */
  end(): void {
    for (const { response } of this.#streams) {
      // A response that is not read would never end by itself.
      if (response.writableLength > 0) response.destroy()
      else response.end()
    }
  }
}
