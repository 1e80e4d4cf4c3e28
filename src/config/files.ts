// Reads a small file, text or not, together with its permission bits, and words what went wrong.
import { close, fstat, open, read } from 'node:fs'
import { promisify } from 'node:util'
import type { Mistake } from './problems.ts'

// Not by node:fs/promises: with all that it brings along, it is a megabyte that nothing else at the start needs.
const file = { open: promisify(open), stat: promisify(fstat), read: promisify(read), close: promisify(close) }

/** A file's text and permission bits, both taken from the same open file. */
export interface TextFile {
  readonly text: string
  /** The lowest nine bits, e.g. `0o600`. */
  readonly mode: number
}

/** A file's bytes and permission bits, both taken from the same open file. */
export interface FileBytes {
  readonly bytes: Buffer
  /** The lowest nine bits, e.g. `0o600`. */
  readonly mode: number
}

/** Reads at most `maxBytes`. */
export async function readFileBytes(path: string, maxBytes: number): Promise<FileBytes | Mistake> {
  try {
    const handle = await file.open(path, 'r')
    try {
      return await readAll(handle, path, maxBytes)
    } finally {
      await file.close(handle)
    }
  } catch (error) {
    return wordsFor(path, error)
  }
}

async function readAll(handle: number, path: string, maxBytes: number): Promise<FileBytes | Mistake> {
  const { mode } = await file.stat(handle)
  const bytes = Buffer.alloc(maxBytes + 1)
  let length = 0
  while (length < bytes.length) {
    const { bytesRead } = await file.read(handle, bytes, length, bytes.length - length, null)
    if (bytesRead === 0) break
    length += bytesRead
  }
  if (length > maxBytes) {
    return {
      message: `${path} is larger than ${maxBytes / 1024} KiB`,
      mend: 'Check that the path is right',
    }
  }
  return { bytes: bytes.subarray(0, length), mode: mode & 0o777 }
}

/** Reads at most `maxBytes` of UTF-8 text. */
export async function readTextFile(path: string, maxBytes: number): Promise<TextFile | Mistake> {
  const file = await readFileBytes(path, maxBytes)
  if ('message' in file) return file
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file.bytes)
    return { text, mode: file.mode }
  } catch (error) {
    return wordsFor(path, error)
  }
}

/** What a failed system call means to the user. */
export function wordsFor(path: string, error: unknown): Mistake {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { message: `${path} does not exist`, mend: 'Create it, or correct the path' }
    case 'EISDIR':
      return { message: `${path} is a folder`, mend: 'Name a file' }
    case 'EACCES':
    case 'EPERM':
      return {
        message: `${path} may not be read by this user`,
        mend: `Make this user its owner, then ${chmod(path)}`,
      }
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return { message: `${path} is not UTF-8 text`, mend: 'Save it as UTF-8' }
    default:
      return {
        message: `${path} can't be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
        mend: 'Check the file and its disk',
      }
  }
}

/** The command that makes a file its owner's alone, ready for a POSIX shell. */
export function chmod(path: string): string {
  return `chmod 600 ${/^[\w./@:+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`}`
}

/** Whether anyone but the owner has any right to the file. */
export function isOpenToOthers(mode: number): boolean {
  return (mode & 0o077) !== 0
}
