// A token with its end, by both of the machine's clocks.

/** Monotonic times are of `performance.now()`; all times are in ms. */
export interface LiveToken {
  readonly value: string
  readonly lifetimeMs: number
  /** Monotonic: when it was requested. */
  readonly issuedAt: number
  /** The same by the wall clock, for people. */
  readonly obtainedAt: number
  /** Monotonic: from this time on it is renewed in the background. */
  readonly renewAt: number
  /** Monotonic: from this time on it is never sent. */
  readonly endsAt: number
  /** The same end by the wall clock, because the monotonic clock stops while a laptop sleeps. */
  readonly wallEndsAt: number
}

/** Whether a token may no longer be sent. */
export function hasEnded(token: LiveToken, now: number): boolean {
  return now >= token.endsAt || Date.now() >= token.wallEndsAt
}

/** Whether a token should be renewed. */
export function isDue(token: LiveToken, now: number): boolean {
  return now >= token.renewAt || Date.now() >= token.wallEndsAt - (token.endsAt - token.renewAt)
}

/** A token's age in ms; never negative, whatever happens to the wall clock. */
export function ageMs(token: LiveToken): number {
  return Math.max(0, performance.now() - token.issuedAt)
}
