// What two parsers make of the same bytes: ours, and Node's own llhttp in its strict mode.
import { createRequire } from 'node:module'
import { AnswerParser } from '../../src/http1/answer-parser.ts'

export interface Reading {
  status?: number
  message?: string
  headers?: readonly string[]
  /** Latin-1. */
  body: string
  /** How many bytes the answer takes, where it is whole; the connection's end counts as one. */
  end?: number
  keepsAlive?: boolean
  idleSeconds?: number | undefined
  error?: string
}

/** Reads the chunks one after the other, then the end of the connection; `before`: what the parser read on it before. */
export function ourReading(chunks: readonly Buffer[], isHead = false, before?: Buffer): Reading {
  let reading: Reading = { body: '' }
  const parser = new AnswerParser({
    onHead(status, message, headers) {
      Object.assign(reading, { status, message, headers })
    },
    onBody(piece) {
      reading.body += piece.toString('latin1')
    },
  })
  if (before !== undefined) {
    parser.begin(false)
    try {
      parser.read(before)
    } catch {
      // Its connection would be closed; what it left behind must make no difference either.
    }
    reading = { body: '' }
  }
  parser.begin(isHead)
  let read = 0
  try {
    for (const chunk of chunks) {
      read += chunk.length
      const behind = parser.read(chunk)
      if (parser.isDone) {
        Object.assign(reading, {
          end: read - behind,
          keepsAlive: parser.keepsAlive,
          idleSeconds: parser.idleSeconds,
        })
        return reading
      }
    }
    if (parser.finish()) Object.assign(reading, { end: read + 1, keepsAlive: parser.keepsAlive })
  } catch (error) {
    reading.error = (error as Error).message
  }
  return reading
}

interface NodesParser {
  [callback: number]: unknown
  initialize(type: number, resource: object, maxHeaderSize: number, lenientFlags: number): void
  execute(bytes: Buffer): number | Error
  finish(): undefined | Error
  free(): void
}
interface NodesParserClass {
  new (): NodesParser
  readonly RESPONSE: number
  readonly kOnHeaders: number
  readonly kOnHeadersComplete: number
  readonly kOnBody: number
  readonly kOnMessageComplete: number
}
const { HTTPParser } = createRequire(import.meta.url)('node:_http_common') as { HTTPParser: NodesParserClass }

/** Reads byte by byte, so that the end of the answer is known exactly. */
export function nodesReading(bytes: Buffer, isHead = false): Reading {
  const reading: Reading = { body: '' }
  let isInterim = false
  let isDone = false
  let more: string[] = []
  const parser = new HTTPParser()
  parser.initialize(HTTPParser.RESPONSE, {}, 64 * 1024, 0)
  parser[HTTPParser.kOnHeaders] = (headers: string[]) => {
    more = [...more, ...headers]
  }
  parser[HTTPParser.kOnHeadersComplete] = (...args: unknown[]) => {
    const [, , headers, , , status, message, isUpgrade, keepsAlive] = args
    isInterim = (status as number) < 200
    const all = [...more, ...((headers as string[] | undefined) ?? [])]
    more = []
    if (isInterim) return status === 101 ? 2 : 1
    Object.assign(reading, { status, message, headers: all, keepsAlive })
    return isUpgrade ? 2 : isHead ? 1 : 0
  }
  parser[HTTPParser.kOnBody] = (piece: Buffer) => {
    reading.body += piece.toString('latin1')
  }
  parser[HTTPParser.kOnMessageComplete] = () => {
    isDone = !isInterim
  }
  try {
    for (let at = 0; at < bytes.length; at++) {
      const result = parser.execute(bytes.subarray(at, at + 1))
      if (isDone) {
        reading.end = at + 1
        return reading
      }
      if (result instanceof Error) {
        reading.error = result.message
        return reading
      }
    }
    const error = parser.finish()
    if (isDone) reading.end = bytes.length + 1
    else if (error !== undefined) reading.error = error.message
    return reading
  } finally {
    parser.free()
  }
}

/** What of our reading Node does not say, too; undefined where there is nothing: ours may be stricter, never laxer. */
export function laxness(ours: Reading, nodes: Reading, isHead: boolean): string | undefined {
  if (ours.status === undefined) return undefined
  if (ours.status !== nodes.status) return `status ${ours.status}, not ${nodes.status}: ${nodes.error}`
  if (ours.message !== nodes.message) return 'reason phrase'
  if (JSON.stringify(ours.headers) !== JSON.stringify(nodes.headers)) return 'headers'
  if (ours.end === undefined) {
    return nodes.body.startsWith(ours.body) || ours.error !== undefined ? undefined : 'a part of the body'
  }
  if (ours.end !== nodes.end) return `its end at ${ours.end}, not ${nodes.end}: ${nodes.error}`
  if (ours.body !== nodes.body) return 'body'
  // Node does not tell its parser in time that an answer to HEAD has no body.
  if (ours.keepsAlive && !nodes.keepsAlive && !isHead) return 'keeps the connection'
  return undefined
}
