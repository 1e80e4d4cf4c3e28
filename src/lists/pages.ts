// Reads a list page by page, or once for each project. Each page is a request like any other.
import type { ListSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { responseWith, storedResponse, type UpstreamResponse } from '../forward/call.ts'
import type { BodySource } from '../forward/response-body.ts'
import { idText, isRow, type Rows, readRows, SeenIds } from './rows.ts'
import {
  blameLink,
  firstPage,
  forProject,
  type ListPlace,
  type ListTarget,
  nextPage,
  projectsOf,
  rowsBefore,
  SMALLEST_CAP,
  sizeOf,
  totalOf,
} from './target.ts'

/** Longer pages are refused, because a page is held in memory. */
const MOST_PAGE_BYTES = 16 * 1024 * 1024
const FIRST_BYTES = 512 * 1024

/** A body in borrowed memory. */
export interface PageBody {
  readonly bytes: Buffer
  /** False if the body is longer than 16 MiB; `bytes` is then its beginning. */
  readonly isWhole: boolean
  /** Gives the memory back. The bytes must not be read after this. */
  readonly release: () => void
}

/**
 * Reads a body to its end; `giveUp` is called if it is too long. Rejects if it breaks off. The memory comes from the
 * `free` buffers of the list, because V8 lets 64 MB of buffers accumulate before it collects them.
 */
export async function readBody(free: Buffer[], source: BodySource, giveUp: () => void): Promise<PageBody> {
  let buffer = free.pop() ?? Buffer.allocUnsafeSlow(FIRST_BYTES)
  let filled = 0
  let isWhole = true
  const done = source.pipe((piece) => {
    if (!isWhole) return true
    const length = filled + piece.length
    if (length > MOST_PAGE_BYTES) {
      isWhole = false
      giveUp()
      return true
    }
    if (length > buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(2 * length, MOST_PAGE_BYTES))
      buffer.copy(larger, 0, 0, filled)
      buffer = larger
    }
    piece.copy(buffer, filled)
    filled = length
    return true
  })
  await done.catch((error) => {
    if (isWhole) throw error
  })
  return { bytes: buffer.subarray(0, filled), isWhole, release: () => void free.push(buffer) }
}

/** The complete response for one page. */
export interface PageAnswer {
  readonly response: UpstreamResponse
  readonly body: PageBody
}

/** How the pages of a list are requested. */
export interface ListReader extends ListSettings {
  /** Sends the request for this path and query of the API. Throws `ProxyError` if it may not be sent or fails. */
  readonly ask: (url: string) => Promise<PageAnswer>
  /** `https://api.procore.com`; links to pages are followed there and nowhere else. */
  readonly apiOrigin: string
  readonly companyId: string
  /** The caller's projects (ids as text); undefined for all. */
  readonly projects: readonly string[] | undefined
}

interface Page {
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

/**
 * Procore answered a page with something other than success. `response` is that answer, as it arrived; if it is longer
 * than 16 MiB, it breaks off there.
 */
export class PageRefusedError extends ProxyError {
  readonly response: UpstreamResponse

