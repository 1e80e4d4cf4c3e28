// Procore's pages: a part of a list with the Link, Total and Per-Page headers (pagination.md).

import type { HeaderFields } from './answer.ts'

/** A page of a list. */
export interface Page<T> {
  readonly items: T[]
  readonly headers: HeaderFields
}

/** Page sizes of an API version. */
export interface PageSizes {
  readonly usual: number
  readonly most: number
}

/** The page that `page` and `per_page` ask for; links are absolute on `origin` and keep the rest of the query. */
export function pageOf<T>(
  all: readonly T[],
  origin: string,
  path: string,
  query: URLSearchParams,
  { usual, most }: PageSizes,
): Page<T> {
  const perPage = Math.min(wholeNumber(query.get('per_page'), usual), most)
  const page = wholeNumber(query.get('page'), 1)
  const last = Math.max(1, Math.ceil(all.length / perPage))
  const link = (rel: string, to: number): string => {
    const target = new URLSearchParams(query)
    target.set('page', String(to))
    target.set('per_page', String(perPage))
    return `<${origin}${path}?${target}>; rel="${rel}"`
  }
  const links = [
    link('first', 1),
    ...(page > 1 ? [link('prev', page - 1)] : []),
    ...(page < last ? [link('next', page + 1)] : []),
    link('last', last),
  ]
  return {
    items: all.slice((page - 1) * perPage, page * perPage),
    headers: { Link: links.join(', '), Total: String(all.length), 'Per-Page': String(perPage) },
  }
}

function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : otherwise
}
