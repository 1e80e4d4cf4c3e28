// Decodes percent escapes byte by byte, as the most forgiving server would, so that nothing hides behind an escape.

/** Decodes one layer of escapes to bytes (Latin-1 text). Broken escapes stay as they are. */
export function decodeBytes(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

/**
 * Decodes until no escape is left, in one pass, so that the time for `%252525…` is linear. Escapes do not overlap, so
 * the order of decoding does not matter.
 */
export function decodeFully(text: string): string {
  if (!text.includes('%')) return text
  const out: string[] = []
  for (const char of text) {
    out.push(char)
    for (let byte = byteAtEnd(out); byte !== undefined; byte = byteAtEnd(out)) {
      out.length -= 3
      out.push(String.fromCharCode(byte))
    }
  }
  return out.join('')
}

function byteAtEnd(out: readonly string[]): number | undefined {
  if (out.at(-3) !== '%') return undefined
  const digits = out.at(-2)! + out.at(-1)!
  return /^[0-9a-f]{2}$/i.test(digits) ? Number.parseInt(digits, 16) : undefined
}
