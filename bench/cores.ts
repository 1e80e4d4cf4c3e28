// Which core does what; pure.

/** Which core does what. */
export interface Cores {
  readonly contender: number
  readonly upstream: number
  readonly load: number
  /** As taskset wants them. */
  readonly all: string
  /** For tables. */
  readonly says: string
}

/** `0-1,4` → [0, 1, 4]. */
export function coreList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, nth) => first + nth)
    })
}

/** The contender has a core of its own wherever there are two; load and upstream share one where there is no third. */
export function shareCores(cores: readonly number[]): Cores {
  const [contender = 0, upstream = contender, load = upstream] = cores
  const says =
    cores.length < 2
      ? 'all on one core'
      : cores.length === 2
        ? `contender on core ${contender}, upstream and load on core ${upstream}`
        : `contender on core ${contender}, upstream on core ${upstream}, load on core ${load}`
  return { contender, upstream, load, all: cores.join(',') || '0', says }
}
