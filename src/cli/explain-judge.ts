// Judges a hypothetical request for `explain` with the server's own code.
import { Tokens } from '../auth/tokens.ts'
import { explainCache } from '../cache/explain-cache.ts'
import type { Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { Budgets } from '../forward/budgets.ts'
import { Departure } from '../forward/call.ts'
import { requestHeaders } from '../forward/request-headers.ts'
import { Upstreams } from '../forward/upstreams.ts'
import { startExchange } from '../observe/exchange.ts'
import { EVERYTHING } from '../observe/viewer.ts'
import { judge, runtimeOf } from '../server/judge.ts'
import type { ImaginedRequest } from './explain-request.ts'

/** What the proxy would do with the request. Sends nothing and needs no secret. */
export async function judgeImagined(config: Config, { raw, target, listener }: ImaginedRequest) {
  const noToken = () => Promise.reject(new Error('explain asks for no token'))
  const tokens = new Tokens(noToken, () => {})
  const upstreams = new Upstreams(config, { tokens, budgets: new Budgets(config) })
  const exchange = startExchange('explain', raw.method, target)
  const input = { runtime: runtimeOf(config, upstreams), request: raw, listener, exchange, isDraining: false }
  try {
    const judgement = judge(input, { viewer: EVERYTHING, caller: undefined })
    if (judgement.kind !== 'forward') return { kind: judgement.kind }
    const { call } = judgement.forwarded
    const headers = requestHeaders(call, { value: '…' })
    const cache = explainCache(config.cache, { ...call, body: null, departure: new Departure() })
    return { kind: 'forward', why: judgement.why, call, headers, cache } as const
  } catch (error) {
    if (error instanceof ProxyError) return { kind: 'refused', error } as const
    throw error
  } finally {
    await upstreams.destroy()
  }
}

/** A request that would be forwarded: its call, why it is for this company, its headers, and what the cache would do. */
export type Forwarded = Extract<Awaited<ReturnType<typeof judgeImagined>>, { kind: 'forward' }>
