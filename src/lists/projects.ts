// Reads a list once for each project, a few projects at a time, and yields the rows in the order of the projects.
import { ProxyError } from '../errors.ts'
import { type Page, type PageReader, PageRefusedError, readPages } from './pages.ts'
import { idText, isRow } from './rows.ts'
import { forProject, type ListTarget } from './target.ts'

/** How the projects of a list are read. */
export interface ProjectReader extends PageReader {
  readonly companyId: string
  /** The caller's projects (ids as text); undefined for all. */
  readonly projects: readonly string[] | undefined
  readonly maxProjects: number
  /** Projects that are read at the same time. */
  readonly concurrency: number
}

/** A skipped project, with the status of its refusal. */
export interface Skipped {
  readonly project_id: unknown
  readonly status: number
}

/** A page of a list, with its project for a target with `*`; or a skipped project. */
export type Batch = { readonly page: Page; readonly project?: ProjectPlace } | { readonly skipped: Skipped }

/** A project with its position, from 1, and the number of projects. */
export interface ProjectPlace {
  /** As the API writes it: a number (perhaps a raw one) or text. */
  readonly id: unknown
  readonly number: number
  readonly of: number
}

interface Reading {
  readonly project: ProjectPlace
  readonly pages: AsyncGenerator<Page, void>
  readonly first: Promise<IteratorResult<Page, void>>
}

/** Yields the list page by page; for a target with `*`, project by project. Throws like {@link readPages}. */
export async function* readList(reader: ProjectReader, target: ListTarget): AsyncGenerator<Batch, void> {
  if (target.isForEachProject) yield* readEachProject(reader, target)
  else for await (const page of readPages(reader, target)) yield { page }
}

async function* readEachProject(reader: ProjectReader, target: ListTarget): AsyncGenerator<Batch, void> {
  const ids = await projectIds(reader, target)
  const underWay: Reading[] = []
  let started = 0
  const startMore = (): Reading | undefined => {
    while (underWay.length < reader.concurrency && started < ids.length) {
      underWay.push(startReading(reader, target, { id: ids[started], number: ++started, of: ids.length }))
    }
    return underWay[0]
  }
  try {
    for (let reading = startMore(); reading !== undefined; reading = startMore()) {
      yield* batchesOf(reading)
      underWay.shift()
    }
  } finally {
    for (const { pages } of underWay) pages.return().catch(() => undefined)
  }
}

function startReading(reader: ProjectReader, target: ListTarget, project: ProjectPlace): Reading {
  const pages = readPages(reader, forProject(target, idText(project.id) ?? ''))
  const first = pages.next()
  // This promise may reject long before it is awaited.
  first.catch(() => undefined)
  return { project, pages, first }
}

async function* batchesOf({ project, pages, first }: Reading): AsyncGenerator<Batch, void> {
  let step: IteratorResult<Page, void>
  try {
    step = await first
  } catch (error) {
    yield { skipped: { project_id: project.id, status: refusalStatus(error) } }
    return
  }
  for (; !step.done; step = await pages.next()) yield { page: step.value, project }
}

/** The status for which a project is skipped. Every other error ends the list. */
function refusalStatus(error: unknown): number {
  if (error instanceof ProxyError && error.code === 'access_denied') return error.status
  if (error instanceof PageRefusedError && [403, 404].includes(error.response.status))
    return error.response.status
  throw error
}

/** The ids of the company's projects as the API writes them, at most `maxProjects`. */
async function projectIds(reader: ProjectReader, target: ListTarget): Promise<readonly unknown[]> {
  const mine = reader.projects === undefined ? undefined : new Set(reader.projects)
  const list = { ...target, path: '/rest/v1.0/projects', pairs: [`company_id=${reader.companyId}`] }
  const ids: unknown[] = []
  for await (const { rows, isNew, total, release } of readPages(reader, list)) {
    for (const row of rows) {
      const id = isRow(row) && isNew(row) ? row['id'] : undefined
      const text = idText(id)
      if (text !== undefined && mine?.has(text) !== false) ids.push(id)
    }
    release()
    if (ids.length > reader.maxProjects || (mine === undefined && (total ?? 0) > reader.maxProjects)) {
      const detail = `The company has more than ${reader.maxProjects} projects (\`lists.maxProjects\`).`
      throw new ProxyError('list_too_long', detail)
    }
  }
  return ids
}
