// The fake's login server: its clients, and the access tokens issued for their credentials.
import { randomBytes } from 'node:crypto'
import { type FakeAnswer, type FakeRequest, json, type Responder } from './answer.ts'

/** A service account of the fake, and the companies that it may use. */
export interface FakeClient {
  readonly clientId: string
  clientSecret: string
  readonly companyIds: readonly string[]
}

/** An issued token. */
export interface IssuedToken {
  readonly client: FakeClient
  /** In ms since 1970. */
  expiresAt: number
}

/** The tokens of the login server. */
export type IssuedTokens = ReturnType<typeof createTokens>

/** Issues and recognizes tokens. */
export function createTokens(clients: readonly FakeClient[], lifetimeSeconds = 5400) {
  const issued = new Map<string, IssuedToken>()
  return {
    /** By the token's text, oldest first. */
    issued,
    /** Issues a token for these credentials, as Procore's token endpoint answers; undefined if they are wrong. */
    issue(id: string | null, secret: string | null) {
      const client = clients.find(({ clientId, clientSecret }) => clientId === id && clientSecret === secret)
      if (client === undefined) return undefined
      const now = Date.now()
      const expiresAt = now + lifetimeSeconds * 1000
      const token = tokenText({ serial: issued.size + 1, exp: Math.floor(expiresAt / 1000) })
      issued.set(token, { client, expiresAt })
      const times = { expires_in: lifetimeSeconds, created_at: Math.floor(now / 1000) }
      return { access_token: token, token_type: 'bearer', ...times }
    },
    /** The token that was sent in a request, expired or not. */
    sentIn({ headers }: Pick<FakeRequest, 'headers'>): IssuedToken | undefined {
      const [, text = ''] = /^Bearer (\S+)$/i.exec(String(headers['authorization'])) ?? []
      return issued.get(text)
    },
  }
}

/** Looks like Procore's ES512 JWTs and has the same length. The signature is random. */
function tokenText(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ typ: 'JWT', alg: 'ES512' })}.${part(claims)}.${randomBytes(132).toString('base64url')}`
}

// The text is Doorkeeper's, on which Procore's login server is built.
const TEXTS = {
  invalid_client:
    'Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.',
  unsupported_grant_type: 'The authorization grant type is not supported by the authorization server.',
  invalid_request: 'The request is missing a required parameter or is otherwise malformed.',
} as const

/** Answers `/oauth/token`. */
export function createLogin(tokens: IssuedTokens): Responder {
  return ({ method, path }) => {
    if (method === 'POST' && /^\/oauth\/token\/?$/.test(path)) {
      const headers = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }
      return { headers, answer: (body) => grantToken(new URLSearchParams(body), tokens) }
    }
    const headers = { 'Content-Type': 'text/html' }
    return { headers, answer: () => ({ status: 404, body: '<h1>Not found</h1>' }) }
  }
}

/** Credentials are accepted in a form only, as the proxy sends them. */
function grantToken(given: URLSearchParams, tokens: IssuedTokens): FakeAnswer {
  const grantType = given.get('grant_type')
  if (grantType === null) return oauthError(400, 'invalid_request')
  if (grantType !== 'client_credentials') return oauthError(400, 'unsupported_grant_type')
  const granted = tokens.issue(given.get('client_id'), given.get('client_secret'))
  return granted === undefined ? oauthError(401, 'invalid_client') : json(200, granted)
}

function oauthError(status: number, error: keyof typeof TEXTS): FakeAnswer {
  const challenge = `Bearer realm="Doorkeeper", error="${error}", error_description="${TEXTS[error]}"`
  const headers = status === 401 ? { 'WWW-Authenticate': challenge } : {}
  return json(status, { error, error_description: TEXTS[error] }, headers)
}
