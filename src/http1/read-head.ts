// What is read of an answer's head on its way: no object is made of headers that nobody asks for.
import type { AnswerHead } from './handler.ts'

/** The headers that are read, by lower-case name; several of a name become a list. The rest passes unread. */
export function readHead(rawHeaders: readonly (Buffer | string)[]): AnswerHead {
  // All of one shape: which names there are is the server's choice.
  const head: Record<keyof AnswerHead, string | string[] | undefined> = {
    date: undefined,
    'retry-after': undefined,
    'content-type': undefined,
    'content-range': undefined,
    'content-length': undefined,
    'content-encoding': undefined,
    'transfer-encoding': undefined,
    'x-rate-limit-limit': undefined,
    'x-rate-limit-reset': undefined,
    'x-rate-limit-remaining': undefined,
  }
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const field = rawHeaders[at] as Buffer | string
    if (!LENGTHS.has(field.length)) continue
    const name = textOf(field).toLowerCase()
    switch (name) {
      case 'date':
      case 'retry-after':
      case 'content-type':
      case 'content-range':
      case 'content-length':
      case 'content-encoding':
      case 'transfer-encoding':
      case 'x-rate-limit-limit':
      case 'x-rate-limit-reset':
      case 'x-rate-limit-remaining':
        head[name] = added(head[name], textOf(rawHeaders[at + 1] as Buffer | string))
        break
      default:
    }
  }
  return head
}

/** Of the names that are read. */
const LENGTHS: ReadonlySet<number> = new Set([4, 11, 12, 13, 14, 16, 17, 18, 22])

function added(known: string | string[] | undefined, value: string): string | string[] {
  if (known === undefined) return value
  return typeof known === 'string' ? [known, value] : [...known, value]
}

/** The value of a header that stands once; the first of several. */
export function headerValue(head: AnswerHead, name: string): string | undefined {
  const value = head[name]
  return Array.isArray(value) ? value[0] : value
}

/** Header bytes are read as Latin-1, as Node's own client and server do, so that they go out as they came in. */
export function textOf(value: Buffer | string): string {
  return typeof value === 'string' ? value : value.toString('latin1')
}
