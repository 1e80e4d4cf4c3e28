// The two health addresses: up or down, nothing else.
import type { FastifyInstance } from 'fastify'

/** `live` is up while the process answers; `ready` while `isReady`. Neither ever calls Procore. */
export function registerHealth(app: FastifyInstance, isReady: () => boolean): void {
  const routes: [string, () => boolean][] = [
    ['/_proxy/health/live', () => true],
    ['/_proxy/health/ready', isReady],
  ]
  for (const [url, isUp] of routes) {
    app.get(url, (_request, reply) => {
      const up = isUp()
      reply
        .code(up ? 200 : 503)
        .header('cache-control', 'no-store')
        .type('text/plain')
        .send(up ? 'up\n' : 'down\n')
    })
  }
}
