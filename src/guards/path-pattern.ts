// Matches a path against a pattern with `*` (within a segment) and `**` (anything), without backtracking.

const STAR = 0x2a
const SLASH = 0x2f

/**
 * Whether the whole path matches. `*` matches any run of characters except `/`, and `**` any run at all; both may be
 * empty. Every other character matches itself. The time is at most proportional to path × pattern.
 */
export function matchesPattern(pattern: string, path: string): boolean {
  let at = 0
  let next = 0
  // Where the last `*` and the last `**` end in the pattern, and how far each reaches in the path; -1 if there is
  // none.
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
      // A pattern that ends with `**` matches all the rest.
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
      // The shortest match before a wildcard leaves the most for it, so only the last wildcard ever has to be
      // extended.
      starReach++
      at = starReach
      next = star
    } else if (globstar !== -1 && globstarReach < path.length) {
      // If a `*` found no match up to the end of its segment, a later start in the same segment finds none either.
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
