// Reads small files together with their permission bits, and explains failures.
import { isUtf8 } from 'node:buffer'
import { open, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Finding, Mistake } from './problems.ts'

/** Reads at most `maxBytes`, and the permission bits of the same open file (the lowest nine, e.g. `0o600`). */
export async function readFileBytes(
  path: string,
  maxBytes: number,
): Promise<{ readonly bytes: Buffer; readonly mode: number } | Mistake> {
  try {
    await using handle = await open(path, 'r')
    const { mode } = await handle.stat()
    const bytes = await buffer(handle.createReadStream({ end: maxBytes }))
    if (bytes.length <= maxBytes) return { bytes, mode: mode & 0o777 }
    return { message: `${path} is larger than ${maxBytes / 1024} KiB`, fix: 'Check that the path is right' }
  } catch (error) {
    return wordsFor(path, error)
  }
}

/** Reads at most `maxBytes` of UTF-8 text. */
export async function readTextFile(
  path: string,
  maxBytes: number,
): Promise<{ readonly text: string; readonly mode: number } | Mistake> {
  const file = await readFileBytes(path, maxBytes)
  if ('message' in file) return file
  const [first, second] = file.bytes
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)
  if (isUtf16 || file.bytes.includes(0)) return { message: `${path} is UTF-16 text`, fix: 'Save it as UTF-8' }
  if (!isUtf8(file.bytes)) return { message: `${path} is not UTF-8 text`, fix: 'Save it as UTF-8' }
  return { text: file.bytes.toString('utf8'), mode: file.mode }
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

/** Whether the file is on a read-only mount; links are followed. False on systems without /proc. */
export async function isOnReadOnlyMount(path: string): Promise<boolean> {
  try {
    const [real, mounts] = await Promise.all([realpath(path), readFile('/proc/self/mountinfo', 'utf8')])
    return isReadOnlyIn(mounts, real)
  } catch {
    return false
  }
}

/** Like {@link isOnReadOnlyMount}, for the text of a mountinfo file (proc_pid_mountinfo(5)) and a path without links. */
export function isReadOnlyIn(mountinfo: string, path: string): boolean {
  let best = { point: '', isReadOnly: false }
  for (const line of mountinfo.split('\n')) {
    const [, , , , escaped = '', options = ''] = line.split(' ')
    const point = escaped.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8)))
    const holdsPath = path === point || path.startsWith(point.endsWith('/') ? point : `${point}/`)
    // Of two mounts at the same point, the later one hides the earlier one.
    if (!holdsPath || point === '' || point.length < best.point.length) continue
    const [, superOptions = ''] = /^.* - \S+ \S+ (\S+)$/.exec(line) ?? []
    best = { point, isReadOnly: [options, superOptions].some((list) => list.split(',').includes('ro')) }
  }
  return best.isReadOnly
}

/** Checks that the folder of the audit log exists; `folder` is where relative paths start. */
export async function checkAuditFile(
  audit: { readonly file: string } | undefined,
  folder: string,
): Promise<Finding[]> {
  if (audit === undefined) return []
  const file = resolve(folder, audit.file)
  const isFolder = async (path: string) => (await stat(path).catch(() => undefined))?.isDirectory() ?? false
  const finding = (message: string, fix: string): Finding[] => [{ path: ['audit', 'file'], message, fix }]
  if (!(await isFolder(dirname(file))))
    return finding(`the folder ${dirname(file)} does not exist`, 'Create it, or correct the path')
  return (await isFolder(file)) ? finding(`${file} is a folder`, 'Name a file in it') : []
}
