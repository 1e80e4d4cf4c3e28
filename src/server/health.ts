// Serves the two health endpoints, which say up or down and nothing else.
import type { FastifyInstance, FastifyReply } from 'fastify'

const LIVE = '/_proxy/health/live'
const READY = '/_proxy/health/ready'
export const HEALTH_PATHS: readonly string[] = [LIVE, READY]

/** Whether `metrics.listen` serves this request target: health or metrics. */
export function isForMetrics(target: string): boolean {
  return isHealth(target) || pathOf(target) === '/_proxy/metrics'
}

/** Whether a request target is a health endpoint, with or without a query. */
export function isHealth(target: string): boolean {
  return HEALTH_PATHS.includes(pathOf(target))
}

/** Whether the proxy accepts requests; `strict` also requires a token for each account. Never calls Procore. */
export type IsReady = (strict: boolean) => boolean

/** `live` is up while the process answers; `ready` is up while `isReady` returns true. */
export function registerHealth(app: FastifyInstance, isReady: IsReady): void {
  app.get(LIVE, (_request, reply) => answer(reply, true))
  app.get<{ Querystring: { strict?: string } }>(READY, ({ query }, reply) =>
    answer(reply, isReady(query.strict === '1')),
  )
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
