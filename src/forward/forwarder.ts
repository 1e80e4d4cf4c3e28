// A thin forwarder: one request that was let through, on its way.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ProxyError } from '../errors.ts'
import { NEVER_SENT } from '../http1/handler.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { ForwardOptions } from './dispatch.ts'
import { rewriteFileUrl } from './file-urls.ts'
import { Forwarding } from './forwarding.ts'
import type { CallerBase } from './links.ts'
import { asksForGzip, requestHeaders } from './request-headers.ts'
import type { Upstream } from './upstreams.ts'

/** What the guards and the routing decided about a request. */
export interface Passage {
  readonly exchange: Exchange
  readonly upstream: Upstream
  /** The company's name, or its id under `"*"`. */
  readonly company: string
  /** Raw path and query, the company prefix cut: the very bytes that were judged. */
  readonly path: string
  readonly base: CallerBase
  /** URLs of files in JSON answers are turned into the proxy's own. */
  readonly rewritesFileUrls: boolean
  /** Whose turn it takes in a queue: the listener and client key it came by. */
  readonly lane: string
}

/** Sends a request to where it was let through to, and its answer to the caller. */
export function forward(raw: IncomingMessage, response: ServerResponse, passage: Passage): void {
  const { upstream, exchange, base } = passage
  const { environment } = upstream
  const gzip = wantsGzip(upstream, raw.method ?? '', raw.rawHeaders)
  exchange.askedGzip = gzip
  const forwarding = new Forwarding(
    raw,
    response,
    exchange,
    {
      apiOrigin: environment.apiUrl,
      base,
      fetched: upstream.origin === environment.apiUrl ? undefined : upstream.origin + passage.path,
      company: passage.company,
      environment: environment.name,
      requestId: exchange.reqId,
      extra: exchange.extra,
    },
    upstream.settings.responseTimeoutMs,
    passage.lane,
    upstream,
    {
      unpack: gzip,
      replace: passage.rewritesFileUrls ? (value) => rewriteFileUrl(value, environment, base) : undefined,
    },
  )
  upstream.enter()
  const options: ForwardOptions = {
    method: raw.method as string,
    path: passage.path,
    headers: requestHeaders(raw.rawHeaders, raw.headers.connection, {
      host: upstream.host,
      companyId: upstream.companyId,
      gzip,
    }),
    body: forwarding.body,
    caller: forwarding,
  }
  exchange.upstreamUrl = upstream.origin + passage.path
  try {
    upstream.dispatch(options, forwarding)
  } catch (error) {
    // The pool hands its errors to the handler: this is a defect of ours, for which nobody else would answer.
    forwarding.onResponseError(
      NEVER_SENT,
      new ProxyError('internal_error', 'Something unforeseen happened.', { cause: error }),
    )
  }
}

/** Files are mostly compressed in themselves, and whoever fetches one wants to know its length. */
export function wantsGzip(upstream: Upstream, method: string, rawHeaders: readonly string[]): boolean {
  const { settings, origin, environment } = upstream
  return settings.compression === 'auto' && origin === environment.apiUrl && asksForGzip(method, rawHeaders)
}
