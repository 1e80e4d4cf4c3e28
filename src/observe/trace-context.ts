// The W3C trace context of a request: the caller's is read, and another put in its place.
import type { SpanContext } from '@opentelemetry/api'
import { parseTraceParent } from '@opentelemetry/core'

/** The caller's span; undefined where it names none, one that makes no sense, or several. `rawHeaders` is flat. */
export function callerSpan(rawHeaders: readonly string[]): SpanContext | undefined {
  let text: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!isNamed(rawHeaders[i] as string, 'traceparent')) continue
    if (text !== undefined) return undefined
    text = rawHeaders[i + 1] as string
  }
  const span = text === undefined ? null : parseTraceParent(text)
  return span === null ? undefined : { ...span, isRemote: true }
}

/**
 * Puts a span's `traceparent` in the place of the caller's. `tracestate` belongs to the caller's trace: where another
 * begins it is taken off (Trace Context section 3.4). `headers` is flat, and changed in place.
 */
export function putSpan(headers: string[], span: SpanContext, continued: boolean): void {
  let kept = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (isNamed(name, 'traceparent') || (!continued && isNamed(name, 'tracestate'))) continue
    headers[kept] = name
    headers[kept + 1] = headers[i + 1] as string
    kept += 2
  }
  headers.length = kept
  const flags = span.traceFlags.toString(16).padStart(2, '0')
  headers.push('traceparent', `00-${span.traceId}-${span.spanId}-${flags}`)
}

function isNamed(name: string, lower: string): boolean {
  return name.length === lower.length && name.toLowerCase() === lower
}
