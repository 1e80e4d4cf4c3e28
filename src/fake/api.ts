// The fake's API and file host: they check token, company and budget, then call a route or give a file.
import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import {
  type Answer,
  apiError,
  type Faults,
  type HeaderFields,
  json,
  mergeFields,
  play,
  RATE_LIMIT_TEXT,
} from './answer.ts'
import type { FakeCompany } from './data.ts'
import type { Exchange, Handler } from './listener.ts'
import type { IssuedToken, Tokens } from './login.ts'
import { answerRoute, type Call } from './routes.ts'

/** Requests allowed in an hour and in ten seconds; `Infinity` for no limit. */
export interface RateLimitOptions {
  hourly?: number
  spike?: number
  /** Length of the spike window; default 10. */
  spikeSeconds?: number
}

/** The budget that is closest to exhaustion after a request was counted. */
export interface RateReading {
  readonly limit: number
  readonly remaining: number
  /** When the window ends, in whole seconds since 1970. */
  readonly reset: number
  /** True if this request exceeded the limit. */
  readonly exceeded: boolean
}

interface Window {
  readonly limit: number
  readonly lengthMs: number
  startedAt: number
  used: number
}

/** Counts requests. A window starts with its first request, so that no test runs across a boundary. */
export class RateLimits {
  readonly #windows = new Map<string, Window[]>()
  readonly #sizes: readonly Pick<Window, 'limit' | 'lengthMs'>[]
  readonly #now: () => number

  constructor({ hourly = 3600, spike = 100, spikeSeconds = 10 }: RateLimitOptions, now: () => number) {
    const spikes = { limit: spike, lengthMs: spikeSeconds * 1000 }
    this.#sizes = [spikes, { limit: hourly, lengthMs: 3_600_000 }]
    this.#now = now
  }

  /** Counts one request of this client in this company; undefined if neither window has a limit. */
  spend(clientId: string, companyId: string): RateReading | undefined {
    const now = this.#now()
    const key = JSON.stringify([clientId, companyId])
    const windows =
      this.#windows.get(key) ?? this.#sizes.map((size) => ({ ...size, startedAt: now, used: 0 }))
    this.#windows.set(key, windows)
    for (const window of windows) {
      if (now >= window.startedAt + window.lengthMs) Object.assign(window, { startedAt: now, used: 0 })
    }
    const exceeded = windows.some(({ used, limit }) => used >= limit)
    if (!exceeded) for (const window of windows) window.used += 1
    const left = ({ limit, used }: Window) => limit - used
    const scarcest = windows.reduce((a, b) => (left(b) < left(a) ? b : a))
    const { limit, startedAt, lengthMs } = scarcest
    if (limit === Number.POSITIVE_INFINITY) return undefined
    return { limit, remaining: left(scarcest), reset: Math.ceil((startedAt + lengthMs) / 1000), exceeded }
  }
}

/** What the API server needs. */
interface ApiDeps extends Omit<Call, 'exchange' | 'company' | 'token'> {
  readonly faults: Faults
  readonly rateLimits: RateLimits
  readonly gzip: boolean
}

/** Procore's text (tutorial_mpz.md). Its status is not documented. */
const NO_COMPANY_TEXT =
  'Missing Procore-Company-Id header!\n\nEach call your application makes to the Procore API must contain the Procore-Company-Id header.'

