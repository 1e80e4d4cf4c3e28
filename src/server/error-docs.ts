// Serves the page that explains each error code. The `type` of every problem links to it.
import type { FastifyInstance } from 'fastify'
import { ownFile } from '../observe/own-files.ts'

/** Serves docs/errors.md as a page, whether the inspector is on or not. */
export function registerErrorDocs(app: FastifyInstance): void {
  app.get('/_proxy/errors', (_request, reply) => {
    reply
      .headers({
        'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        'cache-control': 'no-cache',
      })
      .type('text/html; charset=utf-8')
      .send(ownFile('page/errors.html'))
  })
}
