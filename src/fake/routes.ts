// The endpoints of the fake's API (those of Procore that the demo and the tests need, and some for tests only) and of its file host.
import { createHmac, randomBytes } from 'node:crypto'
import { type Answer, apiError, type Faults, json, play } from './answer.ts'
import { budgetsOf, type LongList, type Project, projectV1, projectV2, rfisOf, type Shelf } from './data.ts'
import type { Exchange, Handler } from './listener.ts'
import type { IssuedToken, Tokens } from './login.ts'

/** An accepted call. */
export interface Call extends Shelf {
  readonly exchange: Exchange
  readonly token: IssuedToken
  readonly paging: PagingOptions
  readonly apiOrigin: () => string
  readonly storageOrigin: () => string
}

type PagedCall = Pick<Call, 'apiOrigin' | 'paging'> & { readonly exchange: Pick<Exchange, 'path' | 'query'> }

/** `id` and `project` are what the path names, if it has these parts. */
type Handle = (call: Call, project: Project, id: string) => Answer | Promise<Answer>

const V1_PROJECT = '/rest/v1.0/projects/:project'
const V2_PROJECTS = '/rest/v2.:minor/companies/:company/projects'
const ROUTES = (
  [
    ['GET', '/rest/v1.0/me', showMe],
    ['GET', '/(?:rest/v1.0|vapid)/projects', listProjects],
    ['POST', '/rest/v1.0/projects', createProject],
    ['GET', V1_PROJECT, ({ company }, project) => json(200, projectV1(project, company))],
    ['PATCH', V1_PROJECT, changeProject],
    ['DELETE', V1_PROJECT, removeProject],
    ['GET', `${V1_PROJECT}/rfis`, (call, project) => page(call, rfisOf(project, call.company))],
    ['GET', '/rest/v1.0/rfis', listRfis],
    ['GET', V2_PROJECTS, (call) => page(call, allProjects(call, projectV2))],
    ['GET', `${V2_PROJECTS}/:project/budgets`, (call, project) => page(call, budgetsOf(project))],
    ['POST', '/rest/v1.0/files', ({ exchange: { entry } }) => json(201, received(entry))],
    ['GET', '/rest/v1.0/files/:id', showFile],
    [
      'GET',
      '/rest/v1.0/rfis/:id.pdf',
      (call, _, id) => redirectToFile(call.storageOrigin(), `rfi-${id}.pdf`),
    ],
    ['GET', '/rest/v1.0/large', sendLarge],
    ['*', '/rest/v1.0/status/:id', (_call, _project, id) => json(Number(id), { status: Number(id) })],
    ['*', '/rest/v1.0/echo(?:/[^]*)?', echo],
  ] satisfies [string, string, Handle][]
).map(([method, path, answer]) => ({ method, pattern: patternOf(path), answer: answer as Handle }))

