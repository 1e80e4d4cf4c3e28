// Holds a path against a pattern with `*` (within a segment) and `**` (anything), in a time that grows with their lengths only.

const STAR = 0x2a
const SLASH = 0x2f

/**
 * Whether the whole path matches. `*` is any run of characters but `/`, `**` any run at all, both may be empty; every
 * other character is itself. The time is at most about path × pattern, whatever either holds (no backtracking regex).
 */
export function matchesPattern(pattern: string, path: string): boolean {
  let at = 0
  let next = 0
  // Where the last `*` and the last `**` end in the pattern, and how far each reaches in the path; -1: there is none.
  let star = -1
  let starReach = 0
  let globstar = -1
  let globstarReach = 0
  for (;;) {
    if (pattern.charCodeAt(next) === STAR) {
      if (pattern.charCodeAt(next + 1) === STAR) {
        next += 2
        globstar = next
        globstarReach = at
        star = -1
      } else {
        next += 1
        star = next
        starReach = at
      }
      // What ends with `**` takes in all the rest.
      if (globstar === pattern.length) return true
    } else if (
      next < pattern.length &&
      at < path.length &&
      pattern.charCodeAt(next) === path.charCodeAt(at)
    ) {
      next++
      at++
    } else if (next === pattern.length && at === path.length) {
      return true
    } else if (star !== -1 && starReach < path.length && path.charCodeAt(starReach) !== SLASH) {
      // A shortest match of what precedes a wildcard leaves it the most, so only the last one is ever lengthened.
      starReach++
      at = starReach
      next = star
    } else if (globstar !== -1 && globstarReach < path.length) {
      // A `*` that found nothing up to its segment's end finds nothing from a later start in the same segment either.
      const skipTo = star === -1 ? globstarReach + 1 : nextSlash(path, globstarReach + 1)
      globstarReach = skipTo
      at = skipTo
      next = globstar
      star = -1
    } else {
      return false
    }
  }
}

function nextSlash(path: string, from: number): number {
  const slash = path.indexOf('/', from)
  return slash === -1 ? path.length : slash
}
