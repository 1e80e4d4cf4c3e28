// Makes what the page shows of a body: the beginning if it is text, decompressed, and with secrets masked.
import { type Excerpt, MOST_EXCERPT_BYTES } from './excerpt.ts'
import { maskBody } from './mask-body.ts'

export interface RecordedBody {
  /** The media type without parameters; undefined if the headers name none. */
  readonly type: string | undefined
  /** The length of the body as the caller sent or received it, possibly compressed. */
  readonly bytes: number
  /** The beginning of it, at most 2 KiB; undefined if it is not shown. */
  readonly text: string | undefined
  /** Why it is not shown. */
  readonly hidden: string | undefined
  /** `text` is all of the body. */
  readonly whole: boolean
  /** Something in `text` was replaced by `*`. */
  readonly masked: boolean
}

/** Undefined if there was no body. */
export function recordedBody(
  excerpt: Excerpt | undefined,
  showQueryValues: boolean,
): RecordedBody | undefined {
  if (excerpt === undefined || excerpt.total === 0) return undefined
  const { type, total: bytes } = excerpt
  const read = readText(excerpt)
  if ('hidden' in read) {
    return { type, bytes, text: undefined, hidden: read.hidden, whole: false, masked: false }
  }
  const text = maskBody(read.text, { type: read.type, cut: !read.whole, showQueryValues })
  return { type, bytes, text, hidden: undefined, whole: read.whole, masked: text !== read.text }
}

function readText(excerpt: Excerpt): { type: string; text: string; whole: boolean } | { hidden: string } {
  const { type, charset, coding } = excerpt
  if (type === undefined) return { hidden: 'of no known type' }
  if (!excerpt.isText) return { hidden: 'binary' }
  // In another charset the names would not be recognized, and their values would be shown.
  if (charset !== undefined && !READABLE_CHARSETS.has(charset)) return { hidden: `in ${charset}` }
  const codings = (coding ?? '').toLowerCase().split(/[\s,]+/)
  const packed = codings.filter((name) => name !== '' && name !== 'identity')
  const bytes = packed.length === 0 ? excerpt.kept : unpacked(excerpt.kept, packed)
  if (bytes === undefined) return { hidden: `compressed (${packed.join(', ')})` }
  const whole = excerpt.whole && bytes.length <= MOST_EXCERPT_BYTES
  try {
    // An incomplete text may end within a character, which is then left out.
    const decoder = new TextDecoder('utf-8', { fatal: true })
    const text = decoder.decode(bytes.subarray(0, MOST_EXCERPT_BYTES), { stream: !whole })
    return text.includes('\0') ? { hidden: 'binary' } : { type, text, whole }
  } catch {
    return { hidden: 'not UTF-8' }
  }
}

/** In all of these, names are ASCII. Text that is not UTF-8 is not shown. */
const READABLE_CHARSETS = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii', 'iso-8859-1', 'windows-1252'])

/** 2 KiB of a normal response never decompress to more. */
const MOST_UNPACKED_BYTES = 512 * 1024

/** Decompresses the beginning of a body; undefined if that is not possible. */
function unpacked(bytes: Buffer, [coding, ...others]: readonly string[]): Buffer | undefined {
  if (others.length > 0) return undefined
  // Loaded with the first body that is shown, to keep the start fast.
  const zlib = process.getBuiltinModule('node:zlib')
  const { Z_SYNC_FLUSH, BROTLI_OPERATION_FLUSH, ZSTD_e_flush } = zlib.constants
  const limited = (finishFlush: number) => ({ finishFlush, maxOutputLength: MOST_UNPACKED_BYTES })
  try {
    switch (coding) {
      case 'gzip':
      case 'x-gzip':
        return zlib.gunzipSync(bytes, limited(Z_SYNC_FLUSH))
      case 'deflate': {
        // Some servers leave out the zlib header.
        const hasHeader = ((bytes[0] as number) & 0x0f) === 8
        return (hasHeader ? zlib.inflateSync : zlib.inflateRawSync)(bytes, limited(Z_SYNC_FLUSH))
      }
      case 'br':
        return zlib.brotliDecompressSync(bytes, limited(BROTLI_OPERATION_FLUSH))
      case 'zstd':
        return zlib.zstdDecompressSync(bytes, limited(ZSTD_e_flush))
      default:
        return undefined
    }
  } catch {
    return undefined
  }
}
