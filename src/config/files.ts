// Finds, reads and watches the configuration's files, and explains failures.
import { isUtf8 } from 'node:buffer'
import { statSync } from 'node:fs'
import { open, readFile, realpath, stat } from 'node:fs/promises'
import { homedir as osHomedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Finding, Mistake } from './problems.ts'

/** What the search depends on. */
export interface SearchContext {
  /** The value of `--config`. */
  readonly flag: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly homedir?: string | undefined
}

/** The absolute path of a file to read; `namedBy` is the flag or variable that names it. */
export type FoundFile = Readonly<{ path: string; namedBy: string | undefined }>

/** The home folder; undefined for users without one, such as systemd's dynamic users and unknown ids in containers. */
export function homeFolder(ask: () => string = osHomedir): string | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}

/** The absolute paths of the usual places, in the order in which they are tried. */
export function usualPlaces(context: SearchContext): string[] {
  const { env, cwd, homedir = homeFolder() } = context
  const places = [join(cwd, 'procore-proxy.yaml'), join(cwd, 'config', 'procore-proxy.yaml')]
  if (process.platform === 'win32') {
    if (env['APPDATA']) places.push(join(env['APPDATA'], 'procore-proxy', 'config.yaml'))
    return places
  }
  // XDG Base Directory Specification: a relative path is invalid and must be ignored.
  const xdg = env['XDG_CONFIG_HOME']
  const base = xdg && isAbsolute(xdg) ? xdg : homedir && join(homedir, '.config')
  if (base) places.push(join(base, 'procore-proxy', 'config.yaml'))
  return [...places, '/etc/procore-proxy/config.yaml']
}

/** The file to read; undefined if none is named and none exists. */
export function findConfigFile(context: SearchContext): FoundFile | undefined {
  const { flag, env, cwd } = context
  if (flag) return { path: resolve(cwd, flag), namedBy: '--config' }
  const named = env['PROCORE_PROXY_CONFIG']
  if (named) return { path: resolve(cwd, named), namedBy: 'PROCORE_PROXY_CONFIG' }
  const path = usualPlaces(context).find(exists)
  return path === undefined ? undefined : { path, namedBy: undefined }
}

/** A file without permission to look at it exists too: reading it then fails, and no other file is used instead. */
function exists(path: string): boolean {
  try {
    return !statSync(path).isDirectory()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code !== 'ENOENT' && code !== 'ENOTDIR'
  }
}

type Read<Key extends string, Value> = Readonly<Record<Key, Value> & { mode: number }>

/** Reads at most `maxBytes`, and the permission bits of the same open file (the lowest nine, e.g. `0o600`). */
export async function readFileBytes(
  path: string,
  maxBytes: number,
): Promise<Read<'bytes', Buffer> | Mistake> {
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
export async function readTextFile(path: string, maxBytes: number): Promise<Read<'text', string> | Mistake> {
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
  const { code = 'unknown error' } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return { message: `${path} does not exist`, fix: 'Create it, or correct the path' }
  if (code === 'EISDIR') return { message: `${path} is a folder`, fix: 'Name a file' }
  if (code !== 'EACCES' && code !== 'EPERM')
    return { message: `${path} can't be read (${code})`, fix: 'Check the file and its disk' }
  const message = `this user has no permission to read ${path}`
  return { message, fix: `Make this user the owner, then run ${chmod(path)}` }
}

/** The POSIX shell command that makes a file accessible to its owner only. */
export function chmod(path: string): string {
  return `chmod 600 ${/^[\w./@:+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`}`
}

/** Whether anyone but the owner has one of these permissions for the file. Windows does not tell. */
export function isOpenToOthers(mode: number, permissions = 0o077): boolean {
  return process.platform !== 'win32' && (mode & permissions) !== 0
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
  audit: { file: string } | undefined,
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

/**
 * Calls `onChange` once for each change of any of the files, as soon as two looks in a row give the same result: a
 * half-finished save (an empty or missing file) is not a change yet. Looks at the files themselves instead of listening
 * for events, which get lost when a link to a folder is swapped (Kubernetes secrets), when an editor replaces a file, and
 * on network drives. Does not keep the process alive.
 * @param readAtMs when reading the files began (Unix time): what has changed since then counts as a change too.
 * @param intervalMs the time between two looks.
 * @returns a function that stops it.
 */
export function watchFiles(
  files: readonly string[],
  onChange: () => void,
  readAtMs: number,
  intervalMs = 500,
): () => void {
  let timer: NodeJS.Timeout | undefined
  let isStopped = false
  let settled: string | undefined
  let last: string | undefined
  const lookAgain = async () => {
    const { text, changedAtMs } = await look(files)
    if (isStopped) return
    settled ??= changedAtMs > readAtMs ? '' : text
    const isStill = text === last
    last = text
    timer = setTimeout(lookAgain, intervalMs).unref()
    if (!isStill || text === settled) return
    settled = text
    onChange()
  }
  void lookAgain()
  return () => {
    isStopped = true
    clearTimeout(timer)
  }
}

/** A text that changes whenever a file is written, replaced, or given other permissions, and the time of the last change. */
async function look(files: readonly string[]) {
  let changedAtMs = 0
  const texts: string[] = []
  // One at a time: on a network drive that hangs, each would occupy a thread of Node's.
  for (const file of files) {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = await stat(file, { bigint: true })
      changedAtMs = Math.max(changedAtMs, Number(ctimeMs))
      texts.push([dev, ino, size, mtimeNs, ctimeNs].join())
    } catch (error) {
      texts.push(String((error as NodeJS.ErrnoException).code))
    }
  }
  return { text: texts.join(' '), changedAtMs }
}
