// Registers @fastify/http-proxy for the requests that the hooks let through; its handler sends them on the company's
// own connections.
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { FORWARDED_METHODS } from '../guards/framing.ts'

/** The internal route of requests to Procore: Fastify routes by this path, but the original URL is sent. */
export const FORWARD_ROUTE = '/rest/'

export interface ForwardingRoute {
  /** The origin that a request goes to. */
  readonly originOf: (request: FastifyRequest) => string
  /** Answers the hijacked reply. */
  readonly carry: (request: FastifyRequest, reply: FastifyReply) => void
}

/** Serves {@link FORWARD_ROUTE}. */
export async function registerForwarding(
  app: FastifyInstance,
  { originOf, carry }: ForwardingRoute,
): Promise<void> {
  await app.register(httpProxy, {
    upstream: '',
    replyOptions: { getUpstream: originOf },
    httpMethods: [...FORWARDED_METHODS],
    routes: [FORWARD_ROUTE],
    proxyPayloads: false,
    // Invariant: requests leave only through the company's own connections.
    undici: { request: neverSent },
    handler: (request: FastifyRequest, reply: FastifyReply) => {
      reply.hijack()
      carry(request, reply)
    },
  } as Parameters<typeof httpProxy>[1])
}

function neverSent(): never {
  throw new Error('the handler sends every request')
}
