// Opens a folder of recordings to record, to replay, or both. Of several equal requests the nth gets the nth response.
import { existsSync } from 'node:fs'
import { Readable } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import type { Environment, RecordingSettings } from '../config/config.ts'
import { BUILT_IN_ENVIRONMENTS } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { type Call, type Send, storedResponse, type UpstreamResponse } from '../forward/call.ts'
import { bodyStalled, RequestBody } from '../forward/request-body.ts'
import { BodyCopy, matchKey, matchOfCall, matchOfEntry, type RequestMatch } from './entry.ts'
import {
  bytesOf,
  folderError,
  makeFolder,
  type RecordedCompany,
  type RecordedEntry,
  RecordingError,
  readFolder,
  type StoredEntry,
  stored,
} from './har-file.ts'
import { MemberMask } from './masks.ts'
import { CallRecorder, type RecorderDeps, withRecorder } from './recorder.ts'

/** What the command line asks for. */
export interface RecordingMode {
  readonly mode: 'record' | 'replay' | 'replay-else-record'
  /** The folder of the recordings. It is created if it is missing, unless it is only replayed. */
  readonly folder: string
}

/** Calls that are recorded or answered from recordings. They outlive a reload. */
export type Recordings = Awaited<ReturnType<typeof openSession>>

/**
 * Opens the folder; `deps.send` sends what is not replayed. Throws a RecordingError for a file that is not a recording,
 * and for a folder that cannot be read or made.
 */
export async function openSession(
  { mode, folder }: RecordingMode,
  { redact }: RecordingSettings,
  { send, ...deps }: Omit<RecorderDeps, 'onRecorded'> & { readonly send: Send },
) {
  const mask = new MemberMask(redact)
  const answers = new RecordedAnswers(mask)
  // What a folder already holds can be replayed although nothing can be added.
  if (mode === 'record' || (mode === 'replay-else-record' && !existsSync(folder))) await makeFolder(folder)
  if (mode !== 'record') await answers.addFolder(folder)
  const recorder = new CallRecorder(folder, mask, {
    ...deps,
    // What is only recorded is not held in memory.
    ...(mode !== 'record' && { onRecorded: (company, entry) => answers.add(company, stored(entry)) }),
  })
  const sends = {
    record: withRecorder(send, recorder),
    replay: (call: Call) => answers.answer(call),
    'replay-else-record': replayElseRecord(answers, send, recorder),
  }
  return {
    send: sends[mode],
    /** False if nothing is ever sent to Procore. */
    needsTokens: mode !== 'replay',
    configure: (next: RecordingSettings) => mask.configure(next.redact),
    /** Writes everything that has not been written yet, or logs it as lost. */
    close: () => recorder.close(),
  }
}

/** Answers from recordings. A missing call is sent and recorded. */
export function replayElseRecord(answers: RecordedAnswers, send: Send, recorder: CallRecorder): Send {
  const recording = withRecorder(send, recorder)
  return async (call) => {
    const copy = new BodyCopy(true)
    try {
      const rest = call.body === null ? undefined : await readStart(call, call.body, copy)
      try {
        // A body that is too long to hold is streamed to Procore, so its digest is known too late.
        if (rest === undefined) return await answers.answer(call, copy)
      } catch (error) {
        if (!(error instanceof ProxyError && error.code === 'recording_missing')) throw error
      }
      if (call.body === null) return await recording(call)
      const whole = Readable.from(joined(copy.bytes as Buffer, rest), { objectMode: false })
      return await recording({ ...call, body: new RequestBody(whole) })
    } finally {
      copy.release()
    }
  }
}

/** Copies a body, up to the length that can be held; returns the rest of a longer one. */
async function readStart(call: Call, body: RequestBody, copy: BodyCopy) {
  call.onSending?.()
  const pieces = piecesOf(call, body)
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return undefined
    if (!copy.hasRoom(value)) return joined(value, pieces)
    copy.add(value)
  }
}

async function* joined(start: Buffer, rest: AsyncIterable<Buffer> | undefined): AsyncGenerator<Buffer> {
  if (start.length > 0) yield start
  if (rest !== undefined) yield* rest
}

