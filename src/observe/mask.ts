// Takes what may be secret out of what is printed: query values and, as a last line, known secrets.

/** The target with every query value replaced by `*`: names tell enough, values may be signatures or personal data. */
export function maskQuery(target: string): string {
  const query = target.indexOf('?')
  if (query === -1) return target
  const masked = target
    .slice(query + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      return equals === -1 ? '*' : `${pair.slice(0, equals)}=*`
    })
  return `${target.slice(0, query)}?${masked.join('&')}`
}
