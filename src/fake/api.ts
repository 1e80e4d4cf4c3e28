// The fake's API server: checks token, company and budget, then calls a route.
import { randomUUID } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { type Answer, apiError, type HeaderFields, mergeFields } from './answer.ts'
import type { FakeCompany } from './data.ts'
import { type Faults, play, RATE_LIMIT_TEXT } from './faults.ts'
import type { Handler } from './listener.ts'
import type { IssuedToken } from './login.ts'
import type { RateLimits, RateReading } from './rate-limit.ts'
import { answerRoute, type Call } from './routes.ts'

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
