// Reads the Retry-After header.

/**
 * Milliseconds from now, for seconds or an HTTP date (RFC 9110 section 10.2.3). Of several values the first counts.
 * Undefined if the header is missing or makes no sense. `wallNowMs` is the server's time.
 */
export function retryAfterMs(
  header: string | readonly string[] | undefined,
  wallNowMs: number,
): number | undefined {
  const value = (typeof header === 'string' ? header : header?.[0])?.trim() ?? ''
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1000, Number.MAX_SAFE_INTEGER)
  // Date.parse accepts almost any text, but all three forms of an HTTP date begin with the day of the week.
  const ms = /^(mon|tue|wed|thu|fri|sat|sun)/i.test(value) ? Date.parse(value) - wallNowMs : Number.NaN
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}
