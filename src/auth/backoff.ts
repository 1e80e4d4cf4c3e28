// How long to wait before the next token request: pure functions.
import type { TokenFailure } from './token-failure.ts'

const FIRST_RETRY_MS = 500
const LONGEST_RETRY_MS = 60_000
const FIRST_REFUSAL_MS = 30_000
const LONGEST_REFUSAL_MS = 600_000

/**
 * Milliseconds to wait after a failure that may pass: exponential, with jitter over the upper half, and at least
 * Retry-After, which counts for an hour at most. `failures` counts from 1; `random` is in [0, 1).
 */
export function retryDelayMs(failures: number, failure: TokenFailure, random: number): number {
  const ceiling = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1))
  const jittered = ceiling / 2 + (ceiling / 2) * random
  return Math.max(jittered, Math.min(failure.retryAfterMs ?? 0, 3_600_000))
}

/** How many milliseconds refused credentials are remembered: 30 s, doubling to 10 min. `refusals` counts from 1. */
export function refusalMemoryMs(refusals: number): number {
  return Math.min(LONGEST_REFUSAL_MS, FIRST_REFUSAL_MS * 2 ** (refusals - 1))
}
