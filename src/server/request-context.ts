// What the hooks find out about a request, for the routes that answer it.
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../config/config.ts'
import type { Forwarded } from '../forward/forward.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { CallerConnection } from './connections.ts'

/** Whose status, requests, events and metrics a request may see. */
export interface Viewer {
  /** Names of companies, `*` for any id; undefined for all. */
  readonly companies: ReadonlySet<string> | undefined
  /** Only this caller's requests; undefined for all. */
  readonly caller: string | undefined
}

export interface RequestContext {
  readonly exchange: Exchange
  /** The caller's connection. */
  readonly connection: CallerConnection
  viewer: Viewer
  caller: Caller | undefined
  /** Set for requests that go to Procore. */
  forwarded: Forwarded | undefined
  /** What the request asks of one of the proxy's own routes: path and query without company prefix. */
  ownUrl: string | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the first hook. */
    proxyContext: RequestContext | null
  }
}

/** What the hooks found out about this request. */
export function requestContext(request: FastifyRequest): RequestContext {
  const context = request.proxyContext
  if (context === null) throw new Error('a request came to a route without passing the hooks')
  return context
}
