// Quotes a caller's value in the detail of an error: shortened, and without characters that could mislead a reader.

const LONGEST = 80

/** Control, bidirectional and invisible characters, and line separators. */
const TRICKY = /[\u0000-\u001f"\u007f-\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** The value between double quotes, cut to 80 characters. Only for host, origin and company values, never for secrets. */
export function quote(value: string): string {
  const text = value.slice(0, LONGEST).toWellFormed().replace(TRICKY, '')
  return value.length > LONGEST ? `"${text}…"` : `"${text}"`
}
