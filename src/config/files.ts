// Reads small files together with their permission bits, and explains failures.
import { open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Finding, Mistake } from './problems.ts'

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
    await using handle = await open(path, 'r')
    const { mode } = await handle.stat()
    const bytes = Buffer.alloc(maxBytes + 1)
    let length = 0
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, null)
      if (bytesRead === 0) break
      length += bytesRead
    }
    if (length <= maxBytes) return { bytes: bytes.subarray(0, length), mode: mode & 0o777 }
    return { message: `${path} is larger than ${maxBytes / 1024} KiB`, fix: 'Check that the path is right' }
  } catch (error) {
    return wordsFor(path, error)
  }
}

/** Reads at most `maxBytes` of UTF-8 text. */
export async function readTextFile(path: string, maxBytes: number): Promise<TextFile | Mistake> {
  const file = await readFileBytes(path, maxBytes)
  if ('message' in file) return file
  const [first, second] = file.bytes
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)
  if (isUtf16 || file.bytes.includes(0)) return { message: `${path} is UTF-16 text`, fix: 'Save it as UTF-8' }
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file.bytes)
    return { text, mode: file.mode }
  } catch (error) {
    return wordsFor(path, error)
  }
}

/** What a failed system call means for the user. */
export function wordsFor(path: string, error: unknown): Mistake {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { message: `${path} does not exist`, fix: 'Create it, or correct the path' }
    case 'EISDIR':
      return { message: `${path} is a folder`, fix: 'Name a file' }
    case 'EACCES':
    case 'EPERM':
      return {
        message: `this user has no permission to read ${path}`,
        fix: `Make this user the owner, then run ${chmod(path)}`,
      }
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return { message: `${path} is not UTF-8 text`, fix: 'Save it as UTF-8' }
    default:
      return {
        message: `${path} can't be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
        fix: 'Check the file and its disk',
      }
  }
}

/** The POSIX shell command that makes a file accessible to its owner only. */
export function chmod(path: string): string {
  return `chmod 600 ${/^[\w./@:+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`}`
}

/** Whether anyone but the owner has any permission for the file. */
export function isOpenToOthers(mode: number): boolean {
  return (mode & 0o077) !== 0
}

/** Checks that the folder of the audit log exists; `folder` is where relative paths start. */
export async function checkAuditFile(
  audit: { readonly file: string } | undefined,
  folder: string,
): Promise<Finding[]> {
  if (audit === undefined) return []
  const file = resolve(folder, audit.file)
  const isFolder = (path: string) =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    )
  const finding = (message: string, fix: string): Finding[] => [{ path: ['audit', 'file'], message, fix }]
  if (!(await isFolder(dirname(file))))
    return finding(`the folder ${dirname(file)} does not exist`, 'Create it, or correct the path')
  return (await isFolder(file)) ? finding(`${file} is a folder`, 'Name a file in it') : []
}
