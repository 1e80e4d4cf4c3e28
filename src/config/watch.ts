// Notices that a file was changed, replaced, removed or created, whichever way an editor or Kubernetes does it.
import { statSync } from 'node:fs'

/** How files are watched. */
export interface WatchOptions {
  /** Time between two looks. Default: 500. */
  readonly intervalMs?: number
}

/**
 * Calls `onChange` once for each change of any of the files, as soon as two looks in a row see the same.
 * Looks at the files themselves and not for events: those get lost when a symlink to a folder is swapped (Kubernetes
 * secrets), when an editor puts a new file in the place of the old one, and on network drives. Keeps no process alive.
 * @returns a function that ends it.
 */
export function watchFiles(
  files: readonly string[],
  onChange: () => void,
  { intervalMs = 500 }: WatchOptions = {},
): () => void {
  let settled = look(files)
  let last = settled
  const timer = setInterval(() => {
    const now = look(files)
    const isStill = now === last
    last = now
    // Half a save (an empty file, a missing one) is not yet a change: wait until nothing moves any more.
    if (!isStill || now === settled) return
    settled = now
    onChange()
  }, intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** A text that differs whenever a file was written, replaced, or given other rights (which ctime tells). */
function look(files: readonly string[]): string {
  return files
    .map((file) => {
      try {
        const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true })
        return [dev, ino, size, mtimeNs, ctimeNs].join()
      } catch (error) {
        return String((error as NodeJS.ErrnoException).code)
      }
    })
    .join(' ')
}
