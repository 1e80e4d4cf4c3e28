// What is read of an answer's head on its way: no object is made of headers that nobody asks for.
import type { AnswerHead } from './handler.ts'
import { perName } from './per-name.ts'

const READ = [
  'date',
  'retry-after',
  'content-type',
  'content-range',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'x-rate-limit-limit',
  'x-rate-limit-reset',
  'x-rate-limit-remaining',
] as const
type Read = (typeof READ)[number]

/** In lower case, if it is one that is read: the same string each time. */
const readName = perName((name): Read | 'unread' => {
  const lower = name.toLowerCase()
  return READ.find((read) => read === lower) ?? 'unread'
})

/** The headers that are read, by lower-case name; several of a name become a list. The rest passes unread. */
export function readHead(rawHeaders: readonly (Buffer | string)[]): AnswerHead {
  // All of one shape, and each set by its own name: to look a name up would cost more than all the rest.
  const head: Record<Read, string | string[] | undefined> = {
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
    const read = readName(textOf(rawHeaders[at] as Buffer | string))
    if (read === 'unread') continue
    const value = textOf(rawHeaders[at + 1] as Buffer | string)
    switch (read) {
      case 'date':
        head.date = added(head.date, value)
        break
      case 'retry-after':
        head['retry-after'] = added(head['retry-after'], value)
        break
      case 'content-type':
        head['content-type'] = added(head['content-type'], value)
        break
      case 'content-range':
        head['content-range'] = added(head['content-range'], value)
        break
      case 'content-length':
        head['content-length'] = added(head['content-length'], value)
        break
      case 'content-encoding':
        head['content-encoding'] = added(head['content-encoding'], value)
        break
      case 'transfer-encoding':
        head['transfer-encoding'] = added(head['transfer-encoding'], value)
        break
      case 'x-rate-limit-limit':
        head['x-rate-limit-limit'] = added(head['x-rate-limit-limit'], value)
        break
      case 'x-rate-limit-reset':
        head['x-rate-limit-reset'] = added(head['x-rate-limit-reset'], value)
        break
      case 'x-rate-limit-remaining':
        head['x-rate-limit-remaining'] = added(head['x-rate-limit-remaining'], value)
        break
      default:
        read satisfies never
    }
  }
  return head
}

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
