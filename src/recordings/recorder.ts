// Records calls: collects each complete response with its request, and writes them to a folder within a second.
import type { RecordingSettings } from '../config/config.ts'
import type { Call, Send } from '../forward/call.ts'
import { responseWith, type UpstreamResponse } from '../forward/upstream-response.ts'
import { BodyCopy } from './body-copy.ts'
import type { RecordedCompany, RecordedEntry } from './har.ts'
import { type Exchanged, entryOf } from './har-entry.ts'
import { appendEntries } from './har-file.ts'
import { MemberMask } from './masks.ts'

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
/** How much text may wait for a full or slow disk. Further entries are lost, and the log says so. */
const MOST_WAITING_LENGTH = 64 * 1024 * 1024

interface Waiting {
  readonly company: RecordedCompany
  readonly lines: string[]
}

/** Writes entries to the files of one folder. It outlives a reload. */
export class CallRecorder {
  readonly #folder: string
  readonly #deps: RecorderDeps
  #mask: MemberMask
  readonly #waiting = new Map<string, Waiting>()
  #waitingLength = 0
  #timer: NodeJS.Timeout | undefined
  #isFailing = false
  /** Entries are made and files written one after another. */
  #work: Promise<void> = Promise.resolve()

  constructor(folder: string, settings: RecordingSettings, deps: RecorderDeps) {
    this.#folder = folder
    this.#deps = deps
    this.#mask = new MemberMask(settings.redact)
  }

  configure(settings: RecordingSettings): void {
    this.#mask = new MemberMask(settings.redact)
  }

  /** Adds a complete exchange with the copies of its bodies. */
  add(exchanged: Exchanged): void {
    this.#work = this.#work.then(async () => {
      try {
        await this.#record(exchanged)
      } catch (error) {
        this.#deps.warn('A response could not be recorded.', { reqId: exchanged.call.exchange.reqId, error })
      } finally {
        exchanged.requestBody?.release()
        exchanged.responseBody.release()
      }
    })
  }

  /** Writes everything that waits. Resolves once it is on disk, or was logged as lost. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#work = this.#work.then(() => this.#write())
    await this.#work
  }

  async #record(exchanged: Exchanged): Promise<void> {
    const { call } = exchanged
    const { entry, texts } = await entryOf(exchanged, this.#mask)
    const line = JSON.stringify(entry)
    if ([line, ...texts].some(this.#deps.holdsSecret)) {
      this.#deps.warn('A response was not recorded, because it or its request holds a secret.', {
        reqId: call.exchange.reqId,
      })
      return
    }
    if (this.#waitingLength + line.length > MOST_WAITING_LENGTH) {
      throw new Error('too much waits to be written')
    }
    const company = companyOf(call)
    const key = company.company.name
    const waiting = this.#waiting.get(key) ?? { company, lines: [] }
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
    for (const [name, { company, lines }] of [...this.#waiting]) {
      try {
        await appendEntries(this.#folder, company, lines)
        this.#waiting.delete(name)
        this.#waitingLength -= lines.reduce((sum, { length }) => sum + length, 0)
        this.#isFailing = false
      } catch (error) {
        const message = `${lines.length} responses of ${name} could not be written to ${this.#folder}; they wait.`
        if (!this.#isFailing) this.#deps.warn(message, { error })
        this.#isFailing = true
        this.#flushAfter(RETRY_AFTER_MS)
      }
    }
  }
}

function companyOf({ companyName, companyId, upstream }: Call): RecordedCompany {
  return { company: { name: companyName, id: companyId }, environment: upstream.environment }
}

/**
 * Wraps `send` and records its responses once the whole body has passed. A response that breaks off is not recorded.
 */
export function withRecorder(send: Send, recorder: CallRecorder): Send {
  return async (call) => {
    const requestBody = call.body === null ? undefined : new BodyCopy(true)
    call.body?.observe((piece) => requestBody?.add(piece))
    const startedAt = Date.now()
    const sentAt = performance.now()
    try {
      const response = await send(call)
      const waitMs = performance.now() - sentAt
      return recorded(response, {
        isBodiless: hasNoBody(call.method, response.status),
        isComplete: () => call.body === null || call.body.isComplete,
        onWhole: (responseBody) => {
          const receiveMs = performance.now() - sentAt - waitMs
          recorder.add({ call, response, requestBody, responseBody, startedAt, waitMs, receiveMs })
        },
        onLost: () => requestBody?.release(),
      })
    } catch (error) {
      requestBody?.release()
      throw error
    }
  }
}

interface Tap {
  readonly isBodiless: boolean
  /** Whether all of the request's body has been sent. */
  readonly isComplete: () => boolean
  readonly onWhole: (body: BodyCopy) => void
  readonly onLost: () => void
}

/** The response, which reports when all of it has been read. */
function recorded(response: UpstreamResponse, tap: Tap): UpstreamResponse {
  const copy = new BodyCopy(false)
  const end = (isWhole: boolean) => {
    if (isWhole && tap.isComplete()) tap.onWhole(copy)
    else {
      copy.release()
      tap.onLost()
    }
  }
  return responseWith(response, {
    pipe: async (write) => {
      try {
        await response.pipe((chunk) => {
          copy.add(chunk)
          return write(chunk)
        })
      } catch (error) {
        end(false)
        throw error
      }
      end(true)
    },
    read: async (mostBytes) => {
      const body = await response.read(mostBytes).catch((error: unknown) => {
        end(false)
        throw error
      })
      if (body !== undefined) copy.add(body)
      end(body !== undefined)
      return body
    },
    discard: () => {
      end(tap.isBodiless)
      response.discard()
    },
  })
}

function hasNoBody(method: string, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304
}
