// Reads a list page by page. Each page is a request like any other.
import { ProxyError } from '../errors.ts'
import { StoredResponse, type UpstreamResponse } from '../forward/call.ts'
import type { PageBody } from './page-buffers.ts'
import { firstPage, nextPage, rowsBefore, smallerPage, totalOf } from './paging.ts'
import { type Rows, readRows, SeenIds } from './rows.ts'
import type { ListTarget } from './target.ts'

/** The complete response for one page. */
export interface PageAnswer {
  readonly response: UpstreamResponse
  readonly body: PageBody
}

/** How pages are requested. */
export interface PageReader {
  /** Sends the request for this path and query of the API. Throws `ProxyError` if it may not be sent or fails. */
  readonly ask: (url: string) => Promise<PageAnswer>
  /** `https://api.procore.com`; links to pages are followed there and nowhere else. */
  readonly apiOrigin: string
  readonly perPage: number
  /** The limits of one list. */
  readonly maxPages: number
}

export interface Page {
  readonly rows: Rows
  /** False for a row that has appeared before. Call it once for each row. */
  readonly isNew: (row: unknown) => boolean
  /** The rows of the list so far, and in total if `Total` gives it. */
  readonly received: number
  readonly total: number | undefined
  readonly hasNext: boolean
  /** Call this once the rows are no longer needed. */
  readonly release: () => void
}

/** Procore answered a page with something other than success. */
export class PageRefusedError extends Error {
  override readonly name = 'PageRefusedError'
  /** The response as it arrived. */
  readonly response: StoredResponse

  constructor(url: string, { response, body }: PageAnswer) {
    super(`Procore answered ${response.status} to ${url.split('?', 1)[0]}.`)
    const { status, statusText, rawHeaders } = response
    this.response = new StoredResponse(status, statusText, rawHeaders, Buffer.from(body.bytes ?? ''))
  }
}

/**
 * Yields the pages of a list. Throws {@link PageRefusedError}, `list_not_a_list`, `list_too_long`, and what `ask`
 * throws. The list is complete only if the generator ends normally.
 */
export async function* readPages(reader: PageReader, target: ListTarget): AsyncGenerator<Page, void> {
  const seen = new SeenIds()
  let url = firstPage(target, reader.perPage)
  let answer = await reader.ask(url)
  // If Procore refuses the page size, ask for smaller pages.
  for (
    let smaller = smallerPage(url);
    answer.response.status === 422 && smaller !== undefined;
    smaller = smallerPage(url)
  ) {
    url = smaller
    answer = await reader.ask(url)
  }
  const first = url
  let received = rowsBefore(first)
  for (let count = 1; ; count += 1) {
    const rows = rowsOf(url, answer)
    received += rows.length
    const { head } = answer.response
    const total = totalOf(head)
    // `Total` shows before the first row whether the list is too long.
    const toCome = total === undefined || rows.length === 0 ? 0 : Math.ceil((total - received) / rows.length)
    if (count === 1 && toCome >= reader.maxPages) throw tooManyPages(reader)
    const next = nextPage({
      first,
      current: url,
      head,
      origin: reader.apiOrigin,
      received,
      rows: rows.length,
    })
    yield {
      rows,
      isNew: (row) => seen.isNew(row),
      received,
      total,
      hasNext: next !== undefined,
      release: answer.body.release,
    }
    if (next === undefined) return
    if (count >= reader.maxPages) throw tooManyPages(reader)
    if (next === url)
      throw new ProxyError('upstream_protocol', 'A page of the list names itself as the next page.')
    url = next
    answer = await reader.ask(url)
  }
}

function rowsOf(url: string, answer: PageAnswer): Rows {
  const { status } = answer.response
  const { bytes } = answer.body
  if (bytes === undefined) {
    throw new ProxyError('list_too_long', 'A page of the list is longer than 16 MiB.', {
      help: 'Ask for fewer rows a page with per_page.',
    })
  }
  if (status < 200 || status > 299) throw new PageRefusedError(url, answer)
  return readRows(url.split('?', 1)[0] as string, bytes)
}

function tooManyPages({ maxPages }: PageReader): ProxyError {
  return new ProxyError('list_too_long', `The list has more than ${maxPages} pages (\`lists.maxPages\`).`)
}