/** The pieces of a body, which is destroyed if none comes for too long: at replay there is no attempt that notices it. */
async function* piecesOf({ upstream }: Call, body: RequestBody): AsyncGenerator<Buffer, undefined> {
  const iterator: AsyncIterableIterator<Buffer> = body[Symbol.asyncIterator]()
  for (;;) {
    const timer = setTimeout(() => body.destroy(bodyStalled()), upstream.settings.responseTimeoutMs)
    const { done, value } = await iterator.next().finally(() => clearTimeout(timer))
    if (done) return
    yield value
  }
}

// --- the answers -------------------------------------------------------------------------------------------------------

interface Answers {
  readonly match: RequestMatch
  /** In the order in which their requests began. */
  readonly entries: { readonly entry: StoredEntry; readonly apiUrl: string; readonly startedAt: number }[]
  next: number
}

/** The recordings in a folder, ready for replay. */
export class RecordedAnswers {
  readonly #byKey = new Map<string, Answers>()
  readonly #mask: MemberMask
  /** By the names in them: the masks that requests were recorded with, which may be others than are configured now. */
  readonly #recordedMasks = new Map<string, MemberMask>()

  constructor(mask: MemberMask) {
    this.#mask = mask
  }

  /** Throws a RecordingError if the folder or one of its files can't be read. */
  async addFolder(folder: string): Promise<void> {
    const recordings = await readFolder(folder).catch((cause: Error) => {
      throw cause instanceof RecordingError ? cause : folderError(folder, cause)
    })
    for (const recording of recordings) for (const entry of recording.entries) this.add(recording, entry)
  }

