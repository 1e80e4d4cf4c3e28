// The text of a list: begun once its first rows are there, and broken off, never ended, where it is not complete.
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { ListSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { CallerGoneError } from '../forward/call.ts'
import type { Logger } from '../observe/log.ts'
import { csvWriter } from './csv.ts'
import { PageRefusedError } from './pages.ts'
import type { Batch, Skipped } from './projects.ts'
import { idText, withProject } from './rows.ts'
import type { ListTarget } from './target.ts'
import { jsonWriter, type ListWriter, ndjsonWriter } from './writer.ts'

/** A list whose first rows were read, or that has none. */
export interface OpenList {
  readonly writer: ListWriter
  /** What was read so far: projects that were passed over, then the first rows. */
  readonly opening: readonly Batch[]
  readonly rest: AsyncGenerator<Batch, void>
  /** Projects that were passed over, as far as the text was made. */
  readonly skipped: Skipped[]
}

type PageBatch = Extract<Batch, { readonly page: unknown }>

/** Where the text of a list goes. */
export interface ListOutput {
  readonly list: OpenList
  /** For the log. */
  readonly path: string
  readonly request: FastifyRequest
  readonly response: ServerResponse
  readonly log: Logger
  brokeOff(request: FastifyRequest, error: unknown): void
}

/** Rows that are objects at the same time. */
const ROWS_AT_A_TIME = 50
/** Projects that a warning names. */
const MOST_NAMED = 20

/** Reads up to the first rows, so that an error before them can still be answered as an error. */
export async function openList(
  batches: AsyncGenerator<Batch, void>,
  target: ListTarget,
  settings: Pick<ListSettings, 'csvFormulas'>,
): Promise<OpenList> {
  const opening: Batch[] = []
  for (let step = await batches.next(); !step.done; step = await batches.next()) {
    opening.push(step.value)
    if ('page' in step.value && step.value.page.rows.length > 0) break
  }
  return { writer: writerFor(target, settings), opening, rest: batches, skipped: [] }
}

/** The text, a page at a time. Throws where the list breaks off, which destroys the stream that is made of it. */
export async function* listText(output: ListOutput): AsyncGenerator<string, void> {
  const { list, log, path, request } = output
  const { writer, opening, rest, skipped } = list
  try {
    let isBegun = false
    for await (const batch of inOrder(opening, rest)) {
      if ('skipped' in batch) {
        skipped.push(batch.skipped)
        yield writer.skipped(batch.skipped)
        continue
      }
      const { page, project } = batch
      const { received, total } = page
      if (!isBegun && page.rows.length > 0) yield writer.begin(rowsOf(batch), hasMore(batch))
      isBegun ||= page.rows.length > 0
      for (const rows of inParts(rowsOf(batch), page.isNew)) yield writer.rows(rows)
      log.debug({ path, received, total, project }, 'a page of a list')
    }
    yield writer.end()
  } catch (error) {
    if (error instanceof CallerGoneError) throw error
    output.brokeOff(request, error)
    yield writer.failed(reasonOf(error))
    await breakOff(output)
    throw error
  } finally {
    await rest.return()
    if (skipped.length > 0) {
      const projects = skipped
        .slice(0, MOST_NAMED)
        .map((each) => `${idText(each.project_id)} (${each.status})`)
      log.warn({ path, skipped: skipped.length, projects }, 'projects were passed over in a list')
    }
  }
}

async function* inOrder(
  opening: readonly Batch[],
  rest: AsyncGenerator<Batch, void>,
): AsyncGenerator<Batch, void> {
  yield* opening
  yield* rest
}

function hasMore({ page, project }: PageBatch): boolean {
  return page.hasNext || (project !== undefined && project.number < project.of)
}

function* rowsOf({ page, project }: PageBatch): Generator<unknown, void> {
  for (const row of page.rows) yield project === undefined ? row : withProject(project.id, row)
}

/** A few rows at a time: what is made of them is gone before the next ones are parsed. */
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

function writerFor(target: ListTarget, { csvFormulas }: Pick<ListSettings, 'csvFormulas'>): ListWriter {
  if (target.form === 'csv') return csvWriter(target, csvFormulas)
  return target.form === 'ndjson' ? ndjsonWriter() : jsonWriter()
}

/** What an NDJSON caller learns: of Procore's answers the status, of the proxy's own errors the code too. */
function reasonOf(error: unknown): object {
  if (error instanceof PageRefusedError) return { status: error.response.status, detail: error.message }
  if (!(error instanceof ProxyError)) return { code: 'internal_error', status: 500 }
  return { code: error.code, status: error.status, detail: error.message, help: error.help }
}

/** Waits until what was written has left, since a stream that breaks off throws it away. */
async function breakOff({ request, response }: ListOutput): Promise<void> {
  const socket: Socket | null = response.socket
  if (socket === null || socket.destroyed) return
  await new Promise<void>((resolve) => {
    socket.once('close', resolve)
    socket.write('', () => resolve())
  })
  // To HTTP/1.0 the end of the connection is the end of the answer, so only a reset tells that it is not complete.
  if (request.raw.httpVersion === '1.0' && socket.remoteAddress !== undefined) socket.resetAndDestroy()
}
