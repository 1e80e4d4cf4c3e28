// Reads parts of responses: a body up to a limit, its text, its Date, and Retry-After.
import zlib from 'node:zlib'

/** Returns the body, or undefined if it is longer than `mostBytes`; the connection is then closed. */
export async function readBounded(body: AsyncIterable<Buffer>, mostBytes: number) {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    // Leaving the loop destroys the body, and with it the connection.
    if (bytes > mostBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Returns the body as text, decompressed and without a byte-order mark. Some servers compress without being asked to.
 * Undefined if that is longer than `mostBytes`. If the bytes cannot be decoded, or not within that, they are taken as they are.
 */
export function decodeBody(bytes: Buffer, contentEncoding: string, mostBytes: number) {
  // Some servers forget to announce gzip. It begins with these two bytes, and JSON never does.
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  const decoded = unpacked(bytes, isGzip ? ['gzip'] : codingsOf(contentEncoding), mostBytes) ?? bytes
  return decoded.length > mostBytes ? undefined : new TextDecoder().decode(decoded)
}

/** The names in Content-Encoding, in lower case; none if the body is not compressed. */
export function codingsOf(contentEncoding: string): readonly string[] {
  const names = contentEncoding.toLowerCase().split(/[\s,]+/)
  return names.filter((name) => name !== '' && name !== 'identity')
}

/** Decompresses a body, or the beginning of one; undefined if that is not possible, or longer than `mostBytes`. */
export function unpacked(
  bytes: Buffer,
  [coding, ...others]: readonly string[],
  mostBytes: number,
): Buffer | undefined {
  if (coding === undefined) return bytes
  if (others.length > 0) return undefined
  const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH, ZSTD_e_flush } = zlib.constants
  const limited = (finishFlush: number) => ({ finishFlush, maxOutputLength: mostBytes })
  try {
    if (coding === 'br') return zlib.brotliDecompressSync(bytes, limited(BROTLI_OPERATION_FLUSH))
    if (coding === 'zstd') return zlib.zstdDecompressSync(bytes, limited(ZSTD_e_flush))
    // Some servers leave out the header of deflate; `unzip` takes gzip and deflate with its header.
    const hasHeader = coding !== 'deflate' || ((bytes[0] as number) & 0x0f) === 8
    const unzip = hasHeader ? zlib.unzipSync : zlib.inflateRawSync
    return /^(?:(?:x-)?gzip|deflate)$/.test(coding) ? unzip(bytes, limited(Z_SYNC_FLUSH)) : undefined
  } catch {
    return undefined
  }
}

type HeaderValue = string | readonly string[] | undefined

/** The server's time when it responded (`Date`), or else our own. The server's other times are relative to it. */
export function serverNowMs(head: Readonly<Record<string, HeaderValue>>, wallNowMs: number): number {
  const date = dateMs(firstOf(head['date']))
  return Number.isFinite(date) ? date : wallNowMs
}

/**
 * Milliseconds from now, for seconds or an HTTP date (RFC 9110 section 10.2.3). Of several values the first counts.
 * Undefined if the header is missing or makes no sense. `serverNow` is the server's time.
 */
export function retryAfterMs(header: HeaderValue, serverNow: number) {
  const value = firstOf(header)
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1000, Number.MAX_SAFE_INTEGER)
  const ms = dateMs(value) - serverNow
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

function firstOf(header: HeaderValue): string {
  return (typeof header === 'string' ? header : header?.[0])?.trim() ?? ''
}

/** Parses an HTTP date; NaN for anything else. */
function dateMs(text: string): number {
  // Date.parse accepts almost any text, but all three forms of an HTTP date begin with the day of the week.
  if (!/^(mon|tue|wed|thu|fri|sat|sun)/i.test(text)) return Number.NaN
  // The form that ends with the year names no zone, and is in UTC too.
  return Date.parse(/ \d{4}$/.test(text) ? `${text} GMT` : text)
}
