// The two health addresses: up or down, nothing else.
import type { FastifyInstance, FastifyReply } from 'fastify'

const LIVE = '/_proxy/health/live'
const READY = '/_proxy/health/ready'
export const HEALTH_PATHS: readonly string[] = [LIVE, READY]

/** Whether a request target is one of the two, with or without a query. */
export function isHealth(target: string): boolean {
  return HEALTH_PATHS.includes(pathOf(target))
}

/** `live` is up while the process answers; `ready` while `isReady`. Neither ever calls Procore. */
export function registerHealth(app: FastifyInstance, isReady: () => boolean): void {
  app.get(LIVE, (_request, reply) => answer(reply, true))
  app.get(READY, (_request, reply) => answer(reply, isReady()))
}

function answer(reply: FastifyReply, isUp: boolean): void {
  reply
    .status(isUp ? 200 : 503)
    .header('cache-control', 'no-store')
    .type('text/plain; charset=utf-8')
    .send(isUp ? 'up\n' : 'down\n')
}

function pathOf(target: string): string {
  const mark = target.indexOf('?')
  return mark === -1 ? target : target.slice(0, mark)
}
