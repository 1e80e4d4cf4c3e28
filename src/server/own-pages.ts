// What the proxy's own pages share: the viewer, hiding of known secrets, and a time limit for readers that stall.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Viewer } from '../observe/viewer.ts'
import type { Observation } from './observation.ts'

/** A reader that has not read a page after this time is disconnected. */
const STALL_MS = 15_000

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

/**
 * Disconnects callers that do not read the responses of this instance's routes. Call it before the routes are
 * registered.
 */
export function dropStalledReaders(app: FastifyInstance): void {
  app.addHook('onSend', async (_request, { raw }) => {
    const timer = setTimeout(() => raw.destroy(), STALL_MS)
    timer.unref()
    raw.once('close', () => clearTimeout(timer))
  })
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
