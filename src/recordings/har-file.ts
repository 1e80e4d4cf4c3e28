// Reads and writes the files in a folder of recordings: each file completely or not at all, and readable by its owner
// only.
import {
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

/**
 * A file that is not a recording: damaged, from another program, or of another company. `message` names the file and
 * the fix.
 */
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
    const layout = await layoutOf(join(folder, name))
    const { company, environment } =
      layout === undefined
        ? await readRecording(join(folder, name))
        : readHar(Buffer.from(layout.start + HAR_END))
    companies.push({ company, environment })
  }
  return companies
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.har') && !name.startsWith('.')).sort()
}

async function readRecording(file: string): Promise<Recording> {
  try {
    return readHar(await readFile(file))
  } catch (cause) {
    throw new RecordingError(
      `${file} is not a recording of procore-proxy, or it is damaged. Delete it, or restore it from a backup.`,
      { cause },
    )
  }
}

export function fileOf(folder: string, company: RecordedCompany): string {
  return join(folder, `${company.company.name}.har`)
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
    const end = await copyOfEntries(file, temporary, company)
    const handle = await open(temporary, 'r+')
    try {
      const text = (end.isEmpty ? '' : ',\n') + lines.join(',\n') + HAR_END
      await handle.truncate(end.position)
      await handle.write(text, end.position)
      // The file must be on disk before it gets its final name.
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

interface EntriesEnd {
  /** The position of the next entry. */
  readonly position: number
  readonly isEmpty: boolean
}

/** Copies the file without its end, or begins a new one. */
async function copyOfEntries(file: string, copy: string, company: RecordedCompany): Promise<EntriesEnd> {
  try {
    await copyFile(file, copy, constants.COPYFILE_FICLONE)
    await chmod(copy, MODE)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return await rewritten(copy, company, [])
  }
  const layout = await layoutOf(copy)
  if (layout === undefined) {
    const { log } = await parsedHar(file, company)
    return await rewritten(
      copy,
      company,
      log.entries.map((entry) => JSON.stringify(entry)),
    )
  }
  checkCompany(file, readHar(Buffer.from(layout.start + HAR_END)), company)
  return { position: layout.size - HAR_END.length, isEmpty: layout.isEmpty }
}

async function rewritten(
  copy: string,
  company: RecordedCompany,
  lines: readonly string[],
): Promise<EntriesEnd> {
  const text = harStart(company) + lines.join(',\n')
  await writeFile(copy, text, { mode: MODE })
  return { position: Buffer.byteLength(text), isEmpty: lines.length === 0 }
}

/** The first line and the size of a file in our format; undefined for other files. */
async function layoutOf(
  file: string,
): Promise<{ start: string; size: number; isEmpty: boolean } | undefined> {
  const handle = await open(file)
  try {
    const { size } = await handle.stat()
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MOST_START_BYTES), 0, MOST_START_BYTES, 0)
    const start = buffer.toString('utf8', 0, bytesRead)
    const tail = await handle.read(
      Buffer.alloc(HAR_END.length),
      0,
      HAR_END.length,
      Math.max(0, size - HAR_END.length),
    )
    if (!isOwnLayout(start) || tail.buffer.toString() !== HAR_END) return undefined
    const line = start.split('\n', 1)[0] as string
    return { start: line, size, isEmpty: size <= Buffer.byteLength(line) + HAR_END.length + 1 }
  } finally {
    await handle.close()
  }
}

/** Reads a file that another program or a person wrote. */
async function parsedHar(file: string, company: RecordedCompany): Promise<{ log: { entries: unknown[] } }> {
  checkCompany(file, await readRecording(file), company)
  return JSON.parse(await readFile(file, 'utf8'))
}

function checkCompany(file: string, found: RecordedCompany, wanted: RecordedCompany): void {
  if (found.company.id === wanted.company.id) return
  throw new RecordingError(
    `${file} holds recordings of the company ${found.company.id}, not ${wanted.company.id}. Record to another folder.`,
  )
}
