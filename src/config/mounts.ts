// Finds out whether a file is on a file system that is mounted read-only (Linux).
import { readFile, realpath } from 'node:fs/promises'

/** Whether the file is on a read-only mount; links are followed. False on systems without /proc. */
export async function isOnReadOnlyMount(path: string): Promise<boolean> {
  try {
    const [real, mounts] = await Promise.all([realpath(path), readFile('/proc/self/mountinfo', 'utf8')])
    return isReadOnlyIn(mounts, real)
  } catch {
    return false
  }
}

/**
 * Like {@link isOnReadOnlyMount}, for the text of a mountinfo file (proc_pid_mountinfo(5)) and a path without links.
 */
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
