// The forwarder as the handler of @fastify/http-proxy, for what Fastify routes.
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { FORWARDED_METHODS } from '../guards/framing.ts'
import { forward, type Passage } from './forwarder.ts'

/** Serves `/` by forwarding; `passageOf` gives what was decided before. */
export async function registerForwarder(
  app: FastifyInstance,
  passageOf: (request: FastifyRequest) => Passage,
): Promise<void> {
  await app.register(httpProxy, {
    // Never dialled: the handler below sends through the company's own pool.
    upstream: 'http://procore-proxy.invalid',
    httpMethods: [...FORWARDED_METHODS],
    // Whatever is forwarded is routed as `/`; its real path is in the passage.
    routes: ['/'],
    proxyPayloads: false,
    // Nor does it need an agent of its own.
    undici: { request: neverSent },
    handler: (request: FastifyRequest, reply: FastifyReply) => {
      const passage = passageOf(request)
      reply.hijack()
      forward(request.raw, reply.raw, passage)
    },
  } as Parameters<typeof httpProxy>[1])
}

function neverSent(): never {
  throw new Error('the handler sends every request')
}
