// The fake's clients and the access tokens issued to them.
import { randomBytes } from 'node:crypto'

/** A service account of the fake, and the companies that it may use. */
export interface FakeClient {
  clientId: string
  clientSecret: string
  companyIds: readonly string[]
}

/** The response of Procore's token endpoint (oauth_client_credentials.md). */
export interface TokenBody {
  access_token: string
  token_type: 'bearer'
  expires_in: number
  created_at: number
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

  /** Issues a token for these credentials; undefined if they are wrong. */
  issue(clientId: string, clientSecret: string): TokenBody | undefined {
    if (this.#clients.get(clientId)?.clientSecret !== clientSecret) return undefined
    const createdAt = this.#now()
    const serial = this.#issued.size + 1
    const expiresAt = createdAt + this.#lifetimeMs
    const token = tokenText({ serial, exp: Math.floor(expiresAt / 1000) })
    this.#issued.set(token, { serial, clientId, expiresAt, revoked: false })
    return {
      access_token: token,
      token_type: 'bearer',
      expires_in: this.#lifetimeMs / 1000,
      created_at: Math.floor(createdAt / 1000),
    }
  }

  /** The token of an `Authorization` header, valid or not. */
  ofHeader(authorization = ''): IssuedToken | undefined {
    return this.find(/^Bearer (\S+)$/i.exec(authorization)?.[1] ?? '')
  }

  /** What is known about a token, valid or not. */
  find(token: string): IssuedToken | undefined {
    return this.#issued.get(token)
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
