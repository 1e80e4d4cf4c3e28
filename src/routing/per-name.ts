// Caches what is computed from a header name, by its exact spelling. Bounded, because callers choose the names.

const MOST_KEPT = 1_000
const LONGEST_KEPT = 64

/** Like `make`, but computes each name only once. If `make` throws, nothing is cached. */
export function perName<T extends {}>(make: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>()
  return (name) => {
    const kept = known.get(name)
    if (kept !== undefined) return kept
    // A copy, because a slice would keep the whole request head in memory. Anything but Latin-1 is judged as it is.
    const copy = Buffer.from(name, 'latin1').toString('latin1')
    const own = copy === name ? copy : name
    const made = make(own)
    if (own.length <= LONGEST_KEPT) {
      if (known.size >= MOST_KEPT) known.clear()
      known.set(own, made)
    }
    return made
  }
}
