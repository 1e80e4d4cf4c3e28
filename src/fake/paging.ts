// Pages lists like Procore: a part of a list with the Link, Total and Per-Page headers (pagination.md).
import { type Answer, apiError, json } from './answer.ts'

/** How lists are paged. Each variant is documented by Procore or was observed at some endpoint. */
export interface PagingOptions {
  /** `bare`: links contain only `page` and `per_page`, as in Procore's example; `none`: there are no links. Default `full`. */
  readonly links?: 'full' | 'bare' | 'none'
  /** The largest `per_page` of version 1; default 2000. Version 2 has 100. */
  readonly mostPerPage?: number
  /** What a larger `per_page` gets: the largest (default), or 422. */
  readonly tooLarge?: 'cap' | 'refuse'
}

/** A list of which only the requested page is created. */
export interface LongList {
  readonly length: number
  item(index: number): unknown
}

type Requested = { readonly origin: string; readonly path: string; readonly query: URLSearchParams }

/** The page that `page` and `per_page` ask for, in the envelope of the path's version; links are absolute. */
export function pageOf(
  list: LongList,
  { origin, path, query }: Requested,
  options: PagingOptions = {},
): Answer {
  const { links = 'full', mostPerPage = 2000, tooLarge = 'cap' } = options
  const isVersion2 = path.startsWith('/rest/v2')
  const most = isVersion2 ? 100 : mostPerPage
  const asked = wholeNumber(query.get('per_page'), isVersion2 ? 10 : 20)
  if (asked > most && tooLarge === 'refuse') return apiError(path, 422, `per_page must be at most ${most}`)
  const perPage = Math.min(asked, most)
  const page = wholeNumber(query.get('page'), 1)
  const last = Math.max(1, Math.ceil(list.length / perPage))
  const link = (rel: string, to: number): string => {
    const target = new URLSearchParams(links === 'bare' ? '' : query)
    target.set('page', String(to))
    target.set('per_page', String(perPage))
    return `<${origin}${path}?${target}>; rel="${rel}"`
  }
  const before = page > 1 ? [link('prev', page - 1)] : []
  const after = page < last ? [link('next', page + 1)] : []
  const Link = [link('first', 1), ...before, ...after, link('last', last)].join(', ')
  const start = (page - 1) * perPage
  const count = Math.max(0, Math.min(perPage, list.length - start))
  const items = Array.from({ length: count }, (_, index) => list.item(start + index))
  const headers = {
    Total: String(list.length),
    'Per-Page': String(perPage),
    ...(links !== 'none' && { Link }),
  }
  return json(200, isVersion2 ? { data: items } : items, headers)
}

function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : otherwise
}
