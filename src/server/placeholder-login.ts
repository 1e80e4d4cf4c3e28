// Answers the log-in of tools that insist on one: placeholders, made up here; Procore's token endpoint is never reached.
import type { FastifyInstance, FastifyReply } from 'fastify'

/** Taken for a token by SDKs; it opens nothing, and the proxy drops it with the rest of a caller's Authorization. */
const PLACEHOLDER = 'procore-proxy-placeholder'
const LIFETIME_SECONDS = 7200

/**
 * `/oauth/token` for any grant, `/oauth/token/info` and `/oauth/revoke`, in the shapes of Procore's documentation. The
 * request's body is not even read: made-up credentials are as good as any.
 */
export function registerPlaceholderLogin(app: FastifyInstance): void {
  app.post('/oauth/token', (_request, reply) => {
    answer(reply, {
      access_token: PLACEHOLDER,
      token_type: 'bearer',
      expires_in: LIFETIME_SECONDS,
      refresh_token: PLACEHOLDER,
      created_at: unixSeconds(),
    })
  })
  app.get('/oauth/token/info', (_request, reply) => {
    answer(reply, {
      resource_owner_id: null,
      scopes: [],
      expires_in_seconds: LIFETIME_SECONDS,
      application: { uid: PLACEHOLDER },
      created_at: unixSeconds(),
    })
  })
  app.post('/oauth/revoke', (_request, reply) => answer(reply, {}))
}

function answer(reply: FastifyReply, body: object): void {
  reply.header('cache-control', 'no-store').header('pragma', 'no-cache').send(body)
}

function unixSeconds(): number {
  return Math.floor(Date.now() / 1000)
}
