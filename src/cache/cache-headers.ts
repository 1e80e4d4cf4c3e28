// Makes the headers that show a caller what the cache did: Cache-Status (RFC 9211) and Age (RFC 9111 section 5.1).
import type { UpstreamResponse } from '../forward/call.ts'

/** They belong to the first response alone: its budget, its request id, its age on arrival. */
const OF_THE_FIRST_ALONE = /^(?:age|x-rate-limit-.*|x-request-id)$/i

/** The headers of a kept response (name, value, …), without those that applied to the first response only. */
export function reusableHeaders(rawHeaders: readonly string[]): string[] {
  const headers: string[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (!OF_THE_FIRST_ALONE.test(name)) headers.push(name, rawHeaders[at + 1] as string)
  }
  return headers
}

/** `hit; ttl=41`: how many seconds it stays fresh; negative if it is served although it is stale. */
export function hitStatus(ttlMs: number, isRefusal: boolean): string {
  const ttl = `ttl=${Math.floor(ttlMs / 1000)}`
  return isRefusal ? `hit; detail=refusal; ${ttl}` : `hit; ${ttl}`
}

/**
 * The header fields (name, value, …). Our member goes last, closest to the caller. No age means that the response was
 * fetched for this request.
 */
export function statusHeaders(status: string, ageMs?: number): string[] {
  const headers = ['Cache-Status', `procore-proxy; ${status}`]
  if (ageMs !== undefined) headers.push('Age', String(Math.max(0, Math.floor(ageMs / 1000))))
  return headers
}

/** How old a response was when it arrived (its Age header); 0 if it does not say. */
export function ageOnArrivalMs({ head }: UpstreamResponse): number {
  const age = head['age']
  return typeof age === 'string' && /^\d{1,10}$/.test(age) ? Number(age) * 1000 : 0
}
