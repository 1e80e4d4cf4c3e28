// One token request with the client credentials grant (RFC 6749 section 4.4): sends it and judges the response.
import type { ServiceAccount } from '../config/config.ts'
import type { Ask, Reply } from '../network/ask.ts'
import {
  errorCode,
  FILES_HELP,
  isConnectTimeout,
  isOutOfFiles,
  OutboundProxyError,
  tlsFault,
} from '../network/connection-error.ts'
import { retryAfterMs, serverNowMs } from '../network/response.ts'

/** An access token as the login server gave it. */
export interface IssuedToken {
  readonly value: string
  /** From `expires_in`; 900 s if the server names none (the shortest lifetime that Procore ever announced). */
  readonly lifetimeMs: number
  /** How old the token already is, if another replica obtained it; absent means 0. */
  readonly ageMs?: number
}

/** `rejected` is final, because the login server refused the credentials. All other failures may pass. */
export type TokenFailureReason = 'rejected' | 'unreachable' | 'timeout' | 'tls' | 'bad_status' | 'bad_body'

interface FailureOptions extends ErrorOptions {
  /** From Retry-After. */
  readonly retryAfterMs?: number | undefined
  /** More exact advice than that of `token_unavailable`. */
  readonly help?: string | undefined
  /** A more exact Proxy-Status error type. */
  readonly proxyStatus?: string | undefined
}

/** A token request that failed. `message` contains no secret and no part of the response body. */
export class TokenFailure extends Error {
  override readonly name = 'TokenFailure'
  readonly reason: TokenFailureReason
  readonly retryAfterMs: number | undefined
  readonly help: string | undefined
  readonly proxyStatus: string | undefined

  constructor(reason: TokenFailureReason, message: string, options: FailureOptions = {}) {
    super(message, options)
    this.reason = reason
    this.retryAfterMs = options.retryAfterMs
    this.help = options.help
    this.proxyStatus = options.proxyStatus
  }

  /** True if the same credentials would fail again. */
  get final(): boolean {
    return this.reason === 'rejected'
  }
}

const DEFAULT_LIFETIME_SECONDS = 900
/** The shortest useful lifetime. With a shorter one, the login server would be asked without pause. */
const SHORTEST_LIFETIME_SECONDS = 1
/** The longest lifetime. A longer one is cut, so that the end remains a valid date. */
const LONGEST_LIFETIME_SECONDS = 365 * 86_400
/** A token response is about 1 KB; anything larger is not one. */
const MOST_BODY_BYTES = 256 * 1024
const REQUEST_TIMEOUT_MS = 10_000
const TROUBLE_HELP = 'The login server can be reached, but is in trouble or overloaded. Try again later.'
const IMPOSTOR_HELP =
  'Something else may answer in place of the login server: an outbound proxy, the sign-in page of a network, ' +
  'or the server of a wrong `loginUrl`. Put that right, or try again later.'
/** Error codes of a token endpoint (RFC 6749 section 5.2). Nothing else of a body is ever repeated. */
const OAUTH_ERROR =
  /^(invalid_request|invalid_client|invalid_grant|unauthorized_client|unsupported_grant_type|invalid_scope)$/

/** Sends one token request; throws {@link TokenFailure}. The secret goes to the account's login origin only. */
export async function requestToken(
  account: ServiceAccount,
  ask: Ask,
  signal: AbortSignal,
): Promise<IssuedToken> {
  const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  const reply = await ask({
    origin: account.environment.loginUrl,
    path: '/oauth/token',
    method: 'POST',
    headers: [...['Content-Type', 'application/x-www-form-urlencoded'], ...['Accept', 'application/json']],
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: account.clientId,
      client_secret: account.clientSecret.reveal(),
    }).toString(),
    signal: AbortSignal.any([signal, timeout]),
    mostBytes: MOST_BODY_BYTES,
  }).catch((error: unknown) => {
    throw connectionFailure(error, timeout.aborted)
  })
  return readTokenReply(reply)
}

/** Judges a token response: a token, or a {@link TokenFailure} that says whether to try again. */
export function readTokenReply({ status, head, text }: Reply, wallNowMs: number = Date.now()): IssuedToken {
  const json = text === undefined ? undefined : parseObject(text)
  if (status === 400 || status === 401 || status === 403) {
    const oauthError = json?.['error']
    const code = typeof oauthError === 'string' && OAUTH_ERROR.test(oauthError) ? `, ${oauthError}` : ''
    throw new TokenFailure('rejected', `the login server refused the credentials (HTTP ${status}${code})`)
  }
  if (status !== 200) {
    const isInTrouble = status >= 500 || status === 408 || status === 429
    throw new TokenFailure('bad_status', `the login server answered HTTP ${status}`, {
      retryAfterMs: retryAfterMs(head['retry-after'], serverNowMs(head, wallNowMs)),
      help: isInTrouble ? TROUBLE_HELP : IMPOSTOR_HELP,
    })
  }
  return readToken(text, json)
}

const unusable = (what: string) =>
  new TokenFailure('bad_body', `the login server's answer ${what}`, { help: IMPOSTOR_HELP })

/** Reads the token of a response with status 200. */
function readToken(text: string | undefined, json: Record<string, unknown> | undefined): IssuedToken {
  if (text === undefined) throw unusable(`is longer than ${MOST_BODY_BYTES / 1024} KiB`)
  if (text.trim() === '') throw unusable('is empty')
  if (json === undefined) throw unusable('is not a JSON object')
  const value = json['access_token']
  if (typeof value !== 'string' || value === '') throw unusable('has no access_token')
  // RFC 6750 section 2.1 allows even less. What matters is that the value cannot break out of a header.
  if (!/^[\x21-\x7e]+$/.test(value))
    throw unusable('has an access_token with characters that are not allowed in one')
  const type = json['token_type'] ?? 'bearer'
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') {
    throw unusable('has a token that is not a bearer token')
  }
  return { value, lifetimeMs: lifetimeSeconds(json['expires_in']) * 1000 }
}

function lifetimeSeconds(expiresIn: unknown): number {
  const seconds =
    typeof expiresIn === 'string' && expiresIn.trim() !== '' ? Number(expiresIn) : (expiresIn ?? Number.NaN)
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) return DEFAULT_LIFETIME_SECONDS
  if (seconds < SHORTEST_LIFETIME_SECONDS) throw unusable('has a token that has already expired')
  return Math.min(seconds, LONGEST_LIFETIME_SECONDS)
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function connectionFailure(error: unknown, timedOut: boolean): TokenFailure {
  const failure = (reason: TokenFailureReason, message: string, options: FailureOptions = {}) =>
    new TokenFailure(reason, message, { cause: error, help: options.help, proxyStatus: options.proxyStatus })
  if (isOutOfFiles(error)) {
    const message = "this machine's limit on open files is reached, so nothing was sent to the login server"
    return failure('unreachable', message, { help: FILES_HELP, proxyStatus: 'connection_limit_reached' })
  }
  if (error instanceof OutboundProxyError) {
    return failure('unreachable', `the login server could not be reached: ${error.message}`, error)
  }
  if (timedOut || isConnectTimeout(error))
    return failure('timeout', 'the login server did not answer in time')
  const code = errorCode(error) ?? (error instanceof Error ? error.name : 'error')
  const tls = tlsFault(error)
  if (tls !== undefined) return failure('tls', `TLS with the login server failed: ${tls.text}`, tls)
  return failure('unreachable', `the login server could not be reached (${code})`)
}
