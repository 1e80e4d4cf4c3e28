// Writes log lines in batches, in bounded memory even if the reader is slow or gone, or the disk is full.
import type { Writable } from 'node:stream'

/** The longest that a line waits for others. */
const LONGEST_WAIT_MS = 100
/** A batch is written once it has this many characters. */
const BATCH_CHARACTERS = 64 * 1024
/** How many bytes may wait for a slow reader. Further lines are lost. */
const MOST_WAITING_BYTES = 1024 * 1024

/** The part of `process.stdout` that is used. */
export type LogStream = Pick<Writable, 'write' | 'writableLength' | 'on'> & { readonly isTTY?: boolean }

/**
 * A destination for pino that never ends the process and never fills its memory. pino's own destination waits forever
 * at exit if a pipe is not read or the disk is full.
 */
export class LogOutput {
  readonly #stream: LogStream
  #lines: string[] = []
  #characters = 0
  #timer: NodeJS.Timeout | undefined
  #lost = 0
  /** How many of the lost lines have been reported. */
  #reported = 0
  /** The last write failed, so that the output may end in the middle of a line. */
  #isTorn = false
  /** Called with the number of lines that were lost, once lines can be written again. */
  onLost: (lines: number) => void = () => {}

  constructor(stream: LogStream) {
    this.#stream = stream
    // Without a listener, the error of a closed pipe or a full disk would end the process.
    stream.on('error', () => {})
    process.on('exit', () => this.flushSync())
  }

  get isTTY(): boolean {
    return this.#stream.isTTY === true
  }

  /** Lines that could not be written since the start. */
  get lost(): number {
    return this.#lost
  }

  write(line: string): void {
    this.#lines.push(line)
    this.#characters += line.length
    if (this.isTTY || this.#characters >= BATCH_CHARACTERS) this.flushSync()
    else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.flushSync(), LONGEST_WAIT_MS)
      this.#timer.unref()
    }
  }

  /** Writes everything that waits. pino also calls this for a fatal line. */
  flushSync(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const lines = this.#lines
    if (lines.length === 0) return
    this.#lines = []
    this.#characters = 0
    if (this.#stream.writableLength > MOST_WAITING_BYTES) {
      this.#lost += lines.length
      return
    }
    const text = (this.#isTorn ? '\n' : '') + lines.join('')
    this.#stream.write(text, (error) => {
      this.#isTorn = error != null
      if (error) this.#lost += lines.length
      else if (this.#lost > this.#reported) this.#report()
    })
  }

  /** Resolves once the reader has taken everything, or after `ms`. */
  async finish(ms: number): Promise<void> {
    this.flushSync()
    const end = performance.now() + ms
    while (this.#stream.writableLength > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  #report(): void {
    const lines = this.#lost - this.#reported
    this.#reported = this.#lost
    this.onLost(lines)
  }
}
