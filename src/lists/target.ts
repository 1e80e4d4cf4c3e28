// Reads the address of a list, and finds its next page: by the Link header (RFC 8288), else by counting up to Total.
import { ProxyError } from '../errors.ts'
import { headerValue, type ResponseHead } from '../forward/call.ts'
import { linkTargets } from '../forward/links.ts'

export const LIST_FORMS = ['csv', 'ndjson', 'json'] as const

/** What a caller asks for. */
export interface ListTarget {
  readonly form: (typeof LIST_FORMS)[number]
  /** The API's raw path. `*` instead of a project id means every project. */
  readonly path: string
  /** The raw `name=value` pairs of the query that go to the API. */
  readonly pairs: readonly string[]
  /** Whether the list is read once for each project. */
  readonly isForEachProject: boolean
  /** The columns of `_columns=`, in that order; undefined if it names none, and the rows decide. */
  readonly columns: readonly string[] | undefined
  /** Whether `_bom=1` asks for a byte-order mark. */
  readonly bom: boolean
}

const ADDRESS = new RegExp(`^/_proxy/(${LIST_FORMS.join('|')})(/(?:rest|vapid)/[^?#]*)(?:\\?(.*))?$`)
/** Some clients send `*` as `%2A`. */
const EACH_PROJECT = /^(\/(?:rest|vapid)\/(?:v[\d.]+\/)?(?:companies\/[^/]+\/)?projects\/)(?:\*|%2[Aa])(?=\/)/

/** Reads `/_proxy/csv/rest/…?…`. Throws `route_unknown` for any other path, `request_invalid` for a broken escape. */
export function readListTarget(url: string): ListTarget {
  const [, form, path, query = ''] = ADDRESS.exec(url) ?? []
  if (form === undefined || path === undefined) {
    const help =
      'Write /_proxy/csv/, /_proxy/ndjson/ or /_proxy/json/ and the path of a list: /_proxy/csv/rest/v1.0/projects.'
    throw new ProxyError('route_unknown', 'No path of the API follows the form of the list.', { help })
  }
  // The proxy's own parameters begin with `_` and are not sent to the API.
  const isOwn = (pair: string) => keyIn(pair).startsWith('_')
  const all = pairsIn(query)
  const own = new Map(all.filter(isOwn).map((pair) => [keyIn(pair), valueIn(pair)]))
  const pairs = all.filter((pair) => !isOwn(pair))
  const names = (own.get('_columns') ?? '').split(',').map((name) => name.trim())
  const columns = names.filter((name) => name !== '')
  return {
    form: form as ListTarget['form'],
    path,
    pairs,
    isForEachProject: EACH_PROJECT.test(path) || pairs.some(isEachProject),
    columns: columns.length === 0 ? undefined : columns,
    bom: own.get('_bom') === '1',
  }
}

/** One list of the API. */
export type ListPlace = Pick<ListTarget, 'path' | 'pairs'>

/** The list of the company's projects, which is read first if a list is wanted for each of them. */
export function projectsOf(companyId: string): ListPlace {
  return { path: '/rest/v1.0/projects', pairs: [`company_id=${companyId}`] }
}

/** The same list for one project. */
export function forProject(target: ListPlace, projectId: string): ListPlace {
  const pairs = target.pairs.map((pair) => (isEachProject(pair) ? `project_id=${projectId}` : pair))
  return { path: target.path.replace(EACH_PROJECT, (_, before) => before + projectId), pairs }
}

function isEachProject(pair: string): boolean {
  return keyIn(pair) === 'project_id' && valueIn(pair) === '*'
}

// --- pages -------------------------------------------------------------------------------------------------------------

