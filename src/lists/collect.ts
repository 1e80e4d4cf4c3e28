// Reads a whole list from a running proxy into a stream, and reports whether it is complete.
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Dispatcher, request } from 'undici'

export interface CollectRequest {
  readonly dispatcher: Dispatcher
  /** The address of the list at the proxy: `http://127.0.0.1:8377/acme/_proxy/csv/rest/v1.0/projects`. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Called once the list has begun. An error response comes before that. */
  readonly output: () => Writable
  /** Breaks the list off. */
  readonly signal?: AbortSignal
}

/** Enough for the proxy's own problem responses. */
const MOST_ERROR_TEXT = 500

/**
 * Writes the list to the output, and counts the skipped projects. Never rejects: `failure` says why the list is missing
 * or broke off; it is undefined if the list is complete.
 */
export async function collectList({ dispatcher, url, headers, output, signal }: CollectRequest) {
  try {
    // The proxy has its own time limits. A list may wait for the rate budget for as long as they allow.
    const options = { dispatcher, headers, headersTimeout: 0, bodyTimeout: 0, signal }
    const { statusCode, body, trailers } = await request(url, options)
    if (statusCode !== 200) return { skipped: 0, failure: problemText(statusCode, await body.text()) }
    await pipeline(body, output())
    return { skipped: Number(trailers['procore-proxy-skipped'] ?? 0), failure: undefined }
  } catch (error) {
    return { skipped: 0, failure: `The list is not complete: ${(error as Error).message}.` }
  }
}

function problemText(status: number, body: string): string {
  try {
    const { detail, help } = JSON.parse(body) as { detail?: string; help?: string }
    // On a command line there is no header, and nothing keeps trying.
    const advice = help?.includes('Retry-After') ? 'Try again later.' : help
    if (typeof detail === 'string') return [detail, advice].filter(Boolean).join(' ')
  } catch {
    // It is not a problem response of the proxy.
  }
  const isCut = body.length > MOST_ERROR_TEXT
  return `Procore answered ${status}: ${body.slice(0, MOST_ERROR_TEXT)}${isCut ? '…' : ''}`
}
