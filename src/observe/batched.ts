// Writes the log in batches: one write for all lines of a moment, and none lost when the process ends.
import type { DestinationStream } from 'pino'

/** A line waits no longer than this. */
const LONGEST_WAIT_MS = 100
/** Nor do more bytes than this. */
const MOST_WAITING = 64 * 1024

export interface BatchedStream extends DestinationStream {
  readonly isTTY: boolean
  /** Writes what waits; pino calls it for a fatal line. */
  flushSync(): void
}

interface Output {
  write(lines: string | Buffer): unknown
  readonly isTTY?: boolean
}

/** Gathers lines for `output`; on terminals, where people read along, there is nothing to gather. */
export function batched(output: Output): BatchedStream {
  // Bytes, not a growing string: of that V8 would keep the many parts that each line was made of until it is written.
  const waiting = output.isTTY ? Buffer.alloc(0) : Buffer.allocUnsafeSlow(MOST_WAITING)
  let bytes = 0
  let timer: NodeJS.Timeout | undefined
  const flushSync = () => {
    clearTimeout(timer)
    timer = undefined
    if (bytes === 0) return
    const lines = Buffer.from(waiting.subarray(0, bytes))
    bytes = 0
    output.write(lines)
  }
  // Standard output is written synchronously to files, pipes (but on Windows) and terminals, so also at the very end.
  process.on('exit', flushSync)
  return {
    isTTY: output.isTTY === true,
    write: (line) => {
      // No character of UTF-16 takes more than three bytes.
      const most = line.length * 3
      if (bytes + most > waiting.length) flushSync()
      if (most > waiting.length) output.write(line)
      else {
        bytes += waiting.write(line, bytes)
        timer ??= setTimeout(flushSync, LONGEST_WAIT_MS).unref()
      }
    },
    flushSync,
  }
}
