// Reads and writes recordings: a folder of files in HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/), one a company.
import { isUtf8 } from 'node:buffer'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod/mini'
import { VERSION } from '../observe/own-files.ts'

const text = z.optional(z.string())
const pairSchema = z.object({ name: z.string(), value: z.string() })

/** Members that begin with `_` are custom ones, as the format allows; other tools pass over them. */
const entrySchema = z.object({
  startedDateTime: text,
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
  // `apiUrl` is the API that the company had then: a fake Procore gets a new port at each start.
  _procoreProxy: z.optional(
    z.object({ bodySha256: text, omitted: text, apiUrl: text, redact: z.optional(z.array(z.string())) }),
  ),
})

const ownSchema = z.object({
  company: z.object({
    name: z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/)),
    id: z.string().check(z.regex(/^\d{1,20}$/)),
    default: z.optional(z.boolean()),
  }),
  environment: z.object({
    name: z.string(),
    apiUrl: z.string(),
    loginUrl: z.string(),
    fileDomain: z.string(),
  }),
})

const harSchema = z.object({ log: z.object({ _procoreProxy: ownSchema, entries: z.array(entrySchema) }) })

/** The part of an entry that replay needs. */
export type RecordedEntry = z.infer<typeof entrySchema>

/** The company of a file and its environment, so that replay needs no configuration. */
export type RecordedCompany = z.infer<typeof ownSchema>

/** A header, or a parameter of a query. */
export type Pair = Readonly<z.infer<typeof pairSchema>>

/** An entry that is parsed only when it is replayed, so that thousands of them do not slow down the start. */
export interface StoredEntry extends Pick<RecordedEntry, 'startedDateTime' | 'request' | '_procoreProxy'> {
  parse(): RecordedEntry
}

export interface Recording extends RecordedCompany {
  readonly entries: readonly StoredEntry[]
}

/** A file that is not a recording: damaged, from another program, or of another company. `message` names the file and the fix. */
export class RecordingError extends Error {
  override readonly name = 'RecordingError'
}

// --- reading -----------------------------------------------------------------------------------------------------------

/** Every recording in a folder, in the order of names. Throws a RecordingError for a file that can't be read. */
export async function readFolder(folder: string): Promise<Recording[]> {
  const recordings: Recording[] = []
  for (const file of await filesIn(folder)) recordings.push(await readRecording(file))
  return recordings
}

/**
 * The companies with recordings in a folder, each once, by its newest name. Of files in our layout only the beginning and the end
 * are read, unless a company has two files because it was renamed. Throws like {@link readFolder}.
 */
export async function recordedCompanies(folder: string): Promise<RecordedCompany[]> {
  const companies: RecordedCompany[] = []
  for (const file of await filesIn(folder)) {
    companies.push((await layoutOf(file))?.company ?? (await readRecording(file)))
  }
  const byId = (all: readonly RecordedCompany[]) => [
    ...new Map(all.map((each) => [each.company.id, each])).values(),
  ]
  if (byId(companies).length === companies.length) return companies
  const newest = ({ entries }: Recording) => entries.at(-1)?.startedDateTime ?? ''
  return byId((await readFolder(folder)).sort((a, b) => (newest(a) < newest(b) ? -1 : 1)))
}

async function filesIn(folder: string): Promise<string[]> {
  const names = (await fs.readdir(folder)).filter((name) => name.endsWith('.har') && !name.startsWith('.'))
  return names.sort().map((name) => join(folder, name))
}

async function readRecording(file: string): Promise<Recording> {
  return parsed(file, await fs.readFile(file))
}

function parsed(file: string, bytes: Buffer): Recording {
  try {
    return readHar(bytes)
  } catch (cause) {
    const fix = 'Delete it, or restore it from a backup.'
    const message = `${file} is not a recording of procore-proxy, or it is damaged. ${fix}`
    throw new RecordingError(message, { cause })
  }
}

/** Throws an Error that says what is wrong with the file. */
function readHar(bytes: Buffer): Recording {
  const lineEnd = bytes.indexOf('\n')
  const start = bytes.toString('utf8', 0, Math.max(0, lineEnd))
  if (!isOwnLayout(start) || bytes.toString('utf8', bytes.length - HAR_END.length) !== HAR_END) {
    return recordingOf(bytes.toString('utf8'))
  }
  const lines = bytes.subarray(lineEnd + 1, -HAR_END.length)
  const entries: StoredEntry[] = []
  for (let at = 0; at < lines.length; ) {
    const newline = lines.indexOf('\n', at)
    // Before it is a comma, except at the end.
    const end = newline === -1 ? lines.length : newline - 1
    entries.push(storedLine(lines.subarray(at, end)))
    at = end + 2
  }
  return { ...recordingOf(start + HAR_END), entries }
}

function recordingOf(text: string): Recording {
  const { log } = harSchema.parse(JSON.parse(text))
  return { ...log._procoreProxy, entries: log.entries.map(stored) }
}

/** An entry that has already been parsed. */
export function stored(entry: RecordedEntry): StoredEntry {
  return { ...entry, parse: () => entry }
}

/** What a line has to begin and end with for its request to be known without parsing all of it. */
const LINE_START =
  /^\{"startedDateTime":"([^"]*)","time":[\d.]+,"request":\{"method":("[^"\\]+"),"url":("(?:[^"\\]|\\.)*")/
