// Notices when a file is changed, replaced, removed or created, however an editor or Kubernetes does it.
import { statSync } from 'node:fs'

/**
 * Calls `onChange` once for each change of any of the files, as soon as two checks in a row give the same result.
 * Checks the files themselves instead of listening for events, which get lost when a link to a folder is swapped
 * (Kubernetes secrets), when an editor replaces a file, and on network drives. Does not keep the process alive.
 * @param intervalMs the time between two checks.
 * @returns a function that stops it.
 */
export function watchFiles(files: readonly string[], onChange: () => void, intervalMs = 500): () => void {
  let settled = look(files)
  let last = settled
  const timer = setInterval(() => {
    const now = look(files)
    const isStill = now === last
    last = now
    // A half-finished save (an empty or missing file) is not a change yet. Wait until nothing changes any more.
    if (!isStill || now === settled) return
    settled = now
    onChange()
  }, intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** A text that changes whenever a file is written, replaced, or given other permissions (which changes ctime). */
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
