// Records calls: collects each complete response with its request, and writes them to a folder within a second.
import { responseWith, type Send } from '../forward/call.ts'
import { BodyCopy, type Exchanged, entryOf } from './entry.ts'
import { appendEntries, type RecordedCompany, type RecordedEntry } from './har-file.ts'
import type { MemberMask } from './masks.ts'

export interface RecorderDeps {
  /** Whether a known secret (of the configuration, or a token) is anywhere in the text. */
  readonly holdsSecret: (text: string) => boolean
  readonly warn: (message: string, details: { readonly reqId?: string; readonly error?: unknown }) => void
  /** Called with each recorded entry, so that it can be replayed immediately. */
  readonly onRecorded?: (company: RecordedCompany, entry: RecordedEntry) => void
}

/** The longest that an entry waits before it is written. */
const WRITE_AFTER_MS = 500
/** After a failed write, the disk is tried again after this time. */
const RETRY_AFTER_MS = 5_000
/** How many responses may wait for their entries to be made. Further ones are not recorded, and the log says so. */
const MOST_UNMADE = 5_000
/** How much text may wait for a full or slow disk. Further entries are lost, and the log says so. */
const MOST_WAITING_LENGTH = 64 * 1024 * 1024

/** The entries of a company that are not on disk yet, each a line of JSON. */
interface Waiting {
  readonly company: RecordedCompany
  readonly lines: string[]
  /** Why they could not be written; the log has said so already. */
  failure: unknown
}

/** Writes entries to the files of one folder. It outlives a reload. */
export class CallRecorder {
  readonly #folder: string
  readonly #deps: RecorderDeps
  readonly #mask: MemberMask
  /** By the company's id and name. */
  readonly #waiting = new Map<string, Waiting>()
  #waitingLength = 0
  #lastStart = 0
  #timer: NodeJS.Timeout | undefined
  /** Entries are made one after another. */
  #making: Promise<void> = Promise.resolve()
  #unmade = 0
  /** Files are written one after another. Entries are made meanwhile, so that what waits for a slow disk is bounded. */
  #writing: Promise<void> = Promise.resolve()

  constructor(folder: string, mask: MemberMask, deps: RecorderDeps) {
    this.#folder = folder
    this.#deps = deps
    this.#mask = mask
  }

  /** The time by the wall clock, but later than the time before, so that it tells the order of equal requests. */
  startTime(): number {
    this.#lastStart = Math.max(Date.now(), this.#lastStart + 1)
    return this.#lastStart
  }

  /** Adds a complete exchange with the copies of its bodies. */
  add(exchanged: Exchanged): void {
    const failed = (error: unknown) =>
      this.#deps.warn('A response could not be recorded.', { reqId: exchanged.call.exchange.reqId, error })
    if (this.#unmade === MOST_UNMADE) {
      release(exchanged)
      failed(new Error('too many wait to be recorded'))
      return
    }
    this.#unmade++
    this.#making = this.#making.then(async () => {
      await this.#record(exchanged).catch(failed)
      release(exchanged)
      this.#unmade--
    })
  }

  /** Writes everything that waits for the last time, and says what is lost because it cannot be written. */
  async close(): Promise<void> {
    await this.flush()
    clearTimeout(this.#timer)
    for (const { company, lines, failure: error } of this.#waiting.values()) {
      const message = `${lines.length} responses of ${company.company.name} are lost: they could not be written to ${this.#folder}.`
      this.#deps.warn(message, { error })
    }
  }

  /** Writes everything that waits. What cannot be written is tried again later. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#making
    this.#writing = this.#writing.then(() => this.#write())
    await this.#writing
  }

  async #record(exchanged: Exchanged): Promise<void> {
    const { exchange, companyName: name, companyId: id, company: settings, upstream } = exchanged.call
    const { entry, texts } = await entryOf(exchanged, this.#mask)
    const line = JSON.stringify(entry)
    if ([line, ...texts].some(this.#deps.holdsSecret)) {
      const { reqId } = exchange
      this.#deps.warn('A response was not recorded, because it or its request contains a secret.', { reqId })
      return
    }
    if (this.#waitingLength + line.length > MOST_WAITING_LENGTH) {
      throw new Error('too much waits to be written')
    }
    const company: RecordedCompany = {
      company: { name, id, ...(settings.isDefault && { default: true }) },
      environment: upstream.environment,
    }
    const key = `${id} ${name}`
    const waiting = this.#waiting.get(key) ?? { company, lines: [], failure: undefined }
    waiting.lines.push(line)
    this.#waiting.set(key, waiting)
    this.#waitingLength += line.length
    this.#deps.onRecorded?.(company, entry)
    this.#flushAfter(WRITE_AFTER_MS)
  }

  #flushAfter(ms: number): void {
    this.#timer ??= setTimeout(() => void this.flush(), ms).unref()
  }

  async #write(): Promise<void> {
    for (const [key, waiting] of [...this.#waiting]) {
      const { company } = waiting
      const lines = [...waiting.lines]
      try {
        await appendEntries(this.#folder, company, lines)
        this.#waitingLength -= lines.reduce((sum, { length }) => sum + length, 0)
        // More may have come in the meantime.
        waiting.lines.splice(0, lines.length)
        waiting.failure = undefined
        if (waiting.lines.length === 0) this.#waiting.delete(key)
      } catch (error) {
        const message = `${lines.length} responses of ${company.company.name} could not be written to ${this.#folder}; they wait.`
        if (waiting.failure === undefined) this.#deps.warn(message, { error })
        waiting.failure = error
        this.#flushAfter(RETRY_AFTER_MS)
      }
    }
  }
}

/** Wraps `send` and records its responses once the whole body has passed. A response that breaks off is not recorded. */
export function withRecorder(send: Send, recorder: CallRecorder): Send {
  return async (call) => {
    const bodies = { requestBody: new BodyCopy(call.body !== null), responseBody: new BodyCopy(false) }
    call.body?.observe((piece) => piece && bodies.requestBody.add(piece))
    const startedAt = recorder.startTime()
    const sentAt = performance.now()
    const releaseAndThrow = (error: unknown): never => {
      release(bodies)
      throw error
    }
    const response = await send(call).catch(releaseAndThrow)
    const waitMs = performance.now() - sentAt
    let isEnded = false
    const ended = () => {
      isEnded = true
      const receiveMs = performance.now() - sentAt - waitMs
      // A response that came before the end of the request's body does not answer that request.
      if (call.body !== null && !call.body.isComplete) release(bodies)
      else recorder.add({ call, response, ...bodies, startedAt, waitMs, receiveMs })
    }
    return responseWith(response, {
      whole: (most) => {
        const body = response.whole?.(most)
        if (body === undefined) return undefined
        bodies.responseBody.add(body)
        ended()
        return body
      },
      pipe: async (write) => {
        const copy = (chunk: Buffer) => {
          bodies.responseBody.add(chunk)
          return write(chunk)
        }
        await response.pipe(copy).catch(releaseAndThrow)
        ended()
      },
      abort: (reason) => {
        // Nothing more of it is read. What ended before is being recorded.
        if (!isEnded) release(bodies)
        response.abort(reason)
      },
    })
  }
}

function release({ requestBody, responseBody }: Pick<Exchanged, 'requestBody' | 'responseBody'>): void {
  requestBody.release()
  responseBody.release()
}