  add(company: RecordedCompany, entry: StoredEntry): void {
    const { redact = [] } = entry._procoreProxy ?? {}
    if (!this.#recordedMasks.has(redact.join()))
      this.#recordedMasks.set(redact.join(), new MemberMask(redact))
    const apiUrl = entry._procoreProxy?.apiUrl ?? company.environment.apiUrl
    const match = matchOfEntry(entry, apiUrl)
    const key = matchKey(company.company.id, match)
    const answers = this.#byKey.get(key) ?? { match, entries: [], next: 0 }
    // Files have them in the order in which they ended. One written by hand may not say when each began.
    const startedAt = Date.parse(entry.startedDateTime ?? '')
    const before = answers.entries.findLastIndex((each) => !(each.startedAt > startedAt))
    answers.entries.splice(before + 1, 0, { entry, apiUrl, startedAt })
    this.#byKey.set(key, answers)
  }

  /** Never sends anything. Throws `recording_missing`, which names the most similar recordings. `copy` is that of the whole body. */
  async answer(call: Call, copy?: BodyCopy): Promise<UpstreamResponse> {
    if (copy === undefined) return await this.#read(call)
    const matchBy = (mask: MemberMask) => matchOfCall(call, copy, mask).match
    const match = matchBy(this.#mask)
    const isRecorded = (each: RequestMatch) => this.#byKey.has(matchKey(call.companyId, each))
    const other = isRecorded(match) ? undefined : this.#recordedMasks.values().map(matchBy).find(isRecorded)
    return this.#answer(call, other ?? match)
  }

  async #read(call: Call): Promise<UpstreamResponse> {
    const copy = new BodyCopy(true)
    // Its caller may wait to be asked for the body.
    call.onSending?.()
    try {
      if (call.body !== null) for await (const piece of piecesOf(call, call.body)) copy.add(piece)
      return await this.answer(call, copy)
    } finally {
      copy.release()
    }
  }

  #answer(call: Call, match: RequestMatch): UpstreamResponse {
    const answers = this.#byKey.get(matchKey(call.companyId, match))
    if (answers === undefined) throw missing(match, this.#nearest(call, match))
    const { entry, apiUrl } = answers.entries[Math.min(answers.next, answers.entries.length - 1)]!
    answers.next++
    const omitted = entry._procoreProxy?.omitted
    if (omitted !== undefined) throw missing(match, omitted)
    let parsed: RecordedEntry
    try {
      parsed = entry.parse()
    } catch {
      throw missing(match, 'Its recording is damaged. Delete its line from the file, and record it again.')
    }
    return responseOf(parsed, call, apiUrl)
  }

  /** What to do about a missing recording, in a sentence or two; names those that are most similar, to show what differs. */
  #nearest({ companyId, companyName }: Call, wanted: RequestMatch): string {
    const record = 'Record it with --record, or start with --replay-else-record.'
    const recorded = [...this.#byKey]
      .filter(([key]) => key.startsWith(`${companyId}\n`))
      .map(([, { match }]) => ({ ...match, likeness: likeness(match, wanted) }))
    if (recorded.length === 0) return `Nothing is recorded for the company ${companyName}. ${record}`
    if (recorded.some(({ method, target }) => method === wanted.method && target === wanted.target)) {
      const named = `${wanted.method} ${shortened(wanted.target)}`
      return `The same request is recorded with another body: ${named}. ${record}`
    }
    recorded.sort((a, b) => b.likeness - a.likeness)
    const named = new Set(recorded.map(({ method, target }) => `${method} ${shortened(target)}`))
    return `The nearest recordings are: ${[...named].slice(0, MOST_NAMED).join(', ')}. ${record}`
  }
}

function missing({ method, target }: RequestMatch, help: string): ProxyError {
  // A header of the response has it too, and no client reads headers of any length.
  const message = `No response to ${method} ${shortened(target)} has been recorded.`
  return new ProxyError('recording_missing', message, { help })
}

const MOST_NAMED = 3
const MOST_LENGTH = 200

/** An equal path counts most, then the length of the common beginning, then the method. */
function likeness(a: RequestMatch, b: RequestMatch): number {
  const isSamePath = a.target.split('?', 1)[0] === b.target.split('?', 1)[0]
  let start = 0
  while (start < a.target.length && a.target[start] === b.target[start]) start++
  return (isSamePath ? 10_000 : 0) + start + (a.method === b.method ? 0.5 : 0)
}

function shortened(target: string): string {
  return target.length > MOST_LENGTH ? `${target.slice(0, MOST_LENGTH)}…` : target
}

function responseOf({ response }: RecordedEntry, call: Call, recordedApiUrl: string): UpstreamResponse {
  const { status, statusText, headers, content } = response
  const { apiUrl } = call.upstream.environment
  const body = bytesOf(content.text ?? '', content.encoding)
  // In other responses, Content-Length is that of the body which they leave out.
  const hasBody = call.method !== 'HEAD' && status !== 304
  const rawHeaders: string[] = []
  for (const { name, value } of headers) {
    // These headers described the body as it was transferred.
    if (/^(?:content-encoding|transfer-encoding)$/i.test(name)) continue
    const isLength = hasBody && /^content-length$/i.test(name)
    // Links to the API where it was recorded become links to the API that is configured now.
    const isLink = /^(?:link|location)$/i.test(name)
    const now = isLink ? value.replaceAll(`${recordedApiUrl}/`, `${apiUrl}/`) : value
    rawHeaders.push(name, isLength ? String(body.length) : now)
  }
  // Log and metrics count it as Procore's response.
  call.exchange.sentAt = performance.now()
  call.exchange.upstreamMs = 0
  return storedResponse(status, statusText, rawHeaders, body)
}

// --- without a configuration -------------------------------------------------------------------------------------------

/**
 * The configuration file that a folder of recordings stands for: companies and environments as they were recorded, with
 * accounts that are never logged in with.
 */
export function replayDocument(recorded: readonly RecordedCompany[]) {
  const environments = new Map<string, Environment>()
  // Recordings of several configurations may have several defaults, and then none is the one.
  const hasDefault = recorded.filter(({ company }) => company.default).length === 1
  const companies = recorded.map(({ company, environment }) => {
    const name = nameFor(environment, environments)
    environments.set(name, environment)
    const serviceAccount = { environment: name, clientId: 'replay', clientSecret: 'replay' }
    const isDefault = hasDefault && company.default
    return [company.name, { id: company.id, serviceAccount, ...(isDefault && { default: true }) }] as const
  })
  const unknown = [...environments].filter(([, environment]) => !isBuiltIn(environment))
  return {
    environments: Object.fromEntries(unknown.map(([name, { name: _, ...origins }]) => [name, origins])),
    companies: Object.fromEntries(companies),
  }
}

/** Its own, unless another environment of the recordings has that: a fake Procore gets a new port at each start. */
function nameFor(environment: Environment, taken: ReadonlyMap<string, Environment>): string {
  const isBuiltInName = BUILT_IN_ENVIRONMENTS.some(({ name }) => name === environment.name)
  const base = isBuiltInName && !isBuiltIn(environment) ? `recorded-${environment.name}` : environment.name
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base}-${number}`
    if (!taken.has(name) || isDeepStrictEqual(taken.get(name), environment)) return name
  }
}

function isBuiltIn(environment: Environment): boolean {
  return BUILT_IN_ENVIRONMENTS.some((each) => isDeepStrictEqual(each, environment))
}
