// Writes the audit file: one JSON line for each write and each refusal, on disk before the caller sees the end of its answer.
import { type FileHandle, open } from 'node:fs/promises'
import type { AuditSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'

/** One request, as it is written to the audit file. Undefined members are left out. */
export interface AuditEntry {
  /** ISO 8601, in UTC: when the request came in. */
  readonly time: string
  readonly reqId: string
  readonly caller?: string | undefined
  readonly company?: string | undefined
  readonly environment?: string | undefined
  readonly method: string
  /** With query values masked. */
  readonly path: string
  /** Null if the caller got no response. */
  readonly status: number | null
  readonly durationMs: number
  /** The proxy's own error code, if it refused the request or broke it off. */
  readonly cause?: string | undefined
}

/** The part of a logger that is used. */
type Log = Record<'info' | 'warn', (fields: object, message: string) => void>

const MODE = 0o600
/** A power cut loses at most this much; `kill -9` loses nothing. */
const SYNC_AFTER_MS = 1_000
const RETRY_AFTER_MS = 1_000
const WARN_AFTER_MS = 60_000
/** Lines of requests that were not held up, kept until the file can be written again. */
const MOST_KEPT = 1_000
/** One write to the file, in characters. */
const LONGEST_BATCH = 64 * 1024

/** Opens the audit file for appending. Throws the error of the file system if it can't be opened. */
export async function openAudit({ file }: Pick<AuditSettings, 'file'>, log: Log): Promise<Audit> {
  const audit = new Audit(file, log)
  await audit.open()
  return audit
}

export class Audit {
  readonly #file: string
  readonly #log: Log
  #handle: FileHandle | undefined
  /** The file ends in the middle of a line, which the next write has to complete first. */
  #isTorn = false
  /** Whether the file system tells by `nlink` that a file was deleted. */
  #countsLinks = false
  #waiting: ({ readonly line: string } & PromiseWithResolvers<void>)[] = []
  #kept: string[] = []
  #lost = 0
  /** A queue, so that only one operation on the file runs at a time. */
  #work: Promise<void> = Promise.resolve()
  #isScheduled = false
  #failure: unknown
  #warnedAt = Number.NEGATIVE_INFINITY
  #retry: NodeJS.Timeout | undefined
  #sync: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  /**
   * Resolves when the line has been handed to the operating system, so that `kill -9` can't lose it. Rejects with
   * `audit_unavailable` if it can't be written: break off the answer to a write, and let a read go on.
   */
  record(entry: AuditEntry): Promise<void> {
    const written = Promise.withResolvers<void>()
    this.#waiting.push({ line: `${JSON.stringify(entry)}\n`, ...written })
    if (!this.#isScheduled) {
      this.#isScheduled = true
      // All lines of one turn of the event loop, and those that came during the write before, go together.
      setImmediate(() => this.#next(() => this.#flush()))
    }
    return written.promise
  }

  /** Throws `audit_unavailable` while the file can't be written. Call it before a write is forwarded. */
  assertWritable(): void {
    if (this.#failure !== undefined) throw unavailable(this.#failure)
  }

  /** Reopens the file, after a log rotation (SIGHUP). */
  reopen(): Promise<void> {
    return this.#next(async () => {
      await this.#flush()
      await this.#tryAgain()
    })
  }

  /** Writes what waits, also what could not be written before, and closes the file. */
  close(): Promise<void> {
    return this.#next(async () => {
      await this.#flush()
      if (this.#kept.length > 0) await this.#tryAgain()
      this.#isClosed = true
      if (this.#kept.length > 0) {
        const lines = this.#kept.length + this.#lost
        this.#log.warn(
          { file: this.#file, lines },
          'Lines of the audit file are lost: it was closed before it could be written.',
        )
      }
      clearTimeout(this.#retry)
      clearTimeout(this.#sync)
      await this.#handle?.datasync().catch(() => {})
      await this.#closeHandle()
    })
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work)
    return this.#work
  }

  async open(): Promise<void> {
    const handle = await open(this.#file, 'a+', MODE)
    try {
      const stat = await handle.stat()
      this.#countsLinks = stat.isFile() && stat.nlink > 0
      if (stat.isFile()) {
        if ((stat.mode & 0o777) !== MODE) await handle.chmod(MODE)
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(1), 0, 1, Math.max(0, stat.size - 1))
        this.#isTorn = bytesRead === 1 && buffer[0] !== 0x0a
      }
    } catch (error) {
      await handle.close()
      throw error
    }
    this.#handle = handle
  }

  async #closeHandle(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => {})
  }

  async #flush(): Promise<void> {
    this.#isScheduled = false
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch()
      const lines = batch.map(({ line }) => line)
      try {
        await this.#write(lines)
        for (const { resolve } of batch) resolve()
      } catch (error) {
        this.#fail(error)
        this.#kept.push(...lines)
        this.#lost += this.#kept.splice(0, this.#kept.length - MOST_KEPT).length
        for (const { reject } of batch) reject(unavailable(error))
      }
    }
  }

  #takeBatch() {
    let length = 0
    const end = this.#waiting.findIndex(({ line }) => {
      length += line.length
      return length > LONGEST_BATCH
    })
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : Math.max(1, end))
  }

  /** If it throws, `lines` are those that are not in the file, or not as a whole. */
  async #write(lines: string[]): Promise<void> {
    const handle = this.#handle
    if (handle === undefined) throw this.#failure ?? new Error('the audit file is closed')
    await this.#append(handle, lines)
    if (!this.#countsLinks || (await handle.stat()).nlink > 0) return
    // What is written to a deleted file is lost. A file that was only moved is written to until it is reopened.
    await this.#closeHandle()
    await this.open()
    this.#log.warn({ file: this.#file }, 'The audit file was deleted while it was open: a new one begins.')
    await this.#append(this.#handle as FileHandle, lines)
  }

  async #append(handle: FileHandle, lines: string[]): Promise<void> {
    const text = lines.join('')
    const bytes = Buffer.from(this.#isTorn ? `\n${text}` : text)
    const start = bytes.length - Buffer.byteLength(text)
    for (let at = 0; at < bytes.length; ) {
      try {
        const { bytesWritten } = await handle.write(bytes, at)
        at += bytesWritten
      } catch (error) {
        // The end of each line is the only line feed in it. If that alone is missing, the next write begins with it.
        lines.splice(0, bytes.toString('latin1', start, at + 1).split('\n').length - 1)
        throw error
      }
      this.#isTorn = bytes[at - 1] !== 0x0a
    }
    this.#sync ??= setTimeout(() => {
      this.#sync = undefined
      // If the error persists, the next write reports it.
      this.#handle?.datasync().catch(() => {})
    }, SYNC_AFTER_MS).unref()
  }

  #fail(error: unknown): void {
    this.#failure = error
    const now = performance.now()
    if (now - this.#warnedAt >= WARN_AFTER_MS) {
      this.#warnedAt = now
      this.#log.warn({ file: this.#file, error }, 'The audit file can’t be written: writes are refused.')
    }
    if (this.#isClosed) return
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      void this.#next(() => this.#tryAgain())
    }, RETRY_AFTER_MS).unref()
  }

  /** Reopens the file and writes the lines that were kept. */
  async #tryAgain(): Promise<void> {
    if (this.#isClosed) return
    await this.#closeHandle()
    try {
      await this.open()
      await this.#write(this.#kept)
    } catch (error) {
      this.#fail(error)
      return
    }
    if (this.#failure !== undefined) {
      const fields = { file: this.#file, late: this.#kept.length, lost: this.#lost }
      this.#log.info(fields, 'The audit file can be written again.')
    }
    this.#kept = []
    this.#lost = 0
    this.#failure = undefined
    this.#warnedAt = Number.NEGATIVE_INFINITY
  }
}

function unavailable(cause: unknown): ProxyError {
  return new ProxyError('audit_unavailable', 'The audit file can’t be written, so no write is let through.', {
    cause,
    retryAfterSeconds: 1,
  })
}
