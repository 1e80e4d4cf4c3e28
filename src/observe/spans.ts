// Makes spans of what has ended: one of a request, one of its exchange with Procore, one of a token request.
import { type Attributes, type HrTime, type SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { millisToHrTime } from '@opentelemetry/core'
import type { Resource } from '@opentelemetry/resources'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import type { TokenEvent } from '../auth/token-source.ts'
import { type Exchange, isProcores } from './exchange.ts'
import { maskQuery } from './mask.ts'
import { VERSION } from './version.ts'

/** Where a request is sent. */
export interface SpanTarget {
  readonly origin: string
  readonly environment: { readonly name: string }
}

/** A request's place in its trace, and what of its way up the exchange does not hold. */
export interface TracedRequest {
  /** The caller's span. */
  readonly parent: SpanContext | undefined
  readonly server: SpanContext
  readonly client: SpanContext
  readonly upstream: SpanTarget | undefined
  /** Raw path and query as sent. */
  readonly path: string
}

/** Those of RFC 9110 and RFC 5789: whatever else a caller makes up is no name for a span. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT'])
/** Of a path or query in a span: callers choose them, and spans wait in memory. */
const LONGEST_TEXT = 1024
const SCOPE = { name: 'procore-proxy', version: VERSION }

/** The span of a request, and before it that of the exchange with Procore where it was sent. Query values are masked. */
export function requestSpans(exchange: Exchange, traced: TracedRequest, resource: Resource): ReadableSpan[] {
  const served = servedSpan(exchange, traced, resource)
  return exchange.sentAt === undefined ? [served] : [sentSpan(exchange, traced, resource), served]
}

function servedSpan(exchange: Exchange, { server, parent }: TracedRequest, resource: Resource): ReadableSpan {
  const { status, cause, company, queuedMs, tokenMs, listener, startedAt, durationMs } = exchange
  const failed =
    cause === undefined
      ? (status ?? 0) >= 500
      : // An answer below 400 with a cause is one that was broken off.
        cause !== 'caller_gone' && (status === null || status >= 500 || status < 400)
  const type = cause ?? (failed ? String(status) : undefined)
  const attributes: Attributes = {
    ...methodAttributes(exchange.method),
    'url.scheme': 'http',
    ...targetAttributes(exchange.target),
    'procore_proxy.request_id': exchange.reqId,
  }
  if (listener?.kind === 'unix') attributes['server.address'] = listener.path
  if (listener?.kind === 'tcp') {
    attributes['server.address'] = listener.host
    if (listener.port !== 0) attributes['server.port'] = listener.port
  }
  if (status !== null) attributes['http.response.status_code'] = status
  if (company !== undefined) attributes['procore.company'] = company
  if (queuedMs > 0) attributes['procore_proxy.queued_ms'] = queuedMs
  if (tokenMs > 0) attributes['procore_proxy.token_ms'] = tokenMs
  if (type !== undefined) attributes['error.type'] = type
  return {
    ...span(resource, methodName(exchange.method), SpanKind.SERVER, server, parent),
    ...times(wallTime(exchange, startedAt), wallTime(exchange, startedAt + durationMs)),
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes,
  }
}

/** Of the last try: from sending it until its answer has gone out. */
function sentSpan(exchange: Exchange, traced: TracedRequest, resource: Resource): ReadableSpan {
  const { status, cause, company, retries, startedAt, durationMs, sentAt = startedAt, upstreamMs } = exchange
  const answered = isProcores(exchange) ? status : null
  const failed = cause === undefined ? (answered ?? 0) >= 400 : cause !== 'caller_gone'
  const type = cause ?? (failed ? String(answered) : undefined)
  const attributes: Attributes = methodAttributes(exchange.method)
  if (traced.upstream !== undefined) {
    const { origin, environment } = traced.upstream
    Object.assign(attributes, serverAttributes(origin))
    attributes['url.full'] = bounded(maskQuery(origin + traced.path))
    attributes['procore.environment'] = environment.name
  }
  if (answered !== null) attributes['http.response.status_code'] = answered
  if (company !== undefined) attributes['procore.company'] = company
  if (retries > 0) {
    attributes['http.request.resend_count'] = retries
    attributes['procore_proxy.resend_reasons'] = exchange.retryReasons ?? []
  }
  if (type !== undefined) attributes['error.type'] = type
  const first =
    upstreamMs === undefined
      ? []
      : [{ name: 'first byte', time: millisToHrTime(wallTime(exchange, sentAt + upstreamMs)) }]
  return {
    ...span(resource, methodName(exchange.method), SpanKind.CLIENT, traced.client, traced.server),
    ...times(wallTime(exchange, sentAt), wallTime(exchange, startedAt + durationMs)),
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes,
    events: first,
  }
}

/** The span of a token request that ended just now. */
export function tokenSpan(event: TokenEvent, context: SpanContext, resource: Resource): ReadableSpan {
  const { account, tookMs } = event
  const { loginUrl, name } = account.environment
  const endedAt = Date.now()
  const failed = event.type === 'failed'
  return {
    ...span(resource, 'token request', SpanKind.CLIENT, context, undefined),
    ...times(endedAt - tookMs, endedAt),
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes: {
      'http.request.method': 'POST',
      ...serverAttributes(loginUrl),
      'url.full': `${loginUrl}/oauth/token`,
      'procore.service_account': account.name,
      'procore.environment': name,
      ...(failed && { 'error.type': event.failure.reason }),
    },
  }
}

type Parts = 'startTime' | 'endTime' | 'duration' | 'status' | 'attributes'

function span(
  resource: Resource,
  name: string,
  kind: SpanKind,
  context: SpanContext,
  parent: SpanContext | undefined,
): Omit<ReadableSpan, Parts> {
  return {
    name,
    kind,
    spanContext: () => context,
    ...(parent !== undefined && { parentSpanContext: parent }),
    resource,
    instrumentationScope: SCOPE,
    links: [],
    events: [],
    ended: true,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

/** Of Unix times in ms. */
function times(startMs: number, endMs: number): { startTime: HrTime; endTime: HrTime; duration: HrTime } {
  return {
    startTime: millisToHrTime(startMs),
    endTime: millisToHrTime(endMs),
    duration: millisToHrTime(endMs - startMs),
  }
}

/** The Unix time in ms of a moment of `performance.now()`. */
function wallTime({ at, startedAt }: Exchange, moment: number): number {
  return at + (moment - startedAt)
}

function methodName(method: string): string {
  return METHODS.has(method) ? method : 'HTTP'
}

function methodAttributes(method: string): Attributes {
  return METHODS.has(method)
    ? { 'http.request.method': method }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': method }
}

/** The raw target as the log shows it: no query value. */
function targetAttributes(target: string): Attributes {
  const [path = '', query] = maskQuery(target)
    .replace(/^https?:\/\/[^/?#]*/i, '')
    .split(/\?(.*)/s)
  return { 'url.path': bounded(path), ...(query !== undefined && { 'url.query': bounded(query) }) }
}

function serverAttributes(origin: string): Attributes {
  const { hostname, port, protocol } = new URL(origin)
  return { 'server.address': hostname, 'server.port': Number(port) || (protocol === 'https:' ? 443 : 80) }
}

/** A copy where it is cut: a mere slice would keep all of the text in memory. */
function bounded(text: string): string {
  return text.length <= LONGEST_TEXT ? text : `${Buffer.from(text.slice(0, LONGEST_TEXT)).toString()}…`
}
