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
  const { type = '', total: bytes } = excerpt
  const read = readText(excerpt)
  if (typeof read === 'string') {
    return { type: excerpt.type, bytes, text: undefined, hidden: read, whole: false, masked: false }
  }
  const { text: whole, isWhole } = read
  const text = maskBody(whole, { type, cut: !isWhole, showQueryValues })
  return { type, bytes, text, hidden: undefined, whole: isWhole, masked: text !== whole }
}

/** The text, or why it is not shown. */
function readText(excerpt: Excerpt): { readonly text: string; readonly isWhole: boolean } | string {
  const { type, charset, coding = '' } = excerpt
  if (type === undefined) return 'of no known type'
  if (!excerpt.isText) return 'binary'
  // Of another charset the names would not be recognised, and what stands under them would be shown.
  if (charset !== undefined && !READABLE_CHARSETS.has(charset)) return `in ${charset}`
  const codings = coding.toLowerCase().split(/[\s,]+/)
  const packed = codings.filter((name) => name !== '' && name !== 'identity')
  const bytes = packed.length === 0 ? excerpt.kept : unpacked(excerpt.kept, packed)
  if (bytes === undefined) return `compressed (${packed.join(', ')})`
  const isWhole = excerpt.whole && bytes.length <= MOST_EXCERPT_BYTES
  try {
    // An incomplete text may end within a character, which is then left out.
    const decoder = new TextDecoder('utf-8', { fatal: true })
    const text = decoder.decode(bytes.subarray(0, MOST_EXCERPT_BYTES), { stream: !isWhole })
    return text.includes('\0') ? 'binary' : { text, isWhole }
  } catch {
    return 'not UTF-8'
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
    if (coding === 'br') return zlib.brotliDecompressSync(bytes, limited(BROTLI_OPERATION_FLUSH))
    if (coding === 'zstd') return zlib.zstdDecompressSync(bytes, limited(ZSTD_e_flush))
    // Some servers leave out the header of deflate; `unzip` takes gzip and deflate with its header.
    const hasHeader = coding !== 'deflate' || ((bytes[0] as number) & 0x0f) === 8
    const unzip = hasHeader ? zlib.unzipSync : zlib.inflateRawSync
    return /^(?:(?:x-)?gzip|deflate)$/.test(coding ?? '') ? unzip(bytes, limited(Z_SYNC_FLUSH)) : undefined
  } catch {
    return undefined
  }
}
