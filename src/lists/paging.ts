// Finds the next page of a list: by the Link header (RFC 8288), else by counting up to Total. Pure functions.
import { headerValue, type ResponseHead } from '../forward/call.ts'
import { keyIn, type ListTarget, valueIn } from './target.ts'

/** The largest `per_page` of version 2 of the API, and the smallest that is tried after a 422. */
const SMALLEST_CAP = 100
const LINK = /<([^<>]*)>([^<]*)/g
const REL = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))/i

/** What is known about a page and the one after it. */
export interface PageRead {
  /** The path and query of the list's first page, and of the page that was read. */
  readonly first: string
  readonly current: string
  readonly head: ResponseHead
  /** `https://api.procore.com`. */
  readonly origin: string
  /** Rows of the list up to the end of this page, and rows on this page. */
  readonly received: number
  readonly rows: number
}

/** True for paths of version 2, whose lists come in an envelope and in pages of at most 100. */
export function isVersion2(path: string): boolean {
  return /\/v2(?:\.\d+)?\//.test(path)
}

/** The path and query of the first page. `perPage` applies if the caller gave no `per_page`. */
export function firstPage({ path, pairs }: ListTarget, perPage: number): string {
  if (pairs.some((pair) => keyIn(pair) === 'per_page')) return withQuery(path, pairs)
  const size = isVersion2(path) ? Math.min(perPage, SMALLEST_CAP) : perPage
  return withQuery(path, [...pairs, `per_page=${size}`])
}

/** The same page with half of its `per_page`, at least 100; undefined if it is no larger than that. */
export function smallerPage(url: string): string | undefined {
  const size = numberIn(url, 'per_page')
  if (size === undefined || size <= SMALLEST_CAP) return undefined
  return replaced(url, 'per_page', Math.max(SMALLEST_CAP, Math.floor(size / 2)))
}

/** The number of rows before this page. */
export function rowsBefore(url: string): number {
  return ((numberIn(url, 'page') ?? 1) - 1) * (numberIn(url, 'per_page') ?? 0)
}

/** How many rows the list has, as `Total` says. */
export function totalOf(head: ResponseHead): number | undefined {
  return wholeNumber(headerValue(head, 'total'))
}

/** The path and query of the next page; undefined at the end of the list. */
export function nextPage(page: PageRead): string | undefined {
  const linked = byLink(page)
  if (linked !== undefined) return linked
  const total = totalOf(page.head)
  // An empty page ends the list, because Total may count rows that the service account cannot see.
  if (total === undefined || page.received >= total || page.rows === 0) return undefined
  return replaced(page.current, 'page', (numberIn(page.current, 'page') ?? 1) + 1)
}

/**
 * Follows `rel="next"` within the list's own origin and path, and adds parameters of the caller that Procore's links
 * may lack.
 */
function byLink({ first, current, head, origin }: PageRead): string | undefined {
  const reference = nextReference([head['link'] ?? []].flat().join(', '))
  const url = reference === undefined ? null : URL.parse(reference, origin + current)
  const [path] = split(current)
  if (url === null || url.origin !== origin || url.pathname !== new URL(origin + path).pathname)
    return undefined
  const pairs = url.search
    .slice(1)
    .split('&')
    .filter((pair) => pair !== '')
  const given = new Set(pairs.map(keyIn)).add('page')
  return withQuery(path, [...pairs, ...split(first)[1].filter((pair) => !given.has(keyIn(pair)))])
}

function nextReference(link: string): string | undefined {
  for (const [, reference, parameters] of link.matchAll(LINK)) {
    const [, quoted, bare] = REL.exec(parameters ?? '') ?? []
    if ((quoted ?? bare ?? '').toLowerCase().split(/\s+/).includes('next')) return reference
  }
  return undefined
}

function split(url: string): [path: string, pairs: readonly string[]] {
  const mark = url.indexOf('?')
  if (mark === -1) return [url, []]
  return [url.slice(0, mark), url.slice(mark + 1).split('&')]
}

function withQuery(path: string, pairs: readonly string[]): string {
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`
}

function replaced(url: string, key: string, value: number): string {
  const [path, pairs] = split(url)
  return withQuery(path, [...pairs.filter((pair) => keyIn(pair) !== key), `${key}=${value}`])
}

function numberIn(url: string, key: string): number | undefined {
  const pair = split(url)[1].find((each) => keyIn(each) === key)
  return pair === undefined ? undefined : wholeNumber(valueIn(pair))
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}
