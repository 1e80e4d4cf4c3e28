// The fake's API server: checks token, company and budget, then calls a route.
import { randomUUID } from 'node:crypto'
import { apiError, type FakeAnswer, type HeaderFields, type Responder } from './answer.ts'
import type { FakeCompanyData } from './data.ts'
import type { IssuedTokens } from './login.ts'
import type { FakeCall } from './routes.ts'

/** Requests allowed in an hour and in the spike window of (by default) ten seconds; `Infinity` for no limit. */
export interface RateLimitOptions {
  readonly hourly?: number
  readonly spike?: number
  readonly spikeSeconds?: number
}

type RateReading = ReturnType<ReturnType<typeof rateLimits>>

/**
 * Procore's two rate limits, hourly and spike, for each client and company (rate_limiting.md). The function counts one
 * request and gives the window that is closest to exhaustion, whose `reset` is in whole seconds since 1970; undefined
 * without limits. A window starts with its first request, so that no test runs across a boundary.
 */
export function rateLimits({ hourly = 3600, spike = 100, spikeSeconds = 10 }: RateLimitOptions = {}) {
  const all = new Map<string, { limit: number; lengthMs: number; startedAt: number; used: number }[]>()
  return (clientId: string, companyId: string) => {
    const at = Date.now()
    const key = JSON.stringify([clientId, companyId])
    const windows = all.get(key) ?? [
      { limit: spike, lengthMs: spikeSeconds * 1000, startedAt: at, used: 0 },
      { limit: hourly, lengthMs: 3_600_000, startedAt: at, used: 0 },
    ]
    all.set(key, windows)
    for (const window of windows) {
      if (at >= window.startedAt + window.lengthMs) Object.assign(window, { startedAt: at, used: 0 })
    }
    const exceeded = windows.some(({ used, limit }) => used >= limit)
    if (!exceeded) for (const window of windows) window.used += 1
    const [scarcest] = windows.toSorted((a, b) => a.limit - a.used - (b.limit - b.used))
    const { limit, used, startedAt, lengthMs } = scarcest!
    if (limit === Number.POSITIVE_INFINITY) return undefined
    return { limit, remaining: limit - used, reset: Math.ceil((startedAt + lengthMs) / 1000), exceeded }
  }
}

/** What the API server needs. */
interface ApiDeps {
  readonly tokens: IssuedTokens
  /** By company id. */
  readonly data: ReadonlyMap<string, FakeCompanyData>
  readonly spend: ReturnType<typeof rateLimits>
  readonly route: (call: FakeCall) => FakeAnswer
}

/** Procore's text for both windows (rate_limiting.md, 2025). */
export const RATE_LIMIT_TEXT =
  'You have surpassed the max number of requests for an hour. Please wait until your limit resets.'

/** Procore's text (tutorial_mpz.md). Its status is not documented. */
const NO_COMPANY_TEXT =
  'Missing Procore-Company-Id header!\n\nEach call your application makes to the Procore API must contain the Procore-Company-Id header.'

/** Answers every API request: 401, 400 without a company, 403, 429, then the route. */
export function createApi({ tokens, data, spend, route }: ApiDeps): Responder {
  return (request) => {
    const { path, headers } = request
    const token = tokens.sentIn(request)
    const id = headers['procore-company-id']
    const known = token?.client.companyIds.includes(String(id)) ? data.get(String(id)) : undefined
    const ofCompany = known?.company.connected === false ? undefined : known
    // Failed calls count against the budget too (rate_limiting.md).
    const reading = token && ofCompany && spend(token.client.clientId, ofCompany.company.id)
    const answer = (body: string): FakeAnswer => {
      if (token === undefined || Date.now() >= token.expiresAt) return unauthorized(path)
      if (id === undefined) return apiError(path, 400, NO_COMPANY_TEXT)
      if (ofCompany === undefined) return apiError(path, 403, 'App is not connected to this company.')
      if (reading?.exceeded) return apiError(path, 429, RATE_LIMIT_TEXT)
      return route({ ...ofCompany, request, body, token })
    }
    return { headers: baseHeaders(reading), answer }
  }
}

function unauthorized(path: string): FakeAnswer {
  const text = 'The access token is invalid'
  const challenge = `Bearer realm="Doorkeeper", error="invalid_token", error_description="${text}"`
  const answer = apiError(path, 401, text)
  return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': challenge } }
}

function baseHeaders(reading: RateReading | undefined): HeaderFields {
  const budget = reading && {
    'X-Rate-Limit-Limit': String(reading.limit),
    'X-Rate-Limit-Remaining': String(reading.remaining),
    'X-Rate-Limit-Reset': String(reading.reset),
  }
  return {
    'Cache-Control': 'no-store',
    'X-Request-Id': randomUUID(),
    'X-Runtime': '0.012300',
    'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
    ...budget,
  }
}
