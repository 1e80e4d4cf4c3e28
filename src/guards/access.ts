// What may be called: a company's `access`, held against the method and everything that could pass for another method.
import type { Access } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { queryValues } from '../routing/query.ts'
import type { RawHeaders } from '../routing/raw-headers.ts'

/** As much of a request as decides whether it may go up. `query` is raw, with its `?`. */
export interface JudgedRequest {
  readonly method: string
  readonly rawHeaders: RawHeaders
  readonly query: string
}

const OVERRIDES: ReadonlySet<string> = new Set([
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
])

/** Throws `access_denied` where the company's `access` does not let this request through. */
export function judgeAccess(access: Access, request: JudgedRequest): void {
  if (access === 'read-only') refuseWrites(request)
}

// Invariant: what passes is a reading method to Procore too. Rack::MethodOverride heeds overrides on POST alone, but
// neither this header nor this parameter has business in a read.
function refuseWrites({ method, rawHeaders, query }: JudgedRequest): void {
  if (!reads(method)) throw denied(`${method} is a writing method.`)
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (isOverride(rawHeaders[at]!) && overridesToWrite(rawHeaders[at + 1]!)) {
      throw denied('A header asks for another method.')
    }
  }
  for (const value of queryValues(query, '_method')) {
    if (overridesToWrite(value)) throw denied("The query's _method asks for another method.")
  }
}

function reads(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

/** An override that names nothing overrides nothing. */
function overridesToWrite(value: string): boolean {
  const method = value.trim().toUpperCase()
  return method !== '' && !reads(method)
}

function isOverride(name: string): boolean {
  if (name.length < 13 || name.length > 22) return false
  return OVERRIDES.has(name.toLowerCase().replaceAll('_', '-'))
}

function denied(reason: string): ProxyError {
  return new ProxyError('access_denied', `The company is read-only: ${reason}`)
}
