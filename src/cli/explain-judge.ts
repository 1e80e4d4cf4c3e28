// Judges a hypothetical request for `explain`, with the server's own code, and returns the result as plain data.
import { Tokens } from '../auth/tokens.ts'
import { explainCache } from '../cache/explain-cache.ts'
import type { Company, Config, Environment } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { Budgets } from '../forward/budgets.ts'
import { Departure } from '../forward/call.ts'
import { requestHeaders } from '../forward/request-headers.ts'
import { Upstreams } from '../forward/upstreams.ts'
import { startExchange } from '../observe/exchange.ts'
import { EVERYTHING } from '../observe/viewer.ts'
import { judge, runtimeOf } from '../server/judge.ts'
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
  /** The headers that Procore would get (name, value, …), without `Authorization`. */
  readonly headers: readonly string[]
  /** What the cache would do with it, in words; undefined if none is configured for it. */
  readonly cache: string | undefined
}

export type Judgement =
  | Forwarded
  | { readonly kind: 'own' | 'list' | 'preflight' }
  | { readonly kind: 'refused'; readonly error: ProxyError }

/** What the proxy would do with the request. Sends nothing and needs no secret. */
export async function judgeImagined(config: Config, request: ImaginedRequest): Promise<Judgement> {
  const tokens = new Tokens(
    () => Promise.reject(new Error('explain asks for no token')),
    () => {},
  )
  const upstreams = new Upstreams(config, { tokens, budgets: new Budgets(config) })
  const { raw, target, listener } = request
  const exchange = startExchange('explain', raw.method, target)
  const input = { runtime: runtimeOf(config, upstreams), request: raw, listener, exchange, isDraining: false }
  try {
    const judgement = judge(input, { viewer: EVERYTHING, caller: undefined })
    if (judgement.kind !== 'forward') return { kind: judgement.kind }
    const { why, forwarded } = judgement
    const { upstream, company, companyName, companyId, path } = forwarded.call
    const { environment, origin, host } = upstream
    const headers = requestHeaders(forwarded.call, { value: '…' })
    const cache = explainCache(config.cache, { ...forwarded.call, body: null, departure: new Departure() })
    const call = { company, companyName, companyId, environment, origin, host, path, headers }
    return { kind: 'forward', why, cache, ...call }
  } catch (error) {
    if (error instanceof ProxyError) return { kind: 'refused', error }
    throw error
  } finally {
    await upstreams.destroy()
  }
}