  constructor(url: string, { response, body }: PageAnswer) {
    super('upstream_protocol', `Procore answered ${response.status} to ${url.split('?', 1)[0]}.`)
    const { status, statusText, rawHeaders } = response
    const stored = storedResponse(status, statusText, rawHeaders, Buffer.from(body.bytes))
    body.release()
    const pipe = async (write: (chunk: Buffer) => boolean) => {
      await stored.pipe(write)
      throw tooLong()
    }
    this.response = body.isWhole ? stored : responseWith(stored, { pipe })
  }
}

function tooLong(): ProxyError {
  return new ProxyError('list_too_long', 'A page of the list is longer than 16 MiB.', {
    help: 'Ask for fewer rows a page with per_page.',
  })
}

/** Yields the pages of a list for one project or none. It is complete only if the generator ends normally. */
async function* readPages(reader: ListReader, place: ListPlace): AsyncGenerator<Page, void> {
  const { ask, apiOrigin: origin, maxPages } = reader
  const tooManyPages = () =>
    new ProxyError('list_too_long', `The list has more pages than \`lists.maxPages\` allows: ${maxPages}.`)
  const seen = new SeenIds()
  let size = reader.perPage
  let url = firstPage(place, size)
  let answer = await ask(url)
  // It may be the size of the page that Procore refuses. A size of the caller's own stays.
  while (answer.response.status === 422) {
    size = Math.min(size, Math.max(SMALLEST_CAP, Math.floor(size / 2)))
    const smaller = firstPage(place, size)
    if (smaller === url) break
    url = smaller
    answer.body.release()
    answer = await ask(url)
  }
  const first = url
  let received = 0
  for (let count = 1; ; count++) {
    const rows = rowsOf(url, answer)
    const { head } = answer.response
    const rowsOfPage = Math.max(sizeOf(head) ?? 0, rows.length)
    const before = count === 1 ? rowsBefore(url, rowsOfPage) : received
    received = before + rows.length
    const total = totalOf(head)
    const next = nextPage({ first, current: url, head, origin, received, rows: rows.length })
    // `Total` shows before the first row whether the list is too long.
    const most = before + maxPages * (rowsOfPage || Infinity)
    if (count === 1 && next !== undefined && total !== undefined && total > most) throw tooManyPages()
    const { release } = answer.body
    yield { rows, isNew: (row) => seen.isNew(row), received, total, hasNext: next !== undefined, release }
    if (next === undefined) return
    if (count >= maxPages) throw tooManyPages()
    if (next === url)
      throw new ProxyError('upstream_protocol', 'A page of the list names itself as the next page.')
    url = next
    answer = await ask(url).catch(blameLink)
  }
}

function rowsOf(url: string, answer: PageAnswer): Rows {
  const { status } = answer.response
  const { bytes, isWhole } = answer.body
  if (status < 200 || status > 299) throw new PageRefusedError(url, answer)
  if (!isWhole) throw tooLong()
  return readRows(url.split('?', 1)[0] as string, bytes)
}

/** A skipped project, with the status of its refusal. */
export interface Skipped {
  readonly project_id: unknown
  readonly status: number
}

/**
 * A page of a list; for a target with `*`, with its project (`id` as the API writes it, its position from 1, and the
 * number of projects), or a skipped project.
 */
export type Batch =
  | { readonly page: Page; readonly project?: { id: unknown; number: number; of: number } }
  | { readonly skipped: Skipped }

/**
 * Yields the list page by page; for a target with `*`, project by project in their order, a few of them read at the same
 * time. Throws {@link PageRefusedError}, `list_not_a_list`, `list_too_long`, and what `ask` throws.
 */
export async function* readList(reader: ListReader, target: ListTarget): AsyncGenerator<Batch, void> {
  if (!target.isForEachProject) {
    for await (const page of readPages(reader, target)) yield { page }
    return
  }
  const ids = await projectIds(reader)
  const start = (id: unknown) => {
    const pages = readPages(reader, forProject(target, idText(id) ?? ''))
    const first = pages.next()
    // This promise may reject long before it is awaited.
    first.catch(() => undefined)
    return { pages, first }
  }
  const underWay = ids.slice(0, reader.concurrency).map(start)
  for (const [at, id] of ids.entries()) {
    const { pages, first } = underWay.shift()!
    const project = { id, number: at + 1, of: ids.length }
    const status = await first.then(() => undefined, refusalStatus)
    if (status !== undefined) yield { skipped: { project_id: id, status } }
    else {
      for (let step = await first; !step.done; step = await pages.next()) yield { page: step.value, project }
    }
    underWay.push(...ids.slice(at + reader.concurrency, at + reader.concurrency + 1).map(start))
  }
}

/** The status for which a project is skipped. Every other error ends the list. */
function refusalStatus(error: unknown): number {
  if (error instanceof ProxyError && error.code === 'access_denied') return error.status
  const status = error instanceof PageRefusedError ? error.response.status : undefined
  if (status === 403 || status === 404) return status
  throw error
}

/** Anything else could lead a path to another place than the one that was judged. */
const PROJECT_ID = /^\d{1,20}$/

/** The ids of the company's projects as the API writes them, at most `maxProjects`. */
async function projectIds(reader: ListReader): Promise<readonly unknown[]> {
  const { companyId, projects, maxProjects } = reader
  const ids: unknown[] = []
  for await (const { rows, isNew, total, release } of readPages(reader, projectsOf(companyId))) {
    for (const row of rows) {
      if (!isNew(row)) continue
      const id = isRow(row) ? row['id'] : undefined
      const text = idText(id) ?? ''
      if (!PROJECT_ID.test(text)) {
        throw new ProxyError('upstream_protocol', 'A project in the list of projects has no decimal id.')
      }
      if (projects?.includes(text) !== false) ids.push(id)
    }
    release()
    if (ids.length > maxProjects || (projects === undefined && (total ?? 0) > maxProjects)) {
      const detail = `The company has more than ${maxProjects} projects (\`lists.maxProjects\`).`
      throw new ProxyError('list_too_long', detail)
    }
  }
  return ids
}
