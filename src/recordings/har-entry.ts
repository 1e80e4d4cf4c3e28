// Makes one HAR entry of a call and its response: bodies decompressed, everything masked, nothing that identifies a caller.
import { type Call, headerValue, StoredResponse, type UpstreamResponse } from '../forward/call.ts'
import { planBody } from '../forward/headers.ts'
import { transformed } from '../forward/response-body.ts'
import { isSecretName } from '../observe/mask-body.ts'
import { BodyCopy, MOST_BODY_BYTES } from './body-copy.ts'
import { harQuery, harText, headerPairs, type RecordedEntry } from './har.ts'
import { type MemberMask, maskText } from './masks.ts'
import {
  contentTypeOf,
  type MaskedBody,
  maskedBody,
  maskedTarget,
  matchOfCall,
  TOO_LONG,
} from './recorded-request.ts'

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

/** The caller's headers that are recorded. All others are left out. */
const REQUEST_HEADERS =
  /^(?:accept|accept-encoding|accept-language|content-type|content-length|user-agent|range|if-.*|cache-control)$/i
/** The response headers that are not recorded: cookies, challenges, and headers about the connection. */
const NOT_RECORDED =
  /cookie|^(?:www-authenticate|authentication-info|proxy-.*|connection|keep-alive|alt-svc|trailer|upgrade)$/i

/** The entry; and its content as plain text, to find secrets that the entry contains in another form, such as base64. */
export async function entryOf(
  exchanged: Exchanged,
  mask: MemberMask,
): Promise<{ readonly entry: RecordedEntry; readonly texts: readonly string[] }> {
  const { call, response, requestBody, responseBody, startedAt, waitMs, receiveMs } = exchanged
  const sent = withMask(requestBody, contentTypeOf(call.rawHeaders), mask)
  const unpacked = await decompressed(responseBody, headerValue(response.head, 'content-encoding'))
  const body =
    unpacked.bytes === undefined
      ? unpacked
      : maskedBody(unpacked.bytes, headerValue(response.head, 'content-type') ?? '', mask)
  const match = matchOfCall(call, sent, requestBody)
  const target = maskedTarget(call)
  const url = target.startsWith('/') ? call.upstream.origin + target : target
  const headers = headerPairs(response.rawHeaders)
    .filter(({ name }) => !NOT_RECORDED.test(name) && !isSecretName(name))
    .map(({ name, value }) => ({ name, value: maskText(value) }))
  const entry = {
    startedDateTime: new Date(startedAt).toISOString(),
    time: rounded(waitMs + receiveMs),
    request: {
      method: call.method,
      url,
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers: headerPairs(call.rawHeaders).filter(({ name }) => REQUEST_HEADERS.test(name)),
      queryString: harQuery(target.split('?').slice(1).join('?')),
      ...(sent === NO_BODY ? {} : { postData: postDataOf(sent, contentTypeOf(call.rawHeaders)) }),
      headersSize: -1,
      bodySize: requestBody.length,
    },
    response: {
      status: response.status,
      statusText: response.statusText,
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers,
      content: contentOf(body, headerValue(response.head, 'content-type') ?? ''),
      redirectURL: headers.find(({ name }) => name.toLowerCase() === 'location')?.value ?? '',
      headersSize: -1,
      bodySize: responseBody.length,
    },
    cache: {},
    timings: { send: 0, wait: rounded(waitMs), receive: rounded(receiveMs) },
    _procoreProxy: {
      bodySha256: match.bodySha256,
      ...(body.omitted === undefined ? {} : { omitted: body.omitted }),
    },
  }
  return {
    entry,
    texts: [plain(call.path), ...[sent, body].flatMap(({ bytes }) => (bytes ? plainForms(bytes) : []))],
  }
}

const NO_BODY: MaskedBody = { bytes: undefined, omitted: undefined }

/** The request's body as it is recorded and matched. */
export function withMask(copy: BodyCopy, contentType: string, mask: MemberMask): MaskedBody {
  if (copy.length === 0) return NO_BODY
  const { bytes } = copy
  return bytes === undefined ? { bytes, omitted: TOO_LONG } : maskedBody(bytes, contentType, mask)
}

function postDataOf({ bytes, omitted }: MaskedBody, mimeType: string) {
  if (bytes === undefined) return { mimeType, text: '', comment: omitted }
  const { text, encoding } = harText(bytes)
  return { mimeType, text, ...(encoding === undefined ? {} : { _encoding: encoding }) }
}

function contentOf({ bytes, omitted }: MaskedBody, mimeType: string) {
  if (bytes === undefined) return { size: 0, mimeType, comment: omitted }
  return { size: bytes.length, mimeType, ...harText(bytes) }
}

/** The body without its compression, as HAR requires it, and so that secrets and members can be found in it. */
async function decompressed(copy: BodyCopy, encoding = ''): Promise<MaskedBody> {
  const { bytes } = copy
  if (bytes === undefined) return { bytes, omitted: TOO_LONG }
  if (bytes.length === 0 || /^(?:[\s,]|identity)*$/i.test(encoding)) return { bytes, omitted: undefined }
  const plan = planBody(200, { 'content-encoding': encoding }, { unpack: true, replace: undefined })
  const unpacked = new BodyCopy(false)
  try {
    if (plan === undefined) throw new Error('unknown coding')
    const packed = new StoredResponse(200, '', [], bytes)
    await transformed(packed, plan).pipe((chunk) => {
      unpacked.add(chunk)
      return true
    })
    const whole = unpacked.bytes
    return { bytes: whole, omitted: whole === undefined ? TOO_LONG : undefined }
  } catch {
    const undone = `The body could not be decompressed (${encoding}), so it was not recorded.`
    return { bytes: undefined, omitted: unpacked.length > MOST_BODY_BYTES ? TOO_LONG : undone }
  } finally {
    unpacked.release()
  }
}

/** A body as text, and the same without JSON's escapes and percent-encoding, which may hide a secret. */
function plainForms(bytes: Buffer): string[] {
  const text = bytes.toString('utf8')
  const forms = [text]
  if (text.includes('\\')) forms.push(text.replace(/\\u([0-9a-f]{4})|\\(.)/gi, unescaped))
  if (text.includes('%')) forms.push(plain(text))
  return forms
}

function unescaped(_: string, hex: string | undefined, char: string): string {
  return hex === undefined ? char : String.fromCharCode(Number.parseInt(hex, 16))
}

/** Decodes percent-encoding. Anything else stays unchanged. */
function plain(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/(?:%[0-9a-f]{2})+/gi, (escapes) =>
      Buffer.from(escapes.replaceAll('%', ''), 'hex').toString('utf8'),
    )
}

function rounded(ms: number): number {
  return Math.round(Math.max(0, ms) * 1000) / 1000
}
