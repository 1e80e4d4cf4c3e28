// Answers from recordings: the nth of several equal requests gets the nth response, and the last one from then on.
import { Readable } from 'node:stream'
import { ProxyError } from '../errors.ts'
import type { Call, Send } from '../forward/call.ts'
import { RequestBody } from '../forward/request-body.ts'
import { StoredResponse, type UpstreamResponse } from '../forward/upstream-response.ts'
import { BodyCopy, MOST_BODY_BYTES } from './body-copy.ts'
import { bytesOf, type RecordedCompany, type RecordedEntry, type Recording, type StoredEntry } from './har.ts'
import { withMask } from './har-entry.ts'
import type { MemberMask } from './masks.ts'
import { nearest } from './nearest.ts'
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

  /**
   * The response to this call, whose body is `copy`. Throws `recording_missing`, which names the most similar
   * recordings.
   */
  answer(call: Call, copy: BodyCopy | undefined): UpstreamResponse {
    const match = matchOfCall(call, withMask(copy, contentTypeOf(call.rawHeaders), this.#mask), copy)
    const answers = this.#byKey.get(matchKey(call.companyId, match))
    if (answers === undefined) throw this.#missing(call, match)
    const entry = answers.entries[Math.min(answers.next, answers.entries.length - 1)] as StoredEntry
    answers.next++
    const omitted = entry._procoreProxy?.omitted
    if (omitted !== undefined) throw missing(match, { help: omitted })
    return responseOf(parsed(entry, match), call, answers.apiUrl)
  }

  #missing({ companyId, companyName }: Call, match: RequestMatch): ProxyError {
    const prefix = `${companyId}\n`
    const recorded = [...this.#byKey]
      .filter(([key]) => key.startsWith(prefix))
      .map(([, answers]) => answers.match)
    return missing(match, { help: nearest(match, recorded, companyName) })
  }
}

function parsed(entry: StoredEntry, match: RequestMatch): RecordedEntry {
  try {
    return entry.parse()
  } catch {
    throw missing(match, {
      help: 'Its recording is damaged. Delete its line from the file, and record it again.',
    })
  }
}

function missing({ method, target }: RequestMatch, options: { help: string }): ProxyError {
  return new ProxyError('recording_missing', `No response to ${method} ${target} has been recorded.`, options)
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
  return async (call) => {
    const copy = call.body === null ? undefined : new BodyCopy(true)
    try {
      if (call.body !== null) for await (const piece of call.body) copy?.add(piece)
      return answers.answer(call, copy)
    } finally {
      copy?.release()
    }
  }
}

/** Answers from recordings. A missing call is sent and recorded. */
export function replayElseRecord(answers: RecordedAnswers, send: Send, recorder: CallRecorder): Send {
  const recording = withRecorder(send, recorder)
  return async (call) => {
    const body = call.body === null ? undefined : await readStart(call.body)
    // A body that is too long to hold is streamed to Procore, so its digest is known too late.
    const answer = body?.isWhole === false ? undefined : recordedAnswer(answers, call, body?.pieces)
    return answer ?? (await recording(body === undefined ? call : { ...call, body: body.again() }))
  }
}

function recordedAnswer(
  answers: RecordedAnswers,
  call: Call,
  pieces: readonly Buffer[] = [],
): UpstreamResponse | undefined {
  const copy = new BodyCopy(true)
  try {
    for (const piece of pieces) copy.add(piece)
    return answers.answer(call, copy)
  } catch (error) {
    if (error instanceof ProxyError && error.code === 'recording_missing') return undefined
    throw error
  } finally {
    copy.release()
  }
}

interface StartedBody {
  readonly pieces: readonly Buffer[]
  readonly isWhole: boolean
  /** The whole body, to be sent. */
  again(): RequestBody
}

/** Reads a body, up to the length that is recorded. */
async function readStart(body: RequestBody): Promise<StartedBody> {
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
