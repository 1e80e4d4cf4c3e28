// Makes the text of a list. It begins once the first rows are there; if the list is incomplete, it breaks off and
// never ends cleanly.
import type { ServerResponse } from 'node:http'
import type { ListSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { CallerGoneError } from '../forward/call.ts'
import { breakOff } from '../forward/forward.ts'
import type { Logger } from '../observe/log.ts'
import { csvWriter } from './csv.ts'
import { PageRefusedError } from './pages.ts'
import type { Batch, ProjectPlace, Skipped } from './projects.ts'
import { idText, withProject } from './rows.ts'
import type { ListTarget } from './target.ts'
import { jsonWriter, type ListWriter, ndjsonWriter } from './writer.ts'

/** What a list is made of, and where it goes. */
export interface ListOutput {
  readonly batches: AsyncGenerator<Batch, void>
  readonly writer: ListWriter
  /** Filled with the skipped projects. */
  readonly skipped: Skipped[]
  /** For the log. */
  readonly path: string
  readonly response: ServerResponse
  readonly log: Logger
  /** Called with the reason if the list broke off. */
  readonly brokeOff: (error: unknown) => void
}

/** How many rows are parsed at the same time. */
const ROWS_AT_A_TIME = 10
/** How many projects a warning names. */
const MOST_NAMED = 20

/** The writer of the form that the caller asks for. */
export function writerFor(target: ListTarget, { csvFormulas }: ListSettings): ListWriter {
  if (target.form === 'csv') return csvWriter(target, csvFormulas)
  return target.form === 'ndjson' ? ndjsonWriter() : jsonWriter()
}

/**
 * Yields the text, a few rows at a time. An error before the first rows is thrown before any text is yielded. A later
 * error is thrown too, and destroys the stream that is made from the text.
 */
export async function* listText(output: ListOutput): AsyncGenerator<string, void> {
  const { batches, writer, skipped, path, log } = output
  let hasBegun = false
  let pending = ''
  try {
    for await (const batch of batches) {
      if ('skipped' in batch) {
        skipped.push(batch.skipped)
        pending += writer.skipped(batch.skipped)
        continue
      }
      const { page, project } = batch
      const hasMore = page.hasNext || (project !== undefined && project.number < project.of)
      if (!hasBegun && page.rows.length > 0)
        pending += writer.begin(withProjects(page.rows, project), hasMore)
      for (const rows of inParts(withProjects(page.rows, project), page.isNew)) {
        const text = pending + writer.rows(rows)
        pending = ''
        hasBegun = true
        yield text
      }
      page.release()
      log.debug({ path, received: page.received, total: page.total, project }, 'a page of a list')
    }
    yield pending + writer.end()
  } catch (error) {
    if (!hasBegun || error instanceof CallerGoneError) throw error
    output.brokeOff(error)
    yield pending + writer.failed(reasonOf(error))
    await flushed(output.response)
    breakOff(output.response)
    throw error
  } finally {
    if (skipped.length > 0) log.warn(summaryOf(path, skipped), 'projects were passed over in a list')
  }
}

function* withProjects(rows: Iterable<unknown>, project: ProjectPlace | undefined): Generator<unknown, void> {
  for (const row of rows) yield project === undefined ? row : withProject(project.id, row)
}

/** Handles a few rows at a time, so that their objects can be freed before the next ones are parsed. */
function* inParts(rows: Iterable<unknown>, isWanted: (row: unknown) => boolean): Generator<unknown[], void> {
  let part: unknown[] = []
  for (const row of rows) {
    if (isWanted(row)) part.push(row)
    if (part.length < ROWS_AT_A_TIME) continue
    yield part
    part = []
  }
  if (part.length > 0) yield part
}

function summaryOf(path: string, skipped: readonly Skipped[]): object {
  const named = skipped.slice(0, MOST_NAMED)
  const projects = named.map(({ project_id, status }) => `${idText(project_id)} (${status})`)
  return { path, skipped: skipped.length, projects }
}

/** The error for an NDJSON caller: the status, and for the proxy's own errors also the code. */
function reasonOf(error: unknown): object {
  if (error instanceof PageRefusedError) return { status: error.response.status, detail: error.message }
  if (!(error instanceof ProxyError)) return { code: 'internal_error', status: 500 }
  return { code: error.code, status: error.status, detail: error.message, help: error.help }
}

/** Waits until everything written has been sent, because a response that is broken off discards its buffer. */
async function flushed({ socket }: ServerResponse): Promise<void> {
  if (socket === null || socket.destroyed) return
  await new Promise<void>((resolve) => {
    socket.once('close', resolve)
    socket.write('', () => resolve())
  })
}
