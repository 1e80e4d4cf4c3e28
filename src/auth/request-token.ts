// One token request (RFC 6749 section 4.4): sends it, and judges the answer.
import type { ServiceAccount } from '../config/config.ts'
import type { Ask } from '../network/ask.ts'
import { errorCode, isConnectTimeout, isTlsError, OutboundProxyError } from '../network/connection-error.ts'
import { TokenFailure } from './token-failure.ts'

/** An access token as the login server gave it. */
export interface IssuedToken {
  readonly value: string
  /** From `expires_in`; 900 s where the server names none (the shortest that Procore ever announced). */
  readonly lifetimeMs: number
}

/** A login server's answer, its body cut at {@link MAX_BODY_BYTES}. */
export interface TokenAnswer {
  readonly status: number
  /** Seconds or an HTTP date. */
  readonly retryAfter: string | undefined
  readonly body: string
  /** The body was longer than any token answer may be. */
  readonly tooLong: boolean
}

const DEFAULT_LIFETIME_SECONDS = 900
/** Less is no use, and would have the login server asked without pause. */
const SHORTEST_LIFETIME_SECONDS = 1
/** More is cut: the end stays a date, and arithmetic finite. */
const LONGEST_LIFETIME_SECONDS = 365 * 86_400
/** A token answer is about 1 KB; more than this is no token answer. */
const MAX_BODY_BYTES = 256 * 1024
const REQUEST_TIMEOUT_MS = 10_000
/** The longest time to connect that makes sense: shorter, so that what is in the way (a proxy) gets named. */
export const LOGIN_CONNECT_MS = 8_000
/** Error codes that a token endpoint may name (RFC 6749 section 5.2); nothing else of a body is ever repeated. */
const OAUTH_ERRORS = new Set([
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
])

/** Sends one token request; throws {@link TokenFailure}. The secret goes to the account's login origin only. */
export async function requestToken(
  account: ServiceAccount,
  ask: Ask,
  signal: AbortSignal,
): Promise<IssuedToken> {
  const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  try {
    const response = await ask({
      origin: account.environment.loginUrl,
      path: '/oauth/token',
      method: 'POST',
      headers: ['Content-Type', 'application/x-www-form-urlencoded', 'Accept', 'application/json'],
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: account.clientId,
        client_secret: account.clientSecret.reveal(),
      }).toString(),
      signal: AbortSignal.any([signal, timeout]),
      mostBytes: MAX_BODY_BYTES,
    })
    const { status, head, text } = response
    return readTokenAnswer({
      status,
      retryAfter: [head['retry-after']].flat()[0],
      body: text ?? '',
      tooLong: text === undefined,
    })
  } catch (error) {
    if (error instanceof TokenFailure) throw error
    throw connectionFailure(error, timeout.aborted)
  }
}

/** Judges a token answer: a token, or a {@link TokenFailure} that says whether to try again. */
export function readTokenAnswer(answer: TokenAnswer, wallNowMs: number = Date.now()): IssuedToken {
  const { status } = answer
  const json = answer.tooLong ? undefined : parseObject(answer.body)
  if (status === 400 || status === 401 || status === 403) {
    const oauthError = json?.['error']
    const code = typeof oauthError === 'string' && OAUTH_ERRORS.has(oauthError) ? `, ${oauthError}` : ''
    throw new TokenFailure('rejected', `the login server refused the credentials (HTTP ${status}${code})`)
  }
  if (status !== 200) {
    throw new TokenFailure('bad_status', `the login server answered HTTP ${status}`, {
      retryAfterMs: retryAfterMs(answer.retryAfter, wallNowMs),
    })
  }
  const nonsense = (what: string) => new TokenFailure('bad_body', `the login server's answer ${what}`)
  if (answer.tooLong) throw nonsense(`is longer than ${MAX_BODY_BYTES / 1024} KiB`)
  if (answer.body.trim() === '') throw nonsense('is empty')
  if (json === undefined) throw nonsense('is no JSON object')
  const value = json['access_token']
  if (typeof value !== 'string' || value === '') throw nonsense('holds no access_token')
  // RFC 6750 section 2.1: b68token is narrower still; what matters is that it can't break out of a header.
  if (!/^[\x21-\x7e]+$/.test(value)) throw nonsense('holds an access_token with characters that no token has')
  const type = json['token_type'] ?? 'bearer'
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') {
    throw nonsense('holds a token that is no bearer token')
  }
  return { value, lifetimeMs: lifetimeSeconds(json['expires_in'], nonsense) * 1000 }
}

function lifetimeSeconds(expiresIn: unknown, nonsense: (what: string) => TokenFailure): number {
  const seconds =
    typeof expiresIn === 'string' && expiresIn.trim() !== '' ? Number(expiresIn) : (expiresIn ?? Number.NaN)
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) return DEFAULT_LIFETIME_SECONDS
  if (seconds < SHORTEST_LIFETIME_SECONDS) throw nonsense('holds a token that has expired already')
  return Math.min(seconds, LONGEST_LIFETIME_SECONDS)
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/** Reads `Retry-After`, seconds or an HTTP date (RFC 9110 section 10.2.3), as milliseconds from now. */
export function retryAfterMs(header: string | undefined, wallNowMs: number): number | undefined {
  if (header === undefined || header.trim() === '') return undefined
  if (/^\s*\d+\s*$/.test(header)) return Math.min(Number(header) * 1000, Number.MAX_SAFE_INTEGER)
  // Date.parse finds a date in almost any text; all three forms of an HTTP date begin with the day of the week.
  const ms = /^\s*(mon|tue|wed|thu|fri|sat|sun)/i.test(header) ? Date.parse(header) - wallNowMs : Number.NaN
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

function connectionFailure(error: unknown, timedOut: boolean): TokenFailure {
  if (error instanceof OutboundProxyError) {
    return new TokenFailure('unreachable', `the login server could not be reached: ${error.message}`, {
      cause: error,
    })
  }
  const code = errorCode(error) ?? (error instanceof Error ? error.name : 'error')
  if (timedOut || isConnectTimeout(error)) {
    return new TokenFailure('timeout', 'the login server did not answer in time', { cause: error })
  }
  if (isTlsError(error)) {
    return new TokenFailure('tls', `the login server's certificate was refused (${code})`, { cause: error })
  }
  return new TokenFailure('unreachable', `the login server could not be reached (${code})`, { cause: error })
}
