// Describes what the cache would do with a call, for `explain`.
import type { CacheSettings } from '../config/config.ts'
import type { Call } from '../forward/call.ts'
import { isRead } from '../guards/access.ts'
import { cacheRequestOf, keepRuleOf } from './cache-request.ts'

/** Sentences, or undefined if nothing that is configured concerns the call. Sends and keeps nothing. */
export function explainCache(settings: CacheSettings, call: Call): string | undefined {
  const { coalesce, refusalsMs } = settings
  const request = cacheRequestOf(call)
  const rule = keepRuleOf(settings, request?.pathname ?? call.path.split('?', 1)[0] ?? '')
  if (!coalesce && refusalsMs === 0 && rule === undefined) return undefined
  if (request === undefined) {
    return isRead(call.method)
      ? 'Not used for this request.'
      : 'If it succeeds, everything kept of this company is dropped.'
  }
  const sentences: string[] = []
  if (rule !== undefined) {
    const exhausted =
      rule.whenExhaustedMs > rule.forMs
        ? `, and up to ${seconds(rule.whenExhaustedMs)} old while the rate budget is used up`
        : ''
    sentences.push(`A response is given again for ${seconds(rule.forMs)}${exhausted}.`)
  }
  if (refusalsMs > 0) sentences.push(`A 403 or 404 is given again for ${seconds(refusalsMs)}.`)
  if (coalesce) sentences.push('Equal requests under way at the same time go to Procore once.')
  return sentences.join(' ')
}

function seconds(ms: number): string {
  return `${ms / 1000} s`
}
