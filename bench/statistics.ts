// Percentiles, medians and ratios with their spread; pure.

/** One measure, taken once a round; null where a round failed. */
export type Rounds = readonly (number | null)[]

/** What a table shows of several rounds. */
export interface Summary {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** The value below which so much of `sorted` lies, nearest rank; NaN of nothing. */
export function percentile(sorted: ArrayLike<number>, part: number): number {
  if (sorted.length === 0) return Number.NaN
  const rank = Math.min(sorted.length, Math.max(1, Math.ceil(part * sorted.length)))
  return sorted[rank - 1]!
}

/** The middle value, of an even number the mean of the two in the middle; undefined where every round failed. */
export function summary(rounds: Rounds | undefined): Summary | undefined {
  const sorted = (rounds ?? [])
    .filter((value) => value !== null && Number.isFinite(value))
    .map(Number)
    .sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const half = sorted.length / 2
  const median = (sorted[Math.ceil(half) - 1]! + sorted[Math.floor(half)]!) / 2
  return { median, least: sorted[0]!, most: sorted.at(-1)! }
}

/**
 * Round by round: both were measured within the same minute, so what the machine did besides cancels out. Where the two have
 * not the same number of rounds there are no pairs, and the ratio of the medians stands for all.
 */
export function ratio(of: Rounds | undefined, to: Rounds | undefined): Summary | undefined {
  if (of === undefined || to === undefined) return undefined
  if (of.length === to.length) {
    return summary(of.map((value, round) => quotient(value, to[round] ?? null)))
  }
  const [above, below] = [summary(of), summary(to)]
  return above === undefined || below === undefined ? undefined : summary([above.median / below.median])
}

/** Of nothing, or of less than nothing (a difference that got lost in noise), there is no multiple. */
function quotient(above: number | null, below: number | null): number | null {
  return above === null || below === null || below <= 0 ? null : above / below
}

/** What each round adds to the same round of `base`. */
export function difference(of: Rounds | undefined, base: Rounds | undefined): Rounds | undefined {
  if (of === undefined || base === undefined) return undefined
  return of.map((value, round) => {
    const from = base[round] ?? null
    return value === null || from === null ? null : value - from
  })
}
