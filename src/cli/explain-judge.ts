// The one place where `explain` uses the server: judges an imagined request and says in plain data what became of it.
import { Tokens } from '../auth/tokens.ts'
import type { Company, Config, Environment } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { wantsGzip } from '../forward/forwarder.ts'
import { requestHeaders } from '../forward/request-headers.ts'
import { Upstreams } from '../forward/upstreams.ts'
import { startExchange } from '../observe/exchange.ts'
import { headerValues } from '../routing/raw-headers.ts'
import { receive, runtimeOf } from '../server/reception.ts'
import type { ImaginedRequest } from './explain-request.ts'

/** A request that would be forwarded. */
export interface Forwarded {
  readonly kind: 'forward'
  readonly company: Pick<Company, 'access' | 'rules'>
  readonly companyName: string
  readonly companyId: string
  readonly environment: Environment
  /** Why this company. */
  readonly why: string
  /** Where it would go: an origin, its host, and the raw path with its query. */
  readonly origin: string
  readonly host: string
  readonly path: string
  /** The headers that Procore would get, flat, without `Authorization`. */
  readonly headers: readonly string[]
}

export type Judgement =
  | Forwarded
  | { readonly kind: 'own' | 'preflight' }
  | { readonly kind: 'refused'; readonly error: ProxyError }

/** What the proxy would do with the request. Sends nothing and needs no secret. */
export async function judgeImagined(config: Config, request: ImaginedRequest): Promise<Judgement> {
  const noTokens = new Tokens(
    () => Promise.reject(new Error('explain asks for no token')),
    () => {},
  )
  const upstreams = new Upstreams(config, noTokens)
  const { raw, target, listener } = request
  try {
    const exchange = startExchange('explain', raw.method, target)
    const reception = receive(runtimeOf(config, upstreams), raw, listener, exchange, false)
    if (reception.kind !== 'forward') return { kind: reception.kind }
    const { upstream, company: companyName, path } = reception.passage
    const { companyId, environment, origin, host } = upstream
    const company = config.companies.find(({ id }) => id === companyId) ?? config.anyCompany!
    const connection = headerValues(raw.rawHeaders, 'connection').join(', ') || undefined
    const gzip = wantsGzip(upstream, raw.method, raw.rawHeaders)
    const headers = requestHeaders(raw.rawHeaders, connection, { host, companyId, gzip })
    const { why } = reception
    return { kind: 'forward', company, companyName, companyId, environment, why, origin, host, path, headers }
  } catch (error) {
    if (error instanceof ProxyError) return { kind: 'refused', error }
    throw error
  } finally {
    await upstreams.destroy()
  }
}
