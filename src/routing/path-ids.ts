// Finds the company ids that a path names after a `companies` segment.

const NONE: readonly string[] = []
const MARK = '/companies/'

/** What Ruby's `to_i` would read as a number: digits after white space, a sign or underscores. */
const STARTS_LIKE_A_NUMBER = /^[\s+\-_]*[0-9]/

/**
 * What stands after each `companies` segment and would count as a number, with a `.json` or `;x` cut off, but otherwise
 * as written: `07`, `7-acme` or `+7` equal no company's id. Words such as `me` name none. Slashes in a row count as one,
 * as in Rails.
 */
export function idsInPath(decodedPath: string): readonly string[] {
  let at = decodedPath.indexOf(MARK)
  if (at === -1) return NONE
  const ids: string[] = []
  while (at !== -1) {
    let start = at + MARK.length
    while (decodedPath[start] === '/') start++
    const slash = decodedPath.indexOf('/', start)
    const segment = decodedPath.slice(start, slash === -1 ? undefined : slash)
    if (STARTS_LIKE_A_NUMBER.test(segment)) ids.push(withoutSuffix(segment))
    at = decodedPath.indexOf(MARK, start - 1)
  }
  return ids
}

function withoutSuffix(segment: string): string {
  const end = segment.search(/[.;]/)
  return end === -1 ? segment : segment.slice(0, end)
}