/** The largest `per_page` that every endpoint takes, and that version 2 of the API takes at all. */
export const SMALLEST_CAP = 100
/** A parameter of a link, as `; rel=next` or `; title="a; b"`. */
const PARAMETER = /;\s*([^\s"=;]+)\s*(?:=\s*(?:"((?:\\.|[^\\"])*)"|([^\s",;]*)))?/g

/** True for paths of version 2, whose lists come in an envelope and in pages of at most 100. */
export function isVersion2(path: string): boolean {
  return /\/v2(?:\.\d+)?\//.test(path)
}

/** The path and query of the first page. `perPage` applies if the caller gave no `per_page`. */
export function firstPage({ path, pairs }: ListPlace, perPage: number): string {
  if (pairs.some((pair) => keyIn(pair) === 'per_page')) return withQuery(path, pairs)
  const size = isVersion2(path) ? Math.min(perPage, SMALLEST_CAP) : perPage
  return withQuery(path, [...pairs, `per_page=${size}`])
}

/** The number of rows before this page, if pages have `size` rows. */
export function rowsBefore(url: string, size: number): number {
  return (pageIn(url) - 1) * size
}

/** How many rows Procore puts into a page, as `Per-Page` says; it may be fewer than were asked for. */
export function sizeOf(head: ResponseHead): number | undefined {
  return wholeNumber(headerValue(head, 'per-page'))
}

/** How many rows the list has, as `Total` says. */
export function totalOf(head: ResponseHead): number | undefined {
  return wholeNumber(headerValue(head, 'total'))
}

interface PageRead {
  readonly first: string
  readonly current: string
  readonly head: ResponseHead
  readonly origin: string
  readonly received: number
  readonly rows: number
}

/**
 * The path and query of the page after `current`; undefined at the end of the list. `received` counts the rows of the
 * list up to the end of this page, `rows` those of this page.
 */
export function nextPage(page: PageRead): string | undefined {
  try {
    return byLink(page) ?? byTotal(page)
  } catch (error) {
    return blameLink(error)
  }
}

function byTotal(page: PageRead): string | undefined {
  const total = totalOf(page.head)
  // An empty page ends the list, because Total may count rows that the service account cannot see.
  if (total === undefined || page.received >= total || page.rows === 0) return undefined
  const [path, pairs] = split(page.current)
  const others = pairs.filter((pair) => keyIn(pair) !== 'page')
  return withQuery(path, [...others, `page=${pageIn(page.current) + 1}`])
}

/** Follows `rel="next"` within the list's own path, and adds parameters of the caller that Procore's links may lack. */
function byLink({ first, current, head, origin }: PageRead): string | undefined {
  const reference = nextReference([head['link']].flat().join(', '))
  const url = reference === undefined ? null : URL.parse(reference, origin + current)
  const [path] = split(current)
  if (url?.origin !== origin || url.pathname !== new URL(origin + path).pathname) return undefined
  const pairs = pairsIn(url.search.slice(1))
  const given = new Set(pairs.map(keyIn)).add('page')
  return withQuery(path, [...pairs, ...split(first)[1].filter((pair) => !given.has(keyIn(pair)))])
}

/** The errors for an address that may not be asked for. */
const REFUSED: readonly string[] = ['request_invalid', 'company_conflict', 'access_denied']

/** Rethrows an error about a page behind the first one: if its address was refused, the API's link is the reason. */
export function blameLink(error: unknown): never {
  if (!(error instanceof ProxyError && REFUSED.includes(error.code))) throw error
  const detail = `The API's link to the next page of the list cannot be followed: ${error.message}`
  throw new ProxyError('upstream_protocol', detail, { cause: error })
}

function nextReference(link: string): string | undefined {
  const targets = linkTargets(link)
  const next = targets.find(({ end }, nth) => {
    const parameters = link.slice(end, targets[nth + 1]?.at).matchAll(PARAMETER)
    const [, , quoted, bare = ''] = parameters.find(([, name]) => name?.toLowerCase() === 'rel') ?? []
    return (quoted ?? bare).toLowerCase().split(/\s+/).includes('next')
  })
  return next && link.slice(next.at + 1, next.end)
}

// --- queries -----------------------------------------------------------------------------------------------------------

function split(url: string): [path: string, pairs: readonly string[]] {
  const [path = '', ...query] = url.split('?')
  return [path, pairsIn(query.join('?'))]
}

function pairsIn(query: string): string[] {
  return query.split('&').filter((pair) => pair !== '')
}

function withQuery(path: string, pairs: readonly string[]): string {
  return `${path}?${pairs.join('&')}`
}

/** The number of the page that the URL asks for. */
function pageIn(url: string): number {
  const pair = split(url)[1].find((each) => keyIn(each) === 'page')
  return wholeNumber(pair && valueIn(pair)) ?? 1
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}

function keyIn(pair: string): string {
  return decode(pair.split('=', 1)[0] as string)
}

function valueIn(pair: string): string {
  return decode(pair.split('=').slice(1).join('='))
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (cause) {
    throw new ProxyError('request_invalid', 'The query contains a broken percent escape.', { cause })
  }
}
