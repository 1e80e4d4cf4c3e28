// The fake's login server: its clients, and the access tokens issued for their credentials.
import { randomBytes } from 'node:crypto'
import { type Answer, type HeaderFields, json, type Play, send } from './answer.ts'
import type { Exchange, Handler, JournalEntry } from './listener.ts'

/** A service account of the fake, and the companies that it may use. */
export interface FakeClient {
  clientId: string
  clientSecret: string
  companyIds: readonly string[]
}

/** An issued token; serial numbers start at 1. */
export interface IssuedToken {
  readonly serial: number
  readonly clientId: string
  readonly expiresAt: number
  revoked: boolean
}

/** The login server's clients and tokens. */
export type Tokens = ReturnType<typeof createTokens>

/** Issues and recognizes tokens. */
export function createTokens(list: readonly FakeClient[], lifetimeSeconds: number, now: () => number) {
  const clients = new Map(list.map((client) => [client.clientId, { ...client }]))
  const issued = new Map<string, IssuedToken>()
  return {
    clients,
    /** By the token's text, oldest first. */
    issued,
    /** Issues a token for these credentials, as Procore's token endpoint answers; undefined if they are wrong. */
    issue(clientId: string, clientSecret: string) {
      if (clients.get(clientId)?.clientSecret !== clientSecret) return undefined
      const createdAt = now()
      const expiresAt = createdAt + lifetimeSeconds * 1000
      const serial = issued.size + 1
      const token = tokenText({ serial, exp: Math.floor(expiresAt / 1000) })
      issued.set(token, { serial, clientId, expiresAt, revoked: false })
      const times = { expires_in: lifetimeSeconds, created_at: Math.floor(createdAt / 1000) }
      return { access_token: token, token_type: 'bearer', ...times }
    },
    /** The token that was sent in a request, valid or not; the entry then holds its number. */
    sentIn(entry: Pick<JournalEntry, 'headers' | 'tokenSerial'>): IssuedToken | undefined {
      const [, text = ''] = /^Bearer (\S+)$/i.exec(entry.headers['authorization'] ?? '') ?? []
      const token = issued.get(text)
      if (token !== undefined) entry.tokenSerial = token.serial
      return token
    },
    /** Whether a token is neither revoked nor expired. */
    isAlive: (token: IssuedToken) => !token.revoked && now() < token.expiresAt,
    /** The companies that a client may use. */
    companiesOf: (clientId: string) => clients.get(clientId)?.companyIds ?? [],
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

const NO_STORE: HeaderFields = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }

/** Answers `/oauth/token`. */
export function createLogin(tokens: Tokens, play: Play): Handler {
  return async (exchange) => {
    const { method } = exchange.entry
    const path = exchange.path.replace(/(?<=.)\/$/, '')
    if (method === 'POST' && path === '/oauth/token')
      return play(exchange, NO_STORE, () => grantToken(exchange, tokens))
    await exchange.received()
    const headers = { 'Content-Type': 'text/html' }
    return send(exchange, { status: 404, headers, body: '<h1>Not found</h1>' })
  }
}

/** Credentials are accepted in a form only, as the proxy sends them. */
async function grantToken(exchange: Exchange, tokens: Tokens): Promise<Answer> {
  const given = new URLSearchParams((await exchange.received()).toString())
  const grantType = given.get('grant_type')
  if (grantType === null) return oauthError(400, 'invalid_request')
  if (grantType !== 'client_credentials') return oauthError(400, 'unsupported_grant_type')
  const body = tokens.issue(given.get('client_id') ?? '', given.get('client_secret') ?? '')
  if (body === undefined) return oauthError(401, 'invalid_client')
  return json(200, body)
}

function oauthError(status: number, error: keyof typeof TEXTS): Answer {
  const challenge = `Bearer realm="Doorkeeper", error="${error}", error_description="${TEXTS[error]}"`
  const headers = status === 401 ? { 'WWW-Authenticate': challenge } : {}
  return json(status, { error, error_description: TEXTS[error] }, headers)
}