/** In a path, `:name` means digits. */
function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/(?<!\?):(\w+)/g, '(?<$1>\\d+)')}$`)
}

/** The response of the endpoint; 404 if there is none, and for another company's or an unknown project. */
export async function answerRoute(call: Call): Promise<Answer> {
  const { entry, path } = call.exchange
  const method = entry.method === 'HEAD' ? 'GET' : entry.method
  const route = ROUTES.find((one) => ['*', method].includes(one.method) && one.pattern.test(path))
  const { company = call.company.id, project: projectId, id = '' } = route?.pattern.exec(path)?.groups ?? {}
  const project = call.projects.get(projectId ?? '')
  const isKnown = company === call.company.id && (projectId === undefined || project !== undefined)
  return route !== undefined && isKnown ? route.answer(call, project as Project, id) : notFound(call)
}

function notFound({ exchange }: Call): Answer {
  return apiError(exchange.path, 404, 'Resource not found')
}

function showMe({ token }: Call): Answer {
  return json(200, { id: 160586, login: `${token.clientId}@procore.example`, name: 'Demo Service Account' })
}

/** `company_id` is optional here, unlike at Procore. That of another company is a 404. */
function listProjects(call: Call): Answer {
  const { exchange, company } = call
  if ((exchange.query.get('company_id') ?? company.id) !== company.id) return notFound(call)
  const projects = allProjects(call, (project) => projectV1(project, company))
  return page(call, projects)
}

function allProjects(call: Call, shape: (project: Project) => object): LongList {
  const projects = [...call.projects.values()].map(shape)
  return { length: projects.length, item: (index) => projects[index] }
}

function listRfis(call: Call): Answer {
  const project = call.projects.get(call.exchange.query.get('project_id') ?? '')
  return project === undefined ? notFound(call) : page(call, rfisOf(project, call.company))
}

async function createProject(call: Call): Promise<Answer> {
  const { company, addProject, apiOrigin } = call
  const name = await givenName(call)
  if (name === undefined) return json(422, { errors: { name: ["can't be blank"] } })
  const project = addProject(name)
  const headers = { Location: `${apiOrigin()}/rest/v1.0/projects/${project.id}` }
  return json(201, projectV1(project, company), headers)
}

async function changeProject(call: Call, project: Project): Promise<Answer> {
  project.name = (await givenName(call)) ?? project.name
  return json(200, projectV1(project, call.company))
}

function removeProject({ projects }: Call, { id }: Project): Answer {
  projects.delete(id)
  return { status: 204 }
}

/** The name in `{"project":{"name":…}}`; undefined if the body has none. */
async function givenName({ exchange }: Call): Promise<string | undefined> {
  try {
    const body = JSON.parse((await exchange.received()).toString()) as { project?: { name?: unknown } }
    const name = body.project?.name
    return typeof name === 'string' && name !== '' ? name : undefined
  } catch {
    return undefined
  }
}

function showFile({ storageOrigin }: Call, _: Project, id: string): Answer {
  const link = (path: string): string => `${storageOrigin()}/${path}/files/${id}.pdf?companyId=1`
  const links = { url: link('api/v5'), direct_url: link('fas/api/v5') }
  return json(200, { id: Number(id), name: `${id}.pdf`, ...links })
}

function sendLarge({ exchange: { query } }: Call): Answer {
  const headers = { 'Content-Type': 'application/octet-stream' }
  const chunked = query.has('chunked') ? { ...headers, 'Transfer-Encoding': 'chunked' } : headers
  return { status: 200, headers: chunked, fillBytes: Number(query.get('bytes') ?? 1_000_000) }
}

/** Returns the request to its sender, including the token. Never print this response. */
function echo({ exchange: { entry } }: Call): Answer {
  const { method, url, rawHeaders, httpVersion, body } = entry
  return json(200, { method, url, httpVersion, rawHeaders, ...received(entry), body })
}

function received(entry: Exchange['entry']): { bytes: number; sha256: string } {
  return { bytes: entry.bodyBytes, sha256: entry.bodySha256 }
}

/** How lists are paged. Each variant is documented by Procore or was observed at some endpoint. */
export interface PagingOptions {
  /** `bare`: links contain only `page` and `per_page`, as in Procore's example; `none`: there are no links. Default `full`. */
  readonly links?: 'full' | 'bare' | 'none'
  /** The largest `per_page` of version 1; default 2000. Version 2 has 100. */
  readonly mostPerPage?: number
  /** What a larger `per_page` gets: the largest (default), or 422. */
  readonly tooLarge?: 'cap' | 'refuse'
}

/** The page that `page` and `per_page` ask for, in the envelope of the path's version; links are absolute. */
export function page({ exchange, apiOrigin, paging }: PagedCall, list: LongList): Answer {
  const { path, query } = exchange
  const { links = 'full', mostPerPage = 2000, tooLarge = 'cap' } = paging
  const isVersion2 = path.startsWith('/rest/v2')
  const most = isVersion2 ? 100 : mostPerPage
  const asked = wholeNumber(query.get('per_page'), isVersion2 ? 10 : 20)
  if (asked > most && tooLarge === 'refuse') return apiError(path, 422, `per_page must be at most ${most}`)
  const perPage = Math.min(asked, most)
  const page = wholeNumber(query.get('page'), 1)
  const last = Math.max(1, Math.ceil(list.length / perPage))
  const pages = {
    first: 1,
    ...(page > 1 && { prev: page - 1 }),
    ...(page < last && { next: page + 1 }),
    last,
  }
  const Link = Object.entries(pages).map(([rel, to]) => {
    const target = new URLSearchParams(links === 'bare' ? '' : query)
    target.set('page', String(to))
    target.set('per_page', String(perPage))
    return `<${apiOrigin()}${path}?${target}>; rel="${rel}"`
  })
  const start = (page - 1) * perPage
  const count = Math.max(0, Math.min(perPage, list.length - start))
  const items = Array.from({ length: count }, (_, index) => list.item(start + index))
  const sizes = { Total: String(list.length), 'Per-Page': String(perPage) }
  const headers = { ...sizes, ...(links !== 'none' && { Link: Link.join(', ') }) }
  return json(200, isVersion2 ? { data: items } : items, headers)
}

function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : otherwise
}

const KEY = randomBytes(32)
const FILE = /^\/(presigned|fas\/api\/v5\/files|api\/v5\/files)\/([\w.-]+)$/

function signature(file: string): string {
  return createHmac('sha256', KEY).update(file).digest('hex')
}

/** Redirects to a link below the file host that serves the file without a bearer. */
function redirectToFile(storageOrigin: string, file: string): Answer {
  const Location = `${storageOrigin}/presigned/${file}?expires=3600&sig=${signature(file)}`
  return { status: 302, headers: { Location }, body: '' }
}

type Deps = { readonly tokens: Tokens; readonly faults: Faults; readonly storageOrigin: () => string }

/**
 * Answers `/presigned/FILE?sig=` (no bearer), `/fas/api/v5/files/FILE` (bearer, gives the file) and
 * `/api/v5/files/FILE` (bearer, redirects to the presigned link).
 */
export function createStorage(deps: Deps): Handler {
  return async (exchange) => {
    const { entry } = exchange
    const fault = deps.faults.next(deps.faults.storage, entry.method, entry.url) ?? {}
    await play(exchange, fault, { Server: 'AmazonS3' }, async () => fileAnswer(exchange, deps))
  }
}

function fileAnswer({ entry, path, query }: Exchange, { tokens, storageOrigin }: Deps): Answer {
  const [, kind, file] = FILE.exec(path) ?? []
  const { authorization } = entry.headers
  if (file === undefined || !['GET', 'HEAD'].includes(entry.method)) {
    return s3Error(404, 'NoSuchKey', 'The specified key does not exist.')
  }
  const pdf = { status: 200, headers: { 'Content-Type': 'application/pdf' }, body: `%PDF-1.7 fake ${file}\n` }
  if (kind === 'presigned') {
    if (authorization !== undefined) return s3Error(400, 'InvalidArgument', 'Only one auth mechanism allowed')
    if (query.get('sig') === signature(file)) return pdf
    return s3Error(403, 'SignatureDoesNotMatch', 'The request signature does not match.')
  }
  const token = tokens.sentIn(entry)
  if (token === undefined || !tokens.isAlive(token)) return json(401, { message: 'Unauthorized' })
  return kind?.startsWith('fas/') ? pdf : redirectToFile(storageOrigin(), file)
}

function s3Error(status: number, code: string, message: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  return { status, headers: { 'Content-Type': 'application/xml' }, body }
}
