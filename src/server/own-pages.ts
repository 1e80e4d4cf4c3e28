// What the proxy's own pages share: they show only what the viewer may see, and hide known secrets.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Viewer } from '../observe/viewer.ts'
import type { Observation } from './observation.ts'

export interface OwnPageDeps {
  readonly observation: Observation
  /** Who made the request, by its address, host name and key. */
  readonly viewer: (request: FastifyRequest) => Viewer
}

/** Sends JSON that must not be stored, without any known secret. */
export function sendJson(reply: FastifyReply, { secrets }: Observation, value: unknown): FastifyReply {
  return reply
    .header('cache-control', 'no-store')
    .type('application/json; charset=utf-8')
    .send(secrets.conceal(JSON.stringify(value)))
}

/** `/_proxy/metrics`, in the Prometheus text format. */
export function registerMetrics(app: FastifyInstance, { observation, viewer }: OwnPageDeps): void {
  app.get('/_proxy/metrics', async (request, reply) => {
    const { text, type } = await observation.metrics.text(viewer(request))
    return reply.header('cache-control', 'no-store').type(type).send(observation.secrets.conceal(text))
  })
}

/** `/_proxy/status`, as JSON. */
export function registerStatus(app: FastifyInstance, { observation, viewer }: OwnPageDeps): void {
  app.get('/_proxy/status', async (request, reply) =>
    sendJson(reply, observation, observation.status(viewer(request))),
  )
}
