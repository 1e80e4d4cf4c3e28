// Carries what the hooks found out about a request to the route that answers it.
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../config/config.ts'
import type { Forwarded } from '../forward/forward.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { Viewer } from '../observe/viewer.ts'
import type { CallerConnection } from './connections.ts'
import type { ListRequest } from './judge.ts'

export interface RequestContext {
  readonly exchange: Exchange
  /** The caller's connection. */
  readonly connection: CallerConnection
  viewer: Viewer
  caller: Caller | undefined
  /** Set for requests that go to Procore. */
  forwarded: Forwarded | undefined
  /** Set for requests for a whole list. */
  list: ListRequest | undefined
  /** Call this to count the request as ended, although its response may continue. */
  readonly end: () => void
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the first hook. */
    proxyContext: RequestContext | null
  }
}

/** The context of a request. */
export function requestContext(request: FastifyRequest): RequestContext {
  const context = request.proxyContext
  if (context === null) throw new Error('a request came to a route without passing the hooks')
  return context
}