/** Answers every API request: faults first, then 401, 400 without a company, 403, 429, then the route. */
export function createApi(deps: ApiDeps): Handler {
  const { tokens, faults, rateLimits, data } = deps
  return async (exchange) => {
    const { entry, path } = exchange
    const token = tokens.ofHeader(entry.headers['authorization'])
    if (token !== undefined) entry.tokenSerial = token.serial
    const company = token && companyOf(token, entry.headers['procore-company-id'])
    // Failed calls count against the budget too (rate_limiting.md).
    const reading = token && company && rateLimits.spend(token.clientId, company.id)
    const ordinary = async (): Promise<Answer> => {
      if (token === undefined || !tokens.isAlive(token)) return unauthorized(path)
      if (entry.headers['procore-company-id'] === undefined) return apiError(path, 400, NO_COMPANY_TEXT)
      if (company === undefined) return apiError(path, 403, 'App is not connected to this company.')
      if (reading?.exceeded) return apiError(path, 429, RATE_LIMIT_TEXT)
      const answer = await answerRoute({ ...deps, exchange, company, token })
      return deps.gzip && /\bgzip\b/.test(entry.headers['accept-encoding'] ?? '') ? gzipped(answer) : answer
    }
    const fault = faults.next(faults.api, entry.method, entry.url) ?? {}
    await play(exchange, fault, baseHeaders(reading), ordinary)
  }

  function companyOf(token: IssuedToken, id: string | undefined): FakeCompany | undefined {
    if (id === undefined || !tokens.companiesOf(token.clientId).includes(id)) return undefined
    const company = data.company(id)
    return company?.connected === false ? undefined : company
  }
}

/** Like a web server, this leaves short responses uncompressed. */
function gzipped(answer: Answer): Answer {
  const { body = '', headers } = answer
  if (body.length < 1024) return answer
  const coding = { 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' }
  return { ...answer, body: gzipSync(body, { level: 6 }), headers: mergeFields(headers, coding) }
}

function unauthorized(path: string): Answer {
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

const KEY = randomBytes(32)
const FILE = /^\/(presigned|fas\/api\/v5\/files|api\/v5\/files)\/([\w.-]+)$/

function signature(file: string): string {
  return createHmac('sha256', KEY).update(file).digest('hex')
}

/** Redirects to a link below the file host that serves the file without a bearer. */
export function redirectToFile(storageOrigin: string, file: string): Answer {
  const Location = `${storageOrigin}/presigned/${file}?expires=3600&sig=${signature(file)}`
  return { status: 302, headers: { Location }, body: '' }
}

type Deps = { readonly tokens: Tokens; readonly faults: Faults; readonly storageOrigin: () => string }

/**
 * Answers `/presigned/FILE?sig=` (no bearer), `/fas/api/v5/files/FILE` (bearer, gives the file) and
 * `/api/v5/files/FILE` (bearer, redirects to the presigned link).
 */
export function createStorage(deps: Deps): Handler {
  return async (exchange) => {
    const { entry } = exchange
    const fault = deps.faults.next(deps.faults.storage, entry.method, entry.url) ?? {}
    await play(exchange, fault, { Server: 'AmazonS3' }, async () => fileAnswer(exchange, deps))
  }
}

function fileAnswer({ entry, path, query }: Exchange, { tokens, storageOrigin }: Deps): Answer {
  const [, kind, file] = FILE.exec(path) ?? []
  const { authorization } = entry.headers
  if (file === undefined || !['GET', 'HEAD'].includes(entry.method)) {
    return s3Error(404, 'NoSuchKey', 'The specified key does not exist.')
  }
  const pdf = { status: 200, headers: { 'Content-Type': 'application/pdf' }, body: `%PDF-1.7 fake ${file}\n` }
  if (kind === 'presigned') {
    if (authorization !== undefined) return s3Error(400, 'InvalidArgument', 'Only one auth mechanism allowed')
    if (query.get('sig') === signature(file)) return pdf
    return s3Error(403, 'SignatureDoesNotMatch', 'The request signature does not match.')
  }
  const token = tokens.ofHeader(authorization)
  if (token !== undefined) entry.tokenSerial = token.serial
  if (token === undefined || !tokens.isAlive(token)) return json(401, { message: 'Unauthorized' })
  return kind?.startsWith('fas/') ? pdf : redirectToFile(storageOrigin(), file)
}

function s3Error(status: number, code: string, message: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  return { status, headers: { 'Content-Type': 'application/xml' }, body }
}
