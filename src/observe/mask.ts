// Takes what may be secret out of what is printed: query values and, as a last line, known secrets.

/** The target with every query value replaced by `*`: names tell enough, values may be signatures or personal data. */
export function maskQuery(target: string): string {
  const mark = target.indexOf('?')
  if (mark === -1) return target
  const pairs = target.slice(mark + 1).split('&')
  const masked = pairs.map((pair) => (pair.includes('=') ? `${pair.slice(0, pair.indexOf('='))}=*` : '*'))
  return `${target.slice(0, mark)}?${masked.join('&')}`
}

/** A header's value with what may be secret taken out: queries of URLs, and all of a header whose name says so. */
export function maskHeader(name: string, value: string): string {
  if (/cookie|token|authorization|secret|api-?key/i.test(name)) return '*'
  if (!value.includes('?')) return value
  if (!value.includes('://') && !/link|location|refresh/i.test(name)) return value
  return value.replace(/\?[^\s<>"',;]*/g, maskQuery)
}
