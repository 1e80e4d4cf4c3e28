// OpenTelemetry traces, where they are wanted: loaded only then, because the rest of the program needs none of it.
import { ROOT_CONTEXT, type SpanContext, SpanKind, trace } from '@opentelemetry/api'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import {
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace'
import type { TokenEvent } from '../auth/token-source.ts'
import type { TracingSettings } from '../config/config.ts'
import type { Exchange } from './exchange.ts'
import type { Logger } from './log.ts'
import { SpanDelivery } from './span-delivery.ts'
import { requestSpans, type SpanTarget, type TracedRequest, tokenSpan } from './spans.ts'
import { callerSpan, putSpan } from './trace-context.ts'
import { VERSION } from './version.ts'

/** Of `traceFlags`. */
const SAMPLED = 1
/** The trace id is random: said by whoever made it, and passed on with it (Trace Context level 2). */
const RANDOM = 2

export class Tracing {
  readonly #delivery: SpanDelivery
  readonly #sampler: Sampler
  readonly #resource: Resource
  readonly #ids = new RandomIdGenerator()

  constructor(settings: TracingSettings, log: Logger) {
    const { parentBased, ratio } = settings.sampler
    const root = new TraceIdRatioBasedSampler(ratio)
    this.#sampler = parentBased ? new ParentBasedSampler({ root }) : root
    const attributes = { 'service.version': VERSION, ...settings.attributes }
    this.#resource = defaultResource().merge(resourceFromAttributes(attributes))
    this.#delivery = new SpanDelivery(exporterOf(settings), settings, log)
  }

  /** A request came in; `rawHeaders` is flat. */
  begin(rawHeaders: readonly string[]): Trace {
    const parent = callerSpan(rawHeaders)
    const server = this.#span(parent)
    return new Trace(this, parent, server, { ...server, spanId: this.#ids.generateSpanId() })
  }

  /** A traced request has ended. */
  requestEnded(exchange: Exchange, traced: TracedRequest): void {
    for (const span of requestSpans(exchange, traced, this.#resource)) this.#delivery.add(span)
  }

  /** A token request has ended. */
  tokenEnded(event: TokenEvent): void {
    const span = this.#span(undefined)
    if (isSampled(span)) this.#delivery.add(tokenSpan(event, span, this.#resource))
  }

  /** Sends what has ended, for at most `ms`. */
  close(ms: number): Promise<void> {
    return this.#delivery.close(ms)
  }

  /** A new span, below the caller's or at the root of a trace of its own. */
  #span(parent: SpanContext | undefined): SpanContext {
    const traceId = parent?.traceId ?? this.#ids.generateTraceId()
    const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
    const { decision } = this.#sampler.shouldSample(context, traceId, '', SpanKind.SERVER, {}, [])
    const sampled = decision === SamplingDecision.RECORD_AND_SAMPLED ? SAMPLED : 0
    const traceFlags = ((parent?.traceFlags ?? 0) & RANDOM) | sampled
    return { traceId, spanId: this.#ids.generateSpanId(), traceFlags }
  }
}

/** One request's part of a trace. Both its spans are made when it has ended; only their ids are known before. */
export class Trace implements TracedRequest {
  readonly #tracing: Tracing
  readonly parent: SpanContext | undefined
  readonly server: SpanContext
  readonly client: SpanContext
  upstream: SpanTarget | undefined
  path = ''

  constructor(tracing: Tracing, parent: SpanContext | undefined, server: SpanContext, client: SpanContext) {
    this.#tracing = tracing
    this.parent = parent
    this.server = server
    this.client = client
  }

  /** It is about to be sent: Procore's parent is the span of the exchange with it. Changes `headers`, which is flat. */
  goesUp(headers: string[], upstream: SpanTarget, path: string): void {
    this.upstream = upstream
    this.path = path
    putSpan(headers, this.client, this.parent !== undefined)
  }

  /** The proxy's own pages are not traced: they are asked for by machines, and often. */
  ended(exchange: Exchange): void {
    if (isSampled(this.server) && !exchange.own) this.#tracing.requestEnded(exchange, this)
    // The recorder keeps the exchange, and need not keep the way it went.
    exchange.trace = undefined
  }
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & SAMPLED) !== 0
}

function exporterOf(settings: TracingSettings): SpanExporter {
  type Options = NonNullable<ConstructorParameters<typeof JsonExporter>[0]>
  const headers = Object.entries(settings.headers).map(([name, value]) => [name, value.reveal()])
  const options: Options = {
    url: settings.url.reveal(),
    headers: Object.fromEntries(headers),
    timeoutMillis: settings.timeoutMs,
    compression: settings.compression as NonNullable<Options['compression']>,
    userAgent: `procore-proxy/${VERSION}`,
  }
  return settings.protocol === 'http/json' ? new JsonExporter(options) : new ProtobufExporter(options)
}
