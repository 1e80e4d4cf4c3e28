// Brings spans to the collector in batches; one that is slow or down costs nothing but the spans.
import { type ExportResult, ExportResultCode } from '@opentelemetry/core'
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace'
import type { TracingSettings } from '../config/config.ts'
import type { Logger } from './log.ts'

export type DeliverySettings = Pick<TracingSettings, 'origin' | 'delayMs' | 'maxQueued' | 'timeoutMs'>

const LARGEST_BATCH = 512
/** However many spans are lost: no more warnings than one in this time. */
const WARNING_INTERVAL_MS = 60_000

export class SpanDelivery {
  readonly #processor: BatchSpanProcessor
  readonly #settings: DeliverySettings
  readonly #log: Logger
  #waiting = 0
  #sending = 0
  /** Since the last warning. */
  #lost = 0
  #why: Error | undefined
  #warnedAt = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(exporter: SpanExporter, settings: DeliverySettings, log: Logger) {
    this.#settings = settings
    this.#log = log
    this.#processor = new BatchSpanProcessor({
      exporter: {
        export: (spans, done) => this.#send(exporter, spans, done),
        shutdown: () => exporter.shutdown(),
      },
      scheduledDelayMillis: settings.delayMs,
      maxQueueSize: settings.maxQueued,
      maxExportBatchSize: Math.min(LARGEST_BATCH, settings.maxQueued),
      // The exporter keeps its own time, tries after the first included; this is for one that does not.
      exportTimeoutMillis: settings.timeoutMs + 1_000,
    })
  }

  /** Never throws, and never waits. */
  add(span: ReadableSpan): void {
    if (this.#closed) return
    // The processor's own bound leaves out what is being sent, and it tells nobody what it drops.
    if (this.#waiting + this.#sending >= this.#settings.maxQueued) {
      this.#lose(1, new Error(`more than ${this.#settings.maxQueued} spans wait`))
      return
    }
    this.#waiting++
    this.#processor.onEnd(span)
  }

  /** Sends what waits, for at most `ms`. */
  async close(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms)
    })
    // What could not be sent is told below.
    await Promise.race([this.#processor.shutdown().catch(() => {}), late])
    clearTimeout(timer)
    this.#closed = true
    this.#lost += this.#waiting + this.#sending
    if (this.#lost > 0) this.#warn(this.#why ?? new Error('the proxy has stopped'))
  }

  #send(exporter: SpanExporter, spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const { length } = spans
    this.#waiting -= length
    this.#sending += length
    exporter.export(spans, (result) => {
      this.#sending -= length
      if (result.code !== ExportResultCode.SUCCESS && !this.#closed)
        this.#lose(length, reasonOf(result.error))
      done(result)
    })
  }

  #lose(count: number, why: Error): void {
    this.#lost += count
    this.#why = why
    if (performance.now() - this.#warnedAt >= WARNING_INTERVAL_MS) this.#warn(why)
  }

  #warn(error: Error): void {
    this.#warnedAt = performance.now()
    const lost = this.#lost
    this.#lost = 0
    this.#why = undefined
    this.#log.warn({ lost, error }, `traces could not be sent to ${this.#settings.origin}`)
  }
}

/** A collector's own words may repeat the headers that it got: its status alone is told. */
function reasonOf(error: (Error & { code?: unknown }) | undefined): Error {
  if (error === undefined) return new Error('it failed')
  return typeof error.code === 'number' ? new Error(`the collector answered HTTP ${error.code}`) : error
}
