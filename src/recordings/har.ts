// Reads and writes the parts of HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/) that recordings use, one
// entry on each line.
import { isUtf8 } from 'node:buffer'
import * as z from 'zod/mini'
import { VERSION } from '../observe/own-files.ts'

const text = z.optional(z.string())
const pairSchema = z.object({ name: z.string(), value: z.string() })

/** Members that begin with `_` are custom ones, as the format allows; other tools pass over them. */
const entrySchema = z.object({
  request: z.object({
    method: z.string(),
    url: z.string(),
    postData: z.optional(z.object({ text, _encoding: text })),
  }),
  response: z.object({
    status: z.number(),
    statusText: z.string(),
    headers: z.array(pairSchema),
    content: z.object({
      text,
      encoding: text,
      comment: text,
    }),
  }),
  _procoreProxy: z.optional(z.object({ bodySha256: text, omitted: text })),
})

const originsSchema = z.object({
  name: z.string(),
  apiUrl: z.string(),
  loginUrl: z.string(),
  fileDomain: z.string(),
})

const ownSchema = z.object({
  company: z.object({
    name: z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/)),
    id: z.string().check(z.regex(/^\d{1,20}$/)),
  }),
  environment: originsSchema,
})

const harSchema = z.object({ log: z.object({ _procoreProxy: ownSchema, entries: z.array(entrySchema) }) })

/** The part of an entry that replay needs. */
export type RecordedEntry = z.infer<typeof entrySchema>

/** The company of a file and its environment, so that replay needs no configuration. */
export type RecordedCompany = z.infer<typeof ownSchema>

/** An entry that is parsed only when it is replayed, so that thousands of them do not slow down the start. */
export interface StoredEntry extends Pick<RecordedEntry, 'request' | '_procoreProxy'> {
  parse(): RecordedEntry
}

export interface Recording extends RecordedCompany {
  readonly entries: readonly StoredEntry[]
}

/** Reads a file. Throws an Error that says what is wrong with it. */
export function readHar(bytes: Buffer): Recording {
  const end = bytes.indexOf('\n')
  const start = bytes.toString('utf8', 0, end + 1)
  const isOwn = isOwnLayout(start) && bytes.toString('utf8', bytes.length - HAR_END.length) === HAR_END
  if (isOwn)
    return {
      ...recordingOf(start.trimEnd() + HAR_END),
      entries: storedLines(bytes.subarray(end + 1, -HAR_END.length)),
    }
  return recordingOf(bytes.toString('utf8'))
}

function recordingOf(text: string): Recording {
  const { log } = harSchema.parse(JSON.parse(text))
  return { ...log._procoreProxy, entries: log.entries.map(stored) }
}

/** An entry that has already been parsed. */
export function stored(entry: RecordedEntry): StoredEntry {
  return { request: entry.request, _procoreProxy: entry._procoreProxy, parse: () => entry }
}

/** One entry on each line, as we write them. */
function storedLines(bytes: Buffer): StoredEntry[] {
  const entries: StoredEntry[] = []
  for (let at = 0; at < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, at)
    const end = newline === -1 ? bytes.length : newline
    entries.push(storedLine(bytes.subarray(at, newline === -1 ? end : end - 1)))
    at = end + 1
  }
  return entries
}

/** What a line has to begin and end with for its request to be known without parsing all of it. */
const LINE_START =
  /^\{"startedDateTime":"[^"]*","time":[\d.]+,"request":\{"method":("[^"\\]+"),"url":("(?:[^"\\]|\\.)*")/
const LINE_END = /,"_procoreProxy":(\{"bodySha256":"[0-9a-f]*"(?:,"omitted":"[^"\\]*")?\})\}$/
const MOST_START_LENGTH = 8 * 1024
const MOST_END_LENGTH = 512

function storedLine(line: Buffer): StoredEntry {
  const start = LINE_START.exec(line.toString('utf8', 0, MOST_START_LENGTH))
  const end = LINE_END.exec(line.toString('utf8', Math.max(0, line.length - MOST_END_LENGTH)))
  const parse = () => entrySchema.parse(JSON.parse(line.toString('utf8')))
  if (start === null || end === null) return stored(parse())
  const request = { method: JSON.parse(start[1] as string), url: JSON.parse(start[2] as string) }
  return { request, _procoreProxy: JSON.parse(end[1] as string), parse }
}

/** What each file of ours ends with, after the last entry. */
export const HAR_END = '\n]}}\n'

/** Its first line, up to the entries: one line for each of them follows. */
export function harStart({ company, environment }: RecordedCompany): string {
  const { name, apiUrl, loginUrl, fileDomain } = environment
  const log = {
    version: '1.2',
    creator: { name: 'procore-proxy', version: VERSION },
    _procoreProxy: { company, environment: { name, apiUrl, loginUrl, fileDomain } },
    entries: [],
  }
  return `${JSON.stringify({ log }).slice(0, -']}}'.length)}\n`
}

/** Whether a text begins a file that is laid out as ours are. */
export function isOwnLayout(start: string): boolean {
  const line = start.split('\n', 1)[0] as string
  return line.startsWith('{"log":{"version":"1.2","creator":{') && line.endsWith(',"entries":[')
}

/** A header, or a parameter of a query. */
export type Pair = Readonly<z.infer<typeof pairSchema>>

/** Flat headers as HAR lists them. */
export function headerPairs(flat: readonly string[]): Pair[] {
  return flat.flatMap((name, at) => (at % 2 === 0 ? [{ name, value: flat[at + 1]! }] : []))
}

/** A raw query (without `?`) as HAR lists it: decoded, for people. */
export function harQuery(query: string): Pair[] {
  return [...new URLSearchParams(query)].map(([name, value]) => ({ name, value }))
}

/** A body as text if it is UTF-8, else in base64. */
export function harText(body: Buffer): { text: string; encoding?: 'base64' } {
  if (isUtf8(body) && !body.includes(0)) return { text: body.toString('utf8') }
  return { text: body.toString('base64'), encoding: 'base64' }
}

/** The bytes of a body that {@link harText} made. */
export function bytesOf(text: string, encoding: string | undefined): Buffer {
  return Buffer.from(text, encoding === 'base64' ? 'base64' : 'utf8')
}
