// Masks what may be secret in printed text: query values and header values.

/** The target with every query value replaced by `*`, because values may be signatures or personal data. */
export function maskQuery(target: string): string {
  const mark = target.indexOf('?')
  if (mark === -1) return target
  let masked = target.slice(0, mark + 1)
  for (let at = mark + 1; ; ) {
    const next = target.indexOf('&', at)
    const end = next === -1 ? target.length : next
    const equals = target.indexOf('=', at)
    masked += equals === -1 || equals >= end ? '*' : `${target.slice(at, equals)}=*`
    if (next === -1) return masked
    masked += '&'
    at = next + 1
  }
}

/**
 * A header's value with secrets masked: queries of URLs, and the whole value if the header's name suggests a secret.
 */
export function maskHeader(name: string, value: string): string {
  if (/cookie|token|authorization|secret|api-?key/i.test(name)) return '*'
  if (!value.includes('?')) return value
  if (!value.includes('://') && !/link|location|refresh/i.test(name)) return value
  return value.replace(/\?[^\s<>"',;]*/g, maskQuery)
}
