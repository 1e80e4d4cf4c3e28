// Answers from recordings: the nth of several equal requests gets the nth response, and the last one from then on.
import { Readable } from 'node:stream'
import { ProxyError } from '../errors.ts'
import { type Call, type Send, StoredResponse, type UpstreamResponse } from '../forward/call.ts'
import { RequestBody } from '../forward/request-body.ts'
import { BodyCopy, MOST_BODY_BYTES } from './body-copy.ts'
import { bytesOf, type RecordedCompany, type RecordedEntry, type Recording, type StoredEntry } from './har.ts'
import { withMask } from './har-entry.ts'
import type { MemberMask } from './masks.ts'
import { contentTypeOf, matchKey, matchOfCall, matchOfEntry, type RequestMatch } from './recorded-request.ts'
import { type CallRecorder, withRecorder } from './recorder.ts'

interface Answers {
  readonly apiUrl: string
  readonly match: RequestMatch
  readonly entries: StoredEntry[]
  next: number
}

/** The recordings in a folder, ready for replay. They outlive a reload. */
export class RecordedAnswers {
  readonly #byKey = new Map<string, Answers>()
  readonly #mask: MemberMask

  constructor(mask: MemberMask) {
    this.#mask = mask
  }

  addAll(recording: Recording): void {
    for (const entry of recording.entries) this.add(recording, entry)
  }

  add(company: RecordedCompany, entry: StoredEntry): void {
    const match = matchOfEntry(entry, company)
    const key = matchKey(company.company.id, match)
    const known = this.#byKey.get(key)
    if (known !== undefined) known.entries.push(entry)
    else this.#byKey.set(key, { apiUrl: company.environment.apiUrl, match, entries: [entry], next: 0 })
  }

  /** The response to a call with this body. Throws `recording_missing`, which names the most similar recordings. */
  async answer(
    call: Call,
    body: Iterable<Buffer> | AsyncIterable<Buffer> | null | undefined,
  ): Promise<UpstreamResponse> {
    const copy = new BodyCopy(true)
    try {
      for await (const piece of body ?? []) copy.add(piece)
      return this.#answer(call, copy)
    } finally {
      copy.release()
    }
  }

