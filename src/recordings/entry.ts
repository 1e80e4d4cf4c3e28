// Makes one HAR entry of a call and its response, all masked, and what the request is matched by at replay.
import { createHash, type Hash, hash } from 'node:crypto'
import { type Call, headerValue, storedResponse, type UpstreamResponse } from '../forward/call.ts'
import { planBody } from '../forward/headers.ts'
import { transformed } from '../forward/response-body.ts'
import { Pieces } from '../network/pieces.ts'
import { codingsOf } from '../network/response.ts'
import { isSecretName } from '../observe/mask.ts'
import { headerValues } from '../routing/raw-request.ts'
import { bytesOf, harText, headerPairs, type RecordedEntry, type StoredEntry } from './har-file.ts'
import { type MemberMask, maskQueryValues, maskText } from './masks.ts'

/** A call that was answered completely. */
export interface Exchanged {
  readonly call: Call
  readonly response: UpstreamResponse
  readonly requestBody: BodyCopy
  readonly responseBody: BodyCopy
  /** Wall clock. */
  readonly startedAt: number
  /** Until the response's head was there. */
  readonly waitMs: number
  /** From then to the end of its body. */
  readonly receiveMs: number
}

/** The caller's headers that are recorded. All others are left out, so that nothing identifies a caller. */
const REQUEST_HEADERS =
  /^(?:accept|accept-encoding|accept-language|content-type|content-length|user-agent|range|if-.*|cache-control)$/i
/** The response headers that are not recorded, besides secrets and cookies: challenges, and headers about the connection. */
const NOT_RECORDED =
  /^(?:www-authenticate|authentication-info|proxy-.*|connection|keep-alive|alt-svc|trailer|upgrade)$/i

/** The entry; and its content as plain text, to find secrets that the entry contains in another form, such as base64. */
export async function entryOf(
  { call, response, requestBody, responseBody, startedAt, waitMs, receiveMs }: Exchanged,
  mask: MemberMask,
): Promise<{ readonly entry: RecordedEntry; readonly texts: readonly string[] }> {
  const { match, body: sent } = matchOfCall(call, requestBody, mask)
  const type = headerValue(response.head, 'content-type') ?? ''
  const unpacked = await decompressed(responseBody, headerValue(response.head, 'content-encoding'))
  const body = typeof unpacked === 'string' ? unpacked : maskedBody(unpacked, type, mask)
  const headers = headerPairs(response.rawHeaders)
    .filter(({ name }) => !NOT_RECORDED.test(name) && !isSecretName(name))
    .map(({ name, value }) => ({ name, value: maskText(value) }))
  const { method, target } = match
  const query = target.split('?').slice(1).join('?')
  const entry = {
    startedDateTime: new Date(startedAt).toISOString(),
    time: rounded(waitMs + receiveMs),
    request: {
      method,
      url: target.startsWith('/') ? call.upstream.origin + target : target,
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers: headerPairs(call.rawHeaders).filter(({ name }) => REQUEST_HEADERS.test(name)),
      // Decoded, for people.
      queryString: [...new URLSearchParams(query)].map(([name, value]) => ({ name, value })),
      ...(requestBody.length > 0 && { postData: postDataOf(sent, contentTypeOf(call)) }),
      headersSize: -1,
      bodySize: requestBody.length,
    },
    response: {
      status: response.status,
      statusText: response.statusText,
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers,
      content: contentOf(body, type, responseBody.length),
      redirectURL: headers.find(({ name }) => name.toLowerCase() === 'location')?.value ?? '',
      headersSize: -1,
      bodySize: responseBody.length,
    },
    cache: {},
    timings: { send: 0, wait: rounded(waitMs), receive: rounded(receiveMs) },
    _procoreProxy: {
      bodySha256: match.bodySha256,
      ...(typeof body === 'string' && { omitted: body }),
      apiUrl: call.upstream.environment.apiUrl,
      // So that the digest can be compared without this configuration.
      ...(requestBody.length > 0 && mask.redact.length > 0 && { redact: [...mask.redact] }),
    },
  }
  const bodies = [sent, body].filter((each) => typeof each !== 'string')
  return { entry, texts: [plain(call.path), ...bodies.flatMap(plainForms)] }
}

