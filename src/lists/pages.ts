// Reads a list page by page: one request after another, each of them like any other request.
import { ProxyError } from '../errors.ts'
import { StoredResponse, type UpstreamResponse } from '../forward/upstream-response.ts'
import type { PageBody } from './page-buffers.ts'
import { firstPage, nextPage, rowsBefore, smallerPage, totalOf } from './paging.ts'
import { type Rows, readRows, SeenIds } from './rows.ts'
import type { ListTarget } from './target.ts'

/** A page's complete answer. */
export interface PageAnswer {
  readonly response: UpstreamResponse
  readonly body: PageBody
}

/** How pages are asked for. */
export interface PageReader {
  /** Sends the request for this path and query of the API. Throws `ProxyError` where it may not be sent or fails. */
  readonly ask: (url: string) => Promise<PageAnswer>
  /** `https://api.procore.com`; links to pages are followed there and nowhere else. */
  readonly apiOrigin: string
  readonly perPage: number
  /** Of one list. */
  readonly maxPages: number
}

export interface Page {
  readonly rows: Rows
  /** False for a row that came on an earlier page, or before on this one; to be asked once for each row. */
  readonly isNew: (row: unknown) => boolean
  /** Rows of the list so far, and in all where `Total` says it. */
  readonly received: number
  readonly total: number | undefined
  readonly hasNext: boolean
  /** To be called once the rows are not needed any more. */
  readonly release: () => void
}

/** Procore answered a page with something other than success. */
export class PageRefusedError extends Error {
  override readonly name = 'PageRefusedError'
  /** The answer as it came. */
  readonly response: StoredResponse

  constructor(url: string, { response, body }: PageAnswer) {
    super(`Procore answered ${response.status} to ${url.split('?', 1)[0]}.`)
    const { status, statusText, rawHeaders } = response
    this.response = new StoredResponse(status, statusText, rawHeaders, Buffer.from(body.bytes ?? ''))
  }
}

/**
 * The pages of a list. Throws {@link PageRefusedError}, `list_not_a_list`, `list_too_long`, and what `ask` throws: the list
 * is complete only where the generator ends.
 */
export async function* readPages(reader: PageReader, target: ListTarget): AsyncGenerator<Page, void> {
  const seen = new SeenIds()
  let url = firstPage(target, reader.perPage)
  let answer = await reader.ask(url)
  // Where Procore finds the page too large, ask for less at a time.
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
    // What Total tells of the pages to come is known before the first row is sent.
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
