// Answers the logins of tools that insist on one with a placeholder token. Procore's token endpoint is never called.
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { expectsContinue } from '../forward/forward.ts'
import { credentialsIn, hasKeyHeader } from '../guards/callers.ts'
import { readBounded } from '../network/response.ts'

/** SDKs use it as a token. It grants nothing, and the proxy drops it like any Authorization of a caller. */
const PLACEHOLDER = 'procore-proxy-placeholder'
const LIFETIME_SECONDS = 7200
/** The most bytes of a token request; a real one has a few hundred. */
const LONGEST_BODY = 16 * 1024
/** It has to arrive within this time: a caller that has shown no key yet must not hold its connection for ever. */
const LONGEST_WAIT_MS = 15_000

const NO_KEY = 'The client_secret must be the key of a caller that the proxy knows.'

interface PlaceholderLoginDeps {
  /** Whether callers must send keys. If not, the body is not read, and any credentials are accepted. */
  readonly asksForKeys: boolean
  /** Finds the secret that is a caller's key; undefined if there is none. It may be delayed, to slow down guesses. */
  readonly findKey: (secrets: readonly string[], request: FastifyRequest) => Promise<string | undefined>
  /** Called before a login without a key is refused. */
  readonly refused: (request: FastifyRequest, error: ProxyError) => Promise<void>
}

/**
 * Registers `/oauth/token` for any grant, `/oauth/token/info` and `/oauth/revoke`, in the shapes of Procore's documentation.
 * Where keys are asked for, the token endpoint takes the caller's key as `client_secret` and gives it back as the token;
 * a revocation may have it there too.
 */
export function registerPlaceholderLogin(app: FastifyInstance, deps: PlaceholderLoginDeps): void {
  app.post('/oauth/token', async (request, reply) => {
    const token = deps.asksForKeys ? await keyOf(request, reply, deps) : PLACEHOLDER
    if (token === undefined) {
      await deps.refused(request, new ProxyError('key_required', NO_KEY))
      return refuse(reply)
    }
    return answer(reply, {
      access_token: token,
      token_type: 'bearer',
      expires_in: LIFETIME_SECONDS,
      refresh_token: token,
      created_at: unixSeconds(),
    })
  })
  app.route({
    method: ['GET', 'POST'],
    url: '/oauth/token/info',
    handler: (_request, reply) =>
      answer(reply, {
        resource_owner_id: null,
        scopes: [],
        expires_in_seconds: LIFETIME_SECONDS,
        application: { uid: PLACEHOLDER },
        created_at: unixSeconds(),
      }),
  })
  app.post('/oauth/revoke', async (request, reply) => {
    const isKnown = !deps.asksForKeys || hasKeyHeader(request.raw.rawHeaders)
    if (!isKnown && (await keyOf(request, reply, deps)) === undefined)
      throw new ProxyError('key_required', 'The request has no key.')
    return answer(reply, {})
  })
}

async function keyOf(
  request: FastifyRequest,
  reply: FastifyReply,
  { findKey }: PlaceholderLoginDeps,
): Promise<string | undefined> {
  if (expectsContinue(request.raw)) reply.raw.writeContinue()
  const { promise: broken, reject } = Promise.withResolvers<never>()
  request.proxyContext.connection.whenBroken((error) => {
    reject(error)
    // Node gives the reader of a broken body neither its end nor an error.
    reply.raw.once('close', () => request.raw.destroy())
  })
  const body = await Promise.race([readBody(request.raw), broken])
  if (body === undefined) return undefined
  const { 'content-type': contentType, authorization } = request.headers
  return findKey(await loginSecrets({ contentType, authorization, body }), request)
}

/** The whole body as text; undefined if it is too long or breaks off. */
async function readBody(raw: IncomingMessage): Promise<string | undefined> {
  const timer = setTimeout(() => raw.destroy(), LONGEST_WAIT_MS)
  try {
    return (await readBounded(raw, LONGEST_BODY))?.toString()
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
  }
}

/** RFC 6749 section 5.2. */
function refuse(reply: FastifyReply): FastifyReply {
  reply.code(401).header('www-authenticate', 'Basic realm="procore-proxy", charset="UTF-8"')
  return answer(reply, { error: 'invalid_client', error_description: NO_KEY })
}

function answer(reply: FastifyReply, body: object): FastifyReply {
  return reply.header('cache-control', 'no-store').header('pragma', 'no-cache').send(body)
}

function unixSeconds(): number {
  return Math.floor(Date.now() / 1000)
}

/** A token request, its body as text. */
interface LoginRequest {
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

/**
 * Everything that may be the client secret: `client_secret` of a form (multipart too) or JSON body, and the password of Basic, which the
 * RFC wants form-encoded and many clients do not encode. Empty if there is none.
 */
export async function loginSecrets({
  contentType = '',
  authorization = '',
  body,
}: LoginRequest): Promise<readonly string[]> {
  const inBody = /json/i.test(contentType) ? secretInJson(body) : await secretsInForm(contentType, body)
  const basic = /^\s*basic\s/i.test(authorization) ? credentialsIn(authorization) : []
  const secrets = [
    ...inBody,
    ...basic,
    ...basic.flatMap((text) => new URLSearchParams(`s=${text}`).getAll('s')),
  ]
  return [...new Set(secrets)].filter((secret) => secret !== '')
}

async function secretsInForm(contentType: string, body: string): Promise<readonly string[]> {
  if (!/^multipart\//i.test(contentType)) return new URLSearchParams(body).getAll('client_secret')
  try {
    const form = await new Response(body, { headers: { 'content-type': contentType } }).formData()
    return form.getAll('client_secret').filter((value) => typeof value === 'string')
  } catch {
    return []
  }
}

function secretInJson(body: string): readonly string[] {
  try {
    const { client_secret: secret }: { readonly client_secret?: unknown } = JSON.parse(body)
    return typeof secret === 'string' ? [secret] : []
  } catch {
    return []
  }
}
