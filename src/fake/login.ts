// The fake's login server: tokens for client credentials.
import { type Answer, type HeaderFields, json, send } from './answer.ts'
import { type Faults, play, type TokenFault } from './faults.ts'
import type { Exchange, Handler } from './listener.ts'
import type { Tokens } from './tokens.ts'

/** What the login server needs. */
export interface LoginDeps {
  readonly tokens: Tokens
  readonly faults: Faults
  readonly tokenDelayMs: number
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
export function createLogin({ tokens, faults, tokenDelayMs }: LoginDeps): Handler {
  return async (exchange) => {
    const { method } = exchange.entry
    const path = exchange.path.replace(/(?<=.)\/$/, '')
    if (method === 'POST' && path === '/oauth/token') {
      const fault = faults.nextToken()
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
