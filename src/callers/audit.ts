// Writes the audit file: one JSON line for each write and each refusal, on disk before the caller sees the end of its answer.
import { type FileHandle, open } from 'node:fs/promises'
import type { AuditSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { printableLines } from '../observe/mask.ts'

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
/** If the disk does not answer for this long, the file counts as one that can't be written. */
const PATIENCE_MS = 3_000
/** The memory that lines may take which wait for the disk. More of them, and it counts as one that does not answer. */
const MOST_WAITING_BYTES = 64 * 1024 * 1024
/** What waits with a line, in memory. */
const OVERHEAD_BYTES = 512
/** Lines of requests that were not held up, kept until the file can be written again. */
const MOST_KEPT = 1_000
const MOST_KEPT_CHARACTERS = 4 * 1024 * 1024
/** One write to the file, in characters. */
const LONGEST_BATCH = 64 * 1024

/** Opens the audit file for appending. Throws the error of the file system if it can't be opened. */
export async function openAudit({ file }: Pick<AuditSettings, 'file'>, log: Log): Promise<Audit> {
  const audit = new Audit(file, log)
  await audit.open().catch((error: NodeJS.ErrnoException) => {
    const { code, syscall, message } = error
    const detail = `audit.file cannot be opened: ${message}. Correct the path, or the permissions of the file and its folder`
    throw Object.assign(new Error(detail, { cause: error }), { code, syscall })
  })
  return audit
}

type Waiting = PromiseWithResolvers<void> & { readonly line: string }

export class Audit {
  readonly #file: string
  readonly #log: Log
  #handle: FileHandle | undefined
  /** The file ends in the middle of a line, which the next write has to complete first. */
  #isTorn = false
  /** Whether the file system tells by `nlink` that a file was deleted. */
  #countsLinks = false
  #waiting: Waiting[] = []
  #waitingBytes = 0
  /** The batch that is being written. */
  #writing: Waiting[] = []
  #kept: string[] = []
  #late = 0
  #lost = 0
  /** A queue, so that only one operation on the file runs at a time. */
  #work: Promise<void> = Promise.resolve()
  /** Of the operation that runs. */
  #patience: NodeJS.Timeout | undefined
  /** The operation that runs takes too long. Nothing else can be begun: each would occupy a thread of Node's. */
  #isStuck = false
  #isScheduled = false
  #failure: unknown
  #warnedAt = Number.NEGATIVE_INFINITY
  #retry: NodeJS.Timeout | undefined
  #sync: NodeJS.Timeout | undefined
  #isSynced = true
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
    const line = `${printableLines(JSON.stringify(entry))}\n`
    this.#waiting.push({ line, ...written })
    this.#waitingBytes += line.length + OVERHEAD_BYTES
    if (this.#isStuck || this.#waitingBytes > MOST_WAITING_BYTES) this.#giveUp()
    else if (!this.#isScheduled) {
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

  /** Writes what waits, also what could not be written before, and closes the file. It waits for no disk that does not answer. */
  async close(): Promise<void> {
    const closed = this.#next(async () => {
      await this.#flush()
      if (this.#kept.length > 0) await this.#tryAgain()
      this.#isClosed = true
      clearTimeout(this.#retry)
      clearTimeout(this.#sync)
      await this.#handle?.datasync().catch(() => {})
      await this.#closeHandle()
    })
    const tooLong = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS).unref())
    await Promise.race([closed, tooLong])
    this.#isClosed = true
    const lines = this.#writing.length + this.#waiting.length + this.#kept.length + this.#lost
    if (lines === 0) return
    const message = 'Lines of the audit file are lost: it was closed before it could be written.'
    this.#log.warn({ file: this.#file, lines }, message)
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(async () => {
      this.#watch()
      await work()
      clearTimeout(this.#patience)
    })
    return this.#work
  }

  #watch(): void {
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => this.#giveUp(), PATIENCE_MS)
  }

  /** Treats what waits for a disk that does not answer like what can't be written, until it answers. */
  #giveUp(): void {
    const error = new Error('the disk does not answer')
    const refused = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    const lines = refused.map(({ line }) => line)
    if (!this.#isStuck) {
      void this.#next(() => this.#tryAgain())
      this.#isStuck = true
      // Whether those that are being written are in the file is not known yet.
      refused.unshift(...this.#writing)
    }
    this.#fail(error, lines)
    for (const { reject } of refused) reject(unavailable(error))
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
    for (; this.#waiting.length > 0; this.#writing = []) {
      this.#writing = this.#takeBatch()
      this.#watch()
      const lines = this.#writing.map(({ line }) => line)
      try {
        await this.#write(lines)
        for (const { resolve } of this.#writing) resolve()
      } catch (error) {
        this.#fail(error, lines)
        for (const { reject } of this.#writing) reject(unavailable(error))
      }
    }
  }

  #takeBatch() {
    let length = 0
    const end = this.#waiting.findIndex(({ line }) => {
      length += line.length
      return length > LONGEST_BATCH
    })
    const batch = this.#waiting.splice(0, end === -1 ? this.#waiting.length : Math.max(1, end))
    for (const { line } of batch) this.#waitingBytes -= line.length + OVERHEAD_BYTES
    return batch
  }

  /** If it throws, `lines` are those that are not in the file, or not as a whole. */
  async #write(lines: string[]): Promise<void> {
    const handle = this.#handle
    if (handle === undefined) throw this.#failure ?? new Error('the audit file is closed')
    await this.#append(handle, lines)
    // If it can't be told, the lines are in the file as far as anyone knows.
    const stat = this.#countsLinks ? await handle.stat().catch(() => undefined) : undefined
    if (stat?.nlink !== 0) return
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
    this.#isSynced = false
    this.#syncSoon()
  }

  /** One at a time: with a disk that does not answer, each would occupy a thread of Node's. */
  #syncSoon(): void {
    this.#sync ??= setTimeout(async () => {
      this.#isSynced = true
      // If the error persists, the next write reports it.
      await this.#handle?.datasync().catch(() => {})
      this.#sync = undefined
      if (!this.#isSynced) this.#syncSoon()
    }, SYNC_AFTER_MS)
    this.#sync.unref()
  }

  /** Keeps lines that are not in the file. */
  #fail(error: unknown, lines: readonly string[]): void {
    this.#failure = error
    this.#kept = this.#kept.concat(lines)
    let characters = 0
    const last = this.#kept.findLastIndex((line, at) => {
      characters += line.length
      return characters > MOST_KEPT_CHARACTERS || this.#kept.length - at > MOST_KEPT
    })
    this.#lost += this.#kept.splice(0, last + 1).length
    const now = performance.now()
    if (now - this.#warnedAt >= WARN_AFTER_MS) {
      this.#warnedAt = now
      this.#log.warn({ file: this.#file, error }, 'The audit file can’t be written: writes are refused.')
    }
    if (this.#isClosed || this.#isStuck) return
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      void this.#next(() => this.#tryAgain())
    }, RETRY_AFTER_MS).unref()
  }

  /** Reopens the file and writes the lines that were kept. */
  async #tryAgain(): Promise<void> {
    if (this.#isClosed) return
    this.#isStuck = false
    const kept = this.#kept.splice(0)
    const count = kept.length
    // Until they are written.
    this.#lost += count
    await this.#closeHandle()
    try {
      await this.open()
      await this.#write(kept)
    } catch (error) {
      this.#lost -= count
      this.#fail(error, [...kept, ...this.#kept.splice(0)])
      return
    }
    this.#lost -= count
    this.#late += count
    // What came meanwhile is written by the next attempt, which waits already.
    if (this.#isStuck) return
    if (this.#failure !== undefined) {
      const fields = { file: this.#file, late: this.#late, lost: this.#lost }
      this.#log.info(fields, 'The audit file can be written again.')
    }
    this.#late = 0
    this.#lost = 0
    this.#failure = undefined
    this.#warnedAt = Number.NEGATIVE_INFINITY
  }
}

function unavailable(cause: unknown): ProxyError {
  return new ProxyError('audit_unavailable', 'The audit file can’t be written, so writes are refused.', {
    cause,
    retryAfterSeconds: 1,
  })
}
