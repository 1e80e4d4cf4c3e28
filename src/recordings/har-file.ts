// Reads and writes the files in a folder of recordings: each file completely or not at all, and readable by its owner
// only.
import { existsSync } from 'node:fs'
import {
  access,
  chmod,
  constants,
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { HAR_END, harStart, isOwnLayout, type RecordedCompany, type Recording, readHar } from './har.ts'

const MODE = 0o600
const FOLDER_MODE = 0o700
/** The longest first line. */
const MOST_START_BYTES = 16 * 1024

/** A file that is not a recording: damaged, from another program, or of another company. `message` names the file and the fix. */
export class RecordingError extends Error {
  override readonly name = 'RecordingError'
}

/**
 * Every recording in a folder, in the order of names.
 * @throws {RecordingError} for a file that can't be read.
 */
export async function readFolder(folder: string): Promise<Recording[]> {
  const recordings: Recording[] = []
  for (const name of await namesIn(folder)) recordings.push(await readRecording(join(folder, name)))
  return recordings
}

/**
 * The companies with recordings in a folder. Only the beginning of each file is read. @throws {RecordingError} for a
 * file that can't be read.
 */
export async function recordedCompanies(folder: string): Promise<RecordedCompany[]> {
  const companies: RecordedCompany[] = []
  for (const name of await namesIn(folder)) {
    const file = join(folder, name)
    companies.push((await layoutOf(file))?.company ?? (await readRecording(file)))
  }
  return companies
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.har') && !name.startsWith('.')).sort()
}

async function readRecording(file: string): Promise<Recording> {
  return parsed(file, await readFile(file))
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

export function fileOf(folder: string, company: RecordedCompany): string {
  return join(folder, `${company.company.name}.har`)
}

/** Makes the folder if it is missing. @throws {RecordingError} if no recordings can be written to it. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE })
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new RecordingError(`Recordings cannot be written to ${folder}: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/**
 * Adds entries (each one line of JSON) to a company's file. Existing entries are copied without being parsed, unless
 * another program formatted the file. The old file stays until the new one is complete. @throws {RecordingError} if
 * the file is of another company or not a recording; an Error of Node if it cannot be written.
 */
export async function appendEntries(
  folder: string,
  company: RecordedCompany,
  lines: readonly string[],
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE })
  const file = fileOf(folder, company)
  const temporary = join(folder, `.${company.company.name}.${process.pid}.tmp`)
  try {
    const { end, isEmpty } = await copyOfEntries(file, temporary, company)
    await writeEnd(temporary, end, (isEmpty ? '' : ',\n') + lines.join(',\n') + HAR_END)
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function writeEnd(file: string, at: number, text: string): Promise<void> {
  await using handle = await open(file, 'r+')
  await handle.truncate(at)
  await handle.write(text, at)
  // The file must be on disk before it gets its final name.
  await handle.sync()
}

/** Copies the file, or begins a new one; gives the position of the next entry. */
async function copyOfEntries(file: string, copy: string, company: RecordedCompany) {
  let lines: string[] = []
  if (existsSync(file)) {
    const layout = await layoutOf(file)
    checkCompany(file, layout?.company ?? (await readRecording(file)), company)
    if (layout !== undefined) {
      await copyFile(file, copy, constants.COPYFILE_FICLONE)
      await chmod(copy, MODE)
      return layout
    }
    const { log } = JSON.parse(await readFile(file, 'utf8')) as { log: { entries: unknown[] } }
    lines = log.entries.map((entry) => JSON.stringify(entry))
  }
  const text = harStart(company) + lines.join(',\n')
  await writeFile(copy, text, { mode: MODE })
  return { end: Buffer.byteLength(text), isEmpty: lines.length === 0 }
}

/** The company and the end of the entries of a file in our format; undefined for other files. */
async function layoutOf(file: string) {
  await using handle = await open(file)
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

function checkCompany(file: string, found: RecordedCompany, wanted: RecordedCompany): void {
  if (found.company.id === wanted.company.id) return
  throw new RecordingError(
    `${file} holds recordings of the company ${found.company.id}, not ${wanted.company.id}. Record to another folder.`,
  )
}
