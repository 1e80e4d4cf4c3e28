// Writes the log in batches: one write for all lines of a moment, and none lost when the process ends.
import type { DestinationStream } from 'pino'

/** A line waits no longer than this. */
const LONGEST_WAIT_MS = 100
/** Nor do more characters than this. */
const MOST_WAITING = 64 * 1024

export interface BatchedStream extends DestinationStream {
  readonly isTTY: boolean
  /** Writes what waits; pino calls it for a fatal line. */
  flushSync(): void
}

/** Gathers lines for `output`; on terminals, where people read along, there is nothing to gather. */
export function batched(output: DestinationStream & { isTTY?: boolean }): BatchedStream {
  let waiting = ''
  let timer: NodeJS.Timeout | undefined
  const flushSync = () => {
    clearTimeout(timer)
    timer = undefined
    const lines = waiting
    waiting = ''
    if (lines !== '') output.write(lines)
  }
  // Standard output is written synchronously to files, pipes (but on Windows) and terminals, so also at the very end.
  process.on('exit', flushSync)
  return {
    isTTY: output.isTTY === true,
    write: (line) => {
      waiting += line
      if (waiting.length >= MOST_WAITING || output.isTTY) flushSync()
      else timer ??= setTimeout(flushSync, LONGEST_WAIT_MS).unref()
    },
    flushSync,
  }
}
