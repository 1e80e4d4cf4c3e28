// Decompresses and rewrites a response body while it streams to the caller.
import type { Transform } from 'node:stream'
import { ProxyError } from '../errors.ts'
import type { UpstreamResponse } from './call.ts'
import type { BodyPlan } from './headers.ts'
import { JsonStrings } from './json-strings.ts'

/** A body that can be read once, like that of an {@link UpstreamResponse}. */
export type BodySource = Pick<UpstreamResponse, 'pipe' | 'resume'>

/**
 * A body is aborted if it decompresses to more than this many bytes and to more than this multiple of its compressed
 * size.
 */
const MOST_FREE_BYTES = 16 * 1024 * 1024
const MOST_RATIO = 200

/** The body as the caller receives it: decompressed and rewritten while it streams, with back-pressure. */
export function transformed(source: BodySource, { coding, replace }: BodyPlan): BodySource {
  const strings = replace && new JsonStrings('h', replace)
  let unpacker: Transform | undefined
  return {
    resume: () => {
      if (unpacker === undefined) source.resume()
      else unpacker.resume()
    },
    pipe: async (write) => {
      const pass = (chunk: Buffer) => {
        const out = strings === undefined ? chunk : strings.push(chunk)
        return out.length === 0 || write(out)
      }
      if (coding === undefined) await source.pipe(pass)
      else {
        await unpack(source, pass, (firstByte) => {
          unpacker = unpackerOf(coding, firstByte)
          return unpacker
        })
      }
      const rest = strings?.end()
      if (rest !== undefined && rest.length > 0) write(rest)
    },
  }
}

async function unpack(
  source: BodySource,
  write: (chunk: Buffer) => boolean,
  open: (firstByte: number) => Transform,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let unpacker: Transform | undefined
  let packedBytes = 0
  let unpackedBytes = 0
  const start = (firstByte: number) => {
    const started = open(firstByte)
    started.on('data', (chunk: Buffer) => {
      unpackedBytes += chunk.length
      if (isBomb(packedBytes, unpackedBytes)) {
        started.destroy(new Error('it unpacks to far more than an honest response would'))
      } else if (!write(chunk)) started.pause()
    })
    started.on('drain', () => source.resume())
    started.on('end', resolve)
    started.on('error', (cause) => reject(notUnpacked(cause)))
    return started
  }
  const packed = source.pipe((chunk) => {
    packedBytes += chunk.length
    unpacker ??= start(chunk[0] ?? 0)
    return unpacker.destroyed || unpacker.write(chunk)
  })
  packed.then(() => (unpacker === undefined ? resolve() : unpacker.end()), reject)
  try {
    await promise
  } finally {
    unpacker?.destroy()
  }
}

function notUnpacked(cause: unknown): ProxyError {
  const detail = "The API's compressed response could not be unpacked."
  return new ProxyError('upstream_protocol', detail, { proxyStatus: 'http_response_content_coding', cause })
}

function isBomb(packed: number, unpacked: number): boolean {
  return unpacked > MOST_FREE_BYTES && unpacked > packed * MOST_RATIO
}

function unpackerOf(coding: string, firstByte: number): Transform {
  // Loaded with the first compressed response, to keep the start fast.
  const zlib = process.getBuiltinModule('node:zlib')
  const options = { chunkSize: 64 * 1024 }
  switch (coding) {
    case 'br':
      return zlib.createBrotliDecompress(options)
    case 'zstd':
      return zlib.createZstdDecompress(options)
    case 'deflate':
      // RFC 9110 requires the zlib format here, but some servers leave out its header.
      return (firstByte & 0x0f) === 8 ? zlib.createInflate(options) : zlib.createInflateRaw(options)
    default:
      return zlib.createGunzip(options)
  }
}