  #answer(call: Call, copy: BodyCopy): UpstreamResponse {
    const match = matchOfCall(call, withMask(copy, contentTypeOf(call.rawHeaders), this.#mask), copy)
    const answers = this.#byKey.get(matchKey(call.companyId, match))
    if (answers === undefined) throw this.#missing(call, match)
    const entry = answers.entries[Math.min(answers.next, answers.entries.length - 1)] as StoredEntry
    answers.next++
    const omitted = entry._procoreProxy?.omitted
    if (omitted !== undefined) throw missing(match, omitted)
    return responseOf(parsed(entry, match), call, answers.apiUrl)
  }

  #missing({ companyId, companyName }: Call, match: RequestMatch): ProxyError {
    const prefix = `${companyId}\n`
    const recorded = [...this.#byKey]
      .filter(([key]) => key.startsWith(prefix))
      .map(([, answers]) => answers.match)
    return missing(match, nearest(match, recorded, companyName))
  }
}

function parsed(entry: StoredEntry, match: RequestMatch): RecordedEntry {
  try {
    return entry.parse()
  } catch {
    throw missing(match, 'Its recording is damaged. Delete its line from the file, and record it again.')
  }
}

function missing({ method, target }: RequestMatch, help: string): ProxyError {
  const message = `No response to ${method} ${target} has been recorded.`
  return new ProxyError('recording_missing', message, { help })
}

const MOST_NAMED = 3
const MOST_LENGTH = 200

/** What to do about a missing recording, in a sentence or two; names those that are most similar, to show what differs. */
function nearest(missing: RequestMatch, recorded: readonly RequestMatch[], company: string): string {
  const record = 'Record it with --record, or start with --replay-else-record.'
  if (recorded.length === 0) return `Nothing is recorded for the company ${company}. ${record}`
  if (recorded.some(({ method, target }) => method === missing.method && target === missing.target)) {
    return `The same request is recorded with another body. ${record}`
  }
  const named = recorded
    .map((match) => ({ match, score: likeness(match, missing) }))
    .sort((a, b) => b.score - a.score)
    .map(({ match }) => `${match.method} ${shortened(match.target)}`)
  return `The nearest recordings are: ${[...new Set(named)].slice(0, MOST_NAMED).join(', ')}. ${record}`
}

/** An equal path counts most, then the length of the common beginning, then the method. */
function likeness(a: RequestMatch, b: RequestMatch): number {
  const isSamePath = pathOf(a.target) === pathOf(b.target)
  return (isSamePath ? 10_000 : 0) + sameStart(a.target, b.target) + (a.method === b.method ? 0.5 : 0)
}

function sameStart(a: string, b: string): number {
  let at = 0
  while (at < a.length && at < b.length && a.charCodeAt(at) === b.charCodeAt(at)) at++
  return at
}

function pathOf(target: string): string {
  return target.split('?', 1)[0] as string
}

function shortened(target: string): string {
  return target.length > MOST_LENGTH ? `${target.slice(0, MOST_LENGTH)}…` : target
}

/** These headers described the body as it was transferred. */
const OF_THE_WIRE = /^(?:content-encoding|transfer-encoding|content-length)$/i

function responseOf({ response }: RecordedEntry, call: Call, recordedApiUrl: string): UpstreamResponse {
  const { status, statusText, headers, content } = response
  const body = bytesOf(content.text ?? '', content.encoding)
  const rawHeaders: string[] = []
  for (const { name, value } of headers) {
    const isLength = /^content-length$/i.test(name)
    if (isLength && call.method !== 'HEAD') rawHeaders.push(name, String(body.length))
    else if (isLength || !OF_THE_WIRE.test(name))
      rawHeaders.push(name, atThisApi(name, value, call, recordedApiUrl))
  }
  // Log and metrics count it as Procore's response.
  call.exchange.sentAt = performance.now()
  call.exchange.upstreamMs = 0
  return new StoredResponse(status, statusText, rawHeaders, body)
}

/** Links to the API where it was recorded become links to the API that is configured now. */
function atThisApi(name: string, value: string, { upstream }: Call, recordedApiUrl: string): string {
  if (recordedApiUrl === upstream.environment.apiUrl || !/^(?:link|location)$/i.test(name)) return value
  return value.replaceAll(`${recordedApiUrl}/`, `${upstream.environment.apiUrl}/`)
}

/** Answers from recordings only, and never sends anything. */
export function replaySend(answers: RecordedAnswers): Send {
  return (call) => answers.answer(call, call.body)
}

/** Answers from recordings. A missing call is sent and recorded. */
export function replayElseRecord(answers: RecordedAnswers, send: Send, recorder: CallRecorder): Send {
  const recording = withRecorder(send, recorder)
  return async (call) => {
    const body = call.body === null ? undefined : await readStart(call.body)
    // A body that is too long to hold is streamed to Procore, so its digest is known too late.
    const answer =
      body?.isWhole === false ? undefined : await answers.answer(call, body?.pieces).catch(undefinedIfMissing)
    return answer ?? (await recording(body === undefined ? call : { ...call, body: body.again() }))
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if (!(error instanceof ProxyError && error.code === 'recording_missing')) throw error
}

/** Reads a body, up to the length that is recorded; `again` is the whole body, to be sent. */
async function readStart(body: RequestBody) {
  const iterator: AsyncIterableIterator<Buffer> = body[Symbol.asyncIterator]()
  const pieces: Buffer[] = []
  let isWhole = false
  for (let length = 0; length <= MOST_BODY_BYTES && !isWhole; ) {
    const { done, value } = await iterator.next()
    if (done) isWhole = true
    else {
      pieces.push(value)
      length += value.length
    }
  }
  async function* all(): AsyncGenerator<Buffer> {
    yield* pieces
    yield* iterator
  }
  // The caller's bytes were counted when they arrived.
  const again = () => new RequestBody(Readable.from(all(), { objectMode: false }), () => {})
  return { pieces, isWhole, again }
}
