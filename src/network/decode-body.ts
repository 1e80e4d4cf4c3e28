// Turns the bytes of a short response body into text.
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'

const DECODERS = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
} as const

/**
 * Returns the body as text, decompressed and without a byte-order mark. Some servers compress without being asked to.
 * Undefined if the text is longer than `mostBytes`. If the bytes cannot be decoded, they are returned as they are.
 */
export function decodeBody(
  bytes: Buffer,
  contentEncoding: string | undefined,
  mostBytes: number,
): string | undefined {
  const name = contentEncoding?.trim().toLowerCase() ?? ''
  // Some servers forget to announce gzip. It begins with these two bytes, and JSON never does.
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  const decoder = isGzip ? gunzipSync : DECODERS[name as keyof typeof DECODERS]
  let decoded = bytes
  try {
    if (decoder !== undefined) decoded = decoder(bytes, { maxOutputLength: mostBytes })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined
  }
  return decoded.length > mostBytes ? undefined : new TextDecoder().decode(decoded)
}