const LINE_END =
  /,"_procoreProxy":(\{"bodySha256":"[0-9a-f]*"(?:,"omitted":"[^"\\]*")?(?:,"apiUrl":"[^"\\]*")?(?:,"redact":\[(?:"[^"\\]*",?)*\])?\})\}$/
const MOST_START_LENGTH = 8 * 1024
const MOST_END_LENGTH = 512

function storedLine(line: Buffer): StoredEntry {
  const start = LINE_START.exec(line.toString('utf8', 0, MOST_START_LENGTH))
  const end = LINE_END.exec(line.toString('utf8', Math.max(0, line.length - MOST_END_LENGTH)))
  const parse = () => entrySchema.parse(JSON.parse(line.toString('utf8')))
  if (start === null || end === null) return stored(parse())
  const [, startedDateTime, method, url] = start as unknown as [string, string, string, string]
  const request = { method: JSON.parse(method), url: JSON.parse(url) }
  return { startedDateTime, request, _procoreProxy: JSON.parse(end[1] as string), parse }
}

// --- our layout: a line for the company, a line for each entry, so that files are added to without being parsed --------

/** What each file of ours ends with, after the last entry. */
export const HAR_END = '\n]}}\n'
/** The longest first line. */
const MOST_START_BYTES = 16 * 1024

/** Its first line, up to the entries. */
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

function isOwnLayout(line: string): boolean {
  return line.startsWith('{"log":{"version":"1.2","creator":{') && line.endsWith(',"entries":[')
}

/** The company and the end of the entries of a file in our layout; undefined for other files. */
async function layoutOf(file: string) {
  await using handle = await fs.open(file)
  const textAt = async (position: number, length: number): Promise<string> => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position)
    return buffer.toString('utf8', 0, bytesRead)
  }
  const end = (await handle.stat()).size - HAR_END.length
  const start = (await textAt(0, MOST_START_BYTES)).split('\n', 1)[0] as string
  if (!isOwnLayout(start) || (await textAt(end, HAR_END.length)) !== HAR_END) return undefined
  const { company, environment } = parsed(file, Buffer.from(start + HAR_END))
  return { company: { company, environment }, end, isEmpty: end <= Buffer.byteLength(start) + 1 }
}

// --- writing: each file completely or not at all, and readable by its owner only ---------------------------------------

const MODE = 0o600
const FOLDER_MODE = 0o700

/** Makes the folder if it is missing. Throws a RecordingError if no recordings can be written to it. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await fs.mkdir(folder, { recursive: true, mode: FOLDER_MODE })
    await fs.access(folder, fs.constants.W_OK | fs.constants.X_OK)
  } catch (error) {
    const cause = error as NodeJS.ErrnoException
    if (cause.code !== 'ENOENT') throw folderError(folder, cause)
    // Node reports a read-only file system like this.
    const message = `The folder ${folder} cannot be created. Name one on a disk that can be written to.`
    throw new RecordingError(message, { cause })
  }
}

/** What is wrong with a folder of recordings, and how to fix it. */
export function folderError(folder: string, cause: NodeJS.ErrnoException): RecordingError {
  const { code, message } = cause
  if (code === 'ENOENT')
    return new RecordingError(`The folder ${folder} does not exist. Create it, or correct the path.`, {
      cause,
    })
  if (code === 'ENOTDIR' || code === 'EEXIST')
    return new RecordingError(`${folder} is not a folder. Name another one.`, { cause })
  return new RecordingError(`The folder ${folder} cannot be used: ${message}`, { cause })
}

/**
 * Adds entries (each one line of JSON) to a company's file. Existing entries are copied without being parsed, unless
 * another program formatted the file or the default company has changed. The old file stays until the new one is complete.
 * Throws a RecordingError if the file is of another company or not a recording; an Error of Node if it cannot be written.
 */
export async function appendEntries(
  folder: string,
  company: RecordedCompany,
  lines: readonly string[],
): Promise<void> {
  await fs.mkdir(folder, { recursive: true, mode: FOLDER_MODE })
  const { name } = company.company
  const file = join(folder, `${name}.har`)
  // Always the same name, so that what a crash leaves is overwritten.
  const temporary = join(folder, `.${name}.tmp`)
  try {
    const { end, isEmpty } = await copyOfEntries(file, temporary, company)
    await fs.truncate(temporary, end)
    // It must be on disk before it gets its final name.
    await fs.appendFile(temporary, (isEmpty ? '' : ',\n') + lines.join(',\n') + HAR_END, { flush: true })
    await fs.rename(temporary, file)
  } catch (error) {
    await fs.rm(temporary, { force: true })
    throw error
  }
}

/** Copies the file, or begins a new one; gives the position of the next entry. */
async function copyOfEntries(file: string, copy: string, company: RecordedCompany) {
  let lines: string[] = []
  let { environment } = company
  if (existsSync(file)) {
    const layout = await layoutOf(file)
    const found = layout?.company ?? (await readRecording(file))
    if (found.company.id !== company.company.id) {
      const other = `recordings of the company ${found.company.id}, not ${company.company.id}`
      throw new RecordingError(`${file} contains ${other}. Record to another folder.`)
    }
    // Whether it is the default company stands before the entries, and may have changed.
    if (layout !== undefined && found.company.default === company.company.default) {
      await fs.copyFile(file, copy, fs.constants.COPYFILE_FICLONE)
      await fs.chmod(copy, MODE)
      return layout
    }
    const { log } = JSON.parse(await fs.readFile(file, 'utf8')) as { log: { entries: unknown[] } }
    lines = log.entries.map((entry) => JSON.stringify(entry))
    environment = found.environment
  }
  const text = harStart({ ...company, environment }) + lines.join(',\n')
  await fs.writeFile(copy, text, { mode: MODE })
  return { end: Buffer.byteLength(text), isEmpty: lines.length === 0 }
}

// --- values ------------------------------------------------------------------------------------------------------------

/** Flat headers as HAR lists them. */
export function headerPairs(flat: readonly string[]): Pair[] {
  return flat.flatMap((name, at) => (at % 2 === 0 ? [{ name, value: flat[at + 1]! }] : []))
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
