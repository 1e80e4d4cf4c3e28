// Recognizes secrets that were damaged on the way into a file or variable: spaces, line ends, quotes, encodings.

/** A sentence about what is probably wrong with a secret, without any part of it; undefined if nothing is wrong. */
export function secretFlaw(value: string): string | undefined {
  if (value.includes('\0') || value.includes('\ufffd'))
    return 'The secret looks like UTF-16 text. Save it as UTF-8.'
  if (/^\ufeff|\ufeff$/.test(value))
    return 'The secret starts with a byte-order mark. Save it as UTF-8 without one.'
  if (/^[\r\n]|[\r\n]$/.test(value))
    return 'The secret has a line end too many. Remove empty lines before and after it.'
  if (/^\s|\s$/.test(value)) return 'The secret has blanks before or after it. Remove them.'
  if (/^(?:".*"|'.*'|`.*`|\u201c.*\u201d|\u2018.*\u2019)$/s.test(value))
    return 'The secret is in quotes, which count as part of it. Remove them.'
  if (/[\r\n]/.test(value)) return 'The secret has a line end in it. Write it on one line.'
  return undefined
}
