// The fake's login server: its clients, and the access tokens issued for their credentials.
import { randomBytes } from 'node:crypto'
import { type Answer, type Faults, type HeaderFields, json, play, send, type TokenFault } from './answer.ts'
import type { Exchange, Handler } from './listener.ts'

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

/** Issues, recognises and revokes tokens. */
export class Tokens {
  readonly #clients: Map<string, FakeClient>
  readonly #issued = new Map<string, IssuedToken>()
  readonly #lifetimeMs: number
  readonly #now: () => number

  constructor(clients: readonly FakeClient[], lifetimeSeconds: number, now: () => number) {
    this.#clients = new Map(clients.map((client) => [client.clientId, { ...client }]))
    this.#lifetimeMs = lifetimeSeconds * 1000
    this.#now = now
  }

  /** Issues a token for these credentials, as Procore's token endpoint answers; undefined if they are wrong. */
  issue(clientId: string, clientSecret: string) {
    if (this.#clients.get(clientId)?.clientSecret !== clientSecret) return undefined
    const createdAt = this.#now()
    const serial = this.#issued.size + 1
    const expiresAt = createdAt + this.#lifetimeMs
    const token = tokenText({ serial, exp: Math.floor(expiresAt / 1000) })
    this.#issued.set(token, { serial, clientId, expiresAt, revoked: false })
    const times = { expires_in: this.#lifetimeMs / 1000, created_at: Math.floor(createdAt / 1000) }
    return { access_token: token, token_type: 'bearer', ...times }
  }

  /** The token of an `Authorization` header, valid or not. */
  ofHeader(authorization = ''): IssuedToken | undefined {
    return this.#issued.get(/^Bearer (\S+)$/i.exec(authorization)?.[1] ?? '')
  }

  /** Whether a token is neither revoked nor expired. */
  isAlive(token: IssuedToken): boolean {
    return !token.revoked && this.#now() < token.expiresAt
  }

  /** The companies that a client may use. */
  companiesOf(clientId: string): readonly string[] {
    return this.#clients.get(clientId)?.companyIds ?? []
  }

  /** Revokes all tokens, or those of one client. */
  revokeAll(clientId?: string): void {
    for (const token of this.#issued.values()) {
      if (clientId === undefined || token.clientId === clientId) token.revoked = true
    }
  }

  /** Gives a client a new secret and revokes its tokens; throws if there is no such client. */
  resetSecret(clientId: string, newSecret: string): void {
    const client = this.#clients.get(clientId)
    if (client === undefined) throw new Error(`the fake Procore has no client ${clientId}`)
    client.clientSecret = newSecret
    this.revokeAll(clientId)
  }

  /** The texts of all issued tokens, oldest first. */
  issued(): readonly string[] {
    return [...this.#issued.keys()]
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

/** Answers `/oauth/token`, `tokenDelayMs` later. */
export function createLogin(tokens: Tokens, faults: Faults, tokenDelayMs: number): Handler {
  return async (exchange) => {
    const { method } = exchange.entry
    const path = exchange.path.replace(/(?<=.)\/$/, '')
    if (method === 'POST' && path === '/oauth/token') {
      const fault = faults.next(faults.token === undefined ? [] : [faults.token], method, path)
      const grant = async (): Promise<Answer> => changed(await grantToken(exchange, tokens), fault)
      return play(exchange, { delayMs: tokenDelayMs, ...fault }, NO_STORE, grant)
    }
    await exchange.received()
    const headers = { 'Content-Type': 'text/html' }
    return send(exchange, { status: 404, headers, body: '<h1>Not found</h1>' })
  }
}

/** Credentials are accepted in the body only, because a Basic header is not documented. */
async function grantToken(exchange: Exchange, tokens: Tokens): Promise<Answer> {
  const given = await parameters(exchange)
  const grantType = given?.get('grant_type')
  if (given === undefined || grantType === undefined) return oauthError(400, 'invalid_request')
  if (grantType !== 'client_credentials') return oauthError(400, 'unsupported_grant_type')
  const body = tokens.issue(given.get('client_id') ?? '', given.get('client_secret') ?? '')
  return body === undefined ? oauthError(401, 'invalid_client') : json(200, body, NO_STORE)
}

function changed(answer: Answer, fault: TokenFault | undefined): Answer {
  if (fault?.mutate === undefined || answer.status !== 200) return answer
  const body: unknown = fault.mutate(JSON.parse(String(answer.body)) as Record<string, unknown>)
  return { ...answer, body: JSON.stringify(body) ?? '' }
}

function oauthError(status: number, error: keyof typeof TEXTS): Answer {
  const challenge = `Bearer realm="Doorkeeper", error="${error}", error_description="${TEXTS[error]}"`
  const headers = status === 401 ? { ...NO_STORE, 'WWW-Authenticate': challenge } : NO_STORE
  return json(status, { error, error_description: TEXTS[error] }, headers)
}

/** The body's parameters, in any of the three formats that Procore documents; undefined for other formats. */
async function parameters(exchange: Exchange): Promise<Map<string, string> | undefined> {
  const body = await exchange.received()
  const type = exchange.entry.headers['content-type'] ?? ''
  try {
    const fields = type.startsWith('application/json')
      ? Object.entries(JSON.parse(body.toString()) as object)
      : await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData()
    return new Map([...fields].map(([name, value]) => [name, String(value)]))
  } catch {
    return undefined
  }
}