function postDataOf(body: MaskedBody, mimeType: string) {
  if (typeof body === 'string') return { mimeType, text: '', comment: body }
  const { text, encoding } = harText(body)
  return { mimeType, text, ...(encoding !== undefined && { _encoding: encoding }) }
}

function contentOf(body: MaskedBody, mimeType: string, length: number) {
  if (typeof body === 'string') return { size: length, mimeType, comment: body }
  return { size: body.length, mimeType, ...harText(body) }
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

/** A body as text, and the same without JSON's escapes and percent-encoding, which may hide a secret. */
function plainForms(bytes: Buffer): string[] {
  const text = bytes.toString('utf8')
  const unescaped = text.replace(/\\u([0-9a-f]{4})|\\(.)/gi, (_, hex: string | undefined, char: string) =>
    hex === undefined ? char : String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return [...new Set([text, unescaped, text.includes('%') ? plain(text) : text])]
}

/** Decodes percent-encoding. Anything else stays unchanged. */
function plain(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => Buffer.from(escapes.replaceAll('%', ''), 'hex').toString())
}

// --- what requests are matched by --------------------------------------------------------------------------------------

export interface RequestMatch {
  readonly method: string
  /** `/rest/v1.0/projects?per_page=10`, raw and masked; for a file, with its origin in front. */
  readonly target: string
  /** SHA-256 of the masked body in hex; empty if there is no body. */
  readonly bodySha256: string
}

/** Describes a call with its whole body, and the body as it is recorded. */
export function matchOfCall(
  call: Call,
  copy: BodyCopy,
  mask: MemberMask,
): { match: RequestMatch; body: MaskedBody } {
  const { method, path, upstream } = call
  const { bytes } = copy
  const isCompressed = codingsOf(headerValues(call.rawHeaders, 'content-encoding').join()).length > 0
  const why = isCompressed ? COMPRESSED : TOO_LONG
  const body = isCompressed || bytes === undefined ? why : maskedBody(bytes, contentTypeOf(call), mask)
  const isApi = upstream.origin === upstream.environment.apiUrl
  const target = (isApi ? '' : upstream.origin) + withMaskedQuery(path)
  const digest = typeof body === 'string' ? copy.digest() : hash('sha256', body)
  return { match: { method, target, bodySha256: copy.length === 0 ? '' : digest }, body }
}

/** Describes an entry that was recorded with this API. */
export function matchOfEntry(
  { request: { method, url, postData }, _procoreProxy }: StoredEntry,
  apiUrl: string,
): RequestMatch {
  const target = withMaskedQuery(url.startsWith(`${apiUrl}/`) ? url.slice(apiUrl.length) : url)
  const text = postData?.text ?? ''
  // A file written by hand has no digests.
  const digest = text === '' ? '' : hash('sha256', bytesOf(text, postData?._encoding))
  return { method, target, bodySha256: _procoreProxy?.bodySha256 ?? digest }
}

/** Equal for two requests exactly if the response to one also answers the other. */
export function matchKey(companyId: string, { method, target, bodySha256 }: RequestMatch): string {
  const [path, ...query] = target.split('?')
  const pairs = query.join('?').split('&')
  const sorted = pairs.filter((pair) => pair !== '').sort()
  return [companyId, method, query.length === 0 ? path : `${path}?${sorted.join('&')}`, bodySha256].join('\n')
}

function withMaskedQuery(path: string): string {
  const mark = path.indexOf('?')
  return mark === -1 ? path : path.slice(0, mark + 1) + maskQueryValues(path.slice(mark + 1))
}

/** The media type of the request's body; empty if the headers name none. */
function contentTypeOf({ rawHeaders }: Call): string {
  return headerValues(rawHeaders, 'content-type').join(', ')
}

// --- bodies ------------------------------------------------------------------------------------------------------------

/** A longer body is not recorded. */
export const MOST_BODY_BYTES = 8 * 1024 * 1024
/** The most memory for all copies together. Beyond it, a body counts as too long. */
const MOST_HELD_BYTES = 128 * 1024 * 1024

let heldBytes = 0

/** Copies a body while it streams, up to the longest that is recorded, and computes the digest of all of it. */
export class BodyCopy {
  readonly #hash: Hash | undefined
  #digest: string | undefined
  #pieces: Pieces | undefined = new Pieces()
  #held = 0
  /** How long the body is so far. */
  length = 0

  /** `isHashed`: the digest will be needed. */
  constructor(isHashed: boolean) {
    if (isHashed) this.#hash = createHash('sha256')
  }

  add(piece: Buffer): void {
    if (!this.hasRoom(piece)) this.release()
    this.length += piece.length
    this.#hash?.update(piece)
    if (this.#pieces === undefined) return
    this.#pieces.add(piece)
    this.#held += piece.length
    heldBytes += piece.length
  }

  /** False if the piece would make it too long. */
  hasRoom(piece: Buffer): boolean {
    return this.length + piece.length <= MOST_BODY_BYTES && heldBytes + piece.length <= MOST_HELD_BYTES
  }

  /** The whole body, or undefined if it is too long. */
  get bytes(): Buffer | undefined {
    return this.#pieces?.whole()
  }

  /** The SHA-256 of the whole body, in hex. Call it at the end, for a copy that is hashed. */
  digest(): string {
    this.#digest ??= this.#hash?.digest('hex') ?? ''
    return this.#digest
  }

  /** Frees the copy. */
  release(): void {
    heldBytes -= this.#held
    this.#held = 0
    this.#pieces = undefined
  }
}

/** A body as it is recorded, or a sentence that says why it is not. */
type MaskedBody = Buffer | string

const TOO_LONG = 'The body is longer than 8 MiB, so it was not recorded.'
const COMPRESSED = 'The body is compressed, so it was not recorded: secrets in it would not be found.'
const NOT_MASKABLE = 'The body says that it is JSON but is not, so its members could not be masked.'

/** Masks members of JSON and fields of forms, and signatures in the URLs of any text. Lengths may change. */
function maskedBody(body: Buffer, contentType: string, mask: MemberMask): MaskedBody {
  const boundary = /^\s*multipart\/.*\bboundary\s*=\s*"?([^";\s]+)/i.exec(contentType)?.[1]
  const bytes =
    boundary === undefined ? body : Buffer.from(mask.maskedParts(body.toString('latin1'), boundary), 'latin1')
  const isJson = /\bjson\b/i.test(contentType) || /^\s*[[{]/.test(bytes.toString('latin1', 0, 100))
  const isForm = /x-www-form-urlencoded/i.test(contentType)
  const text = bytes.toString('utf8')
  // Bytes that are not UTF-8 cannot be masked without changing all of them.
  if (!isJson && !isForm && !Buffer.from(text).equals(bytes)) return bytes
  const masked = isForm ? mask.maskedForm(text) : isJson ? mask.masked(text) : text
  if (masked === undefined) return NOT_MASKABLE
  const all = isForm ? masked : maskText(masked)
  return all === text ? bytes : Buffer.from(all)
}

/** The body without its compression, as HAR requires it, and so that secrets and members can be found in it. */
async function decompressed(copy: BodyCopy, encoding = ''): Promise<MaskedBody> {
  const { bytes } = copy
  if (bytes === undefined) return TOO_LONG
  if (bytes.length === 0 || codingsOf(encoding).length === 0) return bytes
  const plan = planBody(200, { 'content-encoding': encoding }, { unpack: true, replace: undefined })
  const unpacked = new BodyCopy(false)
  try {
    if (plan === undefined) throw new Error('unknown coding')
    await transformed(storedResponse(200, '', [], bytes), plan).pipe((chunk) => {
      unpacked.add(chunk)
      return true
    })
    return unpacked.bytes ?? TOO_LONG
  } catch {
    if (unpacked.length > MOST_BODY_BYTES) return TOO_LONG
    return `The body could not be decompressed (${encoding}), so it was not recorded.`
  } finally {
    unpacked.release()
  }
}
