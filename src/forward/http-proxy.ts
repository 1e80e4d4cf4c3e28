// Registers @fastify/http-proxy, whose handler carries the requests that the hooks let through on the company's own connections.
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { FORWARDED_METHODS } from '../guards/framing.ts'

/** Where the hooks let a request go to Procore, its URL is rewritten to this one. */
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
    // Invariant: nothing goes up but through the company's own connections.
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
