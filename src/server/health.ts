// The two health addresses: up or down, nothing else.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'

const LIVE = '/_proxy/health/live'
const READY = '/_proxy/health/ready'
export const HEALTH_PATHS: readonly string[] = [LIVE, READY]

/** Whether a request target is one of the two, with or without a query. */
export function isHealth(target: string): boolean {
  return HEALTH_PATHS.includes(pathOf(target))
}

/**
 * Answers a probe at once: a proxy is not to be taken for dead because of anything that its other pages need. False where
 * the request is for something else. `live` is up while the process answers; `ready` while `isReady`. Neither ever calls Procore.
 */
export function answerHealth(
  { url = '', method }: Pick<IncomingMessage, 'url' | 'method'>,
  response: ServerResponse,
  isReady: () => boolean,
): boolean {
  if ((method !== 'GET' && method !== 'HEAD') || !isHealth(url)) return false
  send(response, pathOf(url) === LIVE || isReady())
  return true
}

/** The same below a company prefix. */
export function registerHealth(app: FastifyInstance, isReady: () => boolean): void {
  for (const path of HEALTH_PATHS) {
    app.get(path, (_request, reply) => {
      reply.hijack()
      send(reply.raw, path === LIVE || isReady())
    })
  }
}

function send(response: ServerResponse, isUp: boolean): void {
  const body = isUp ? 'up\n' : 'down\n'
  response.writeHead(isUp ? 200 : 503, {
    'cache-control': 'no-store',
    'content-type': 'text/plain; charset=utf-8',
    'content-length': body.length,
  })
  response.end(body)
}

function pathOf(target: string): string {
  const mark = target.indexOf('?')
  return mark === -1 ? target : target.slice(0, mark)
}
