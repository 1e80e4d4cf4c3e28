// Describes a request as it is recorded and matched: company, method, path, query and the digest of its body, all
// masked.
import { hash } from 'node:crypto'
import type { Call } from '../forward/call.ts'
import { headerValues } from '../routing/raw-request.ts'
import type { BodyCopy } from './body-copy.ts'
import { bytesOf, type RecordedCompany, type StoredEntry } from './har.ts'
import { type MemberMask, maskQueryValues, maskText } from './masks.ts'

/** A body as it is recorded. */
export interface MaskedBody {
  /** Undefined if there is none, or if `omitted` says why it is not recorded. */
  readonly bytes: Buffer | undefined
  readonly omitted: string | undefined
}

export const TOO_LONG = 'The body is longer than 8 MiB, so it was not recorded.'
const NOT_MASKABLE = 'The body says that it is JSON but is not, so its members could not be masked.'

/** Masks members of JSON and fields of forms, and signatures in the URLs of any text. Lengths may change. */
export function maskedBody(bytes: Buffer, contentType: string, mask: MemberMask): MaskedBody {
  const isJson = /\bjson\b/i.test(contentType) || /^\s*[[{]/.test(bytes.toString('latin1', 0, 100))
  const isForm = /x-www-form-urlencoded/i.test(contentType)
  const text = bytes.toString('utf8')
  // Bytes that are not UTF-8 cannot be masked without changing all of them.
  if (!isJson && !isForm && !Buffer.from(text).equals(bytes)) return { bytes, omitted: undefined }
  const masked = isForm ? mask.maskedForm(text) : isJson ? mask.masked(text) : text
  if (masked === undefined) return { bytes: undefined, omitted: NOT_MASKABLE }
  const all = isForm ? masked : maskText(masked)
  return { bytes: all === text ? bytes : Buffer.from(all), omitted: undefined }
}

/** What requests are matched by. */
export interface RequestMatch {
  readonly method: string
  /** `/rest/v1.0/projects?per_page=10`, raw and masked; for a file, with its origin in front. */
  readonly target: string
  /** SHA-256 of the masked body in hex; empty if there is no body. */
  readonly bodySha256: string
}

/** Describes a call with its whole body. */
export function matchOfCall(call: Call, body: MaskedBody, copy: BodyCopy): RequestMatch {
  const bodySha256 = copy.length === 0 ? '' : (body.bytes && hash('sha256', body.bytes)) || copy.digest()
  return { method: call.method, target: maskedTarget(call), bodySha256 }
}

/** Path and query as they are recorded, with the origin in front if it is not the API's. */
export function maskedTarget({ path, upstream }: Call): string {
  const isApi = upstream.origin === upstream.environment.apiUrl
  return (isApi ? '' : upstream.origin) + withMaskedQuery(path)
}

function withMaskedQuery(path: string): string {
  const mark = path.indexOf('?')
  return mark === -1 ? path : path.slice(0, mark + 1) + maskQueryValues(path.slice(mark + 1))
}

/** Describes a recorded entry. */
export function matchOfEntry(
  { request, _procoreProxy }: StoredEntry,
  { environment }: RecordedCompany,
): RequestMatch {
  const { method, url, postData } = request
  const isApi = url.startsWith(`${environment.apiUrl}/`)
  const target = withMaskedQuery(isApi ? url.slice(environment.apiUrl.length) : url)
  const text = postData?.text ?? ''
  // A file written by hand has no digests.
  const bodySha256 =
    _procoreProxy?.bodySha256 ?? (text === '' ? '' : hash('sha256', bytesOf(text, postData?._encoding)))
  return { method, target, bodySha256 }
}

/** Equal for two requests exactly if the response to one also answers the other. */
export function matchKey(companyId: string, { method, target, bodySha256 }: RequestMatch): string {
  const mark = target.indexOf('?')
  return [companyId, method, mark === -1 ? target : sorted(target, mark), bodySha256].join('\n')
}

/** With its parameters by name; those of one name keep their order, which may matter. */
function sorted(target: string, mark: number): string {
  const pairs = target
    .slice(mark + 1)
    .split('&')
    .filter((pair) => pair !== '')
  const nameOf = (pair: string) => pair.split('=', 1)[0] as string
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
  pairs.sort((a, b) => compare(nameOf(a), nameOf(b)))
  return target.slice(0, mark + 1) + pairs.join('&')
}

/** The media type that flat headers name; empty if they name none. */
export function contentTypeOf(rawHeaders: readonly string[]): string {
  return headerValues(rawHeaders, 'content-type').join(', ')
}
