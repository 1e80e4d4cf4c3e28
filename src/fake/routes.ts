// The endpoints of the fake's API: some of Procore's, with its way of paging.
import { type Answer, apiError, json } from './answer.ts'
import { type LongList, type Project, projectV1, rfisOf, type Shelf } from './data.ts'
import type { Exchange } from './listener.ts'
import type { IssuedToken } from './login.ts'

/** An accepted call. */
export interface Call extends Shelf {
  readonly exchange: Exchange
  readonly token: IssuedToken
}

/** `id` and `project` are what the path names, if it has these parts. */
type Handle = (call: Call, project: Project, id: string) => Answer | Promise<Answer>

/** A method, or `*`, and a path, in which `:name` means digits. */
export type Route = readonly [method: string, path: string, answer: Handle]

const V1_PROJECT = '/rest/v1.0/projects/:project'
const ROUTES: readonly Route[] = [
  ['GET', '/rest/v1.0/me', showMe],
  ['GET', '/(?:rest/v1.0|vapid)/projects', listProjects],
  ['POST', '/rest/v1.0/projects', createProject],
  ['GET', V1_PROJECT, ({ company }, project) => json(200, projectV1(project, company))],
  ['PATCH', V1_PROJECT, changeProject],
  ['DELETE', V1_PROJECT, removeProject],
  ['GET', `${V1_PROJECT}/rfis`, ({ exchange, company }, project) => page(exchange, rfisOf(project, company))],
  ['GET', '/rest/v1.0/rfis', listRfis],
]

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/(?<!\?):(\w+)/g, '(?<$1>\\d+)')}$`)
}

/** Makes the response of the endpoint; 404 if there is none, and for another company's or an unknown project. */
export function createRouter(more: readonly Route[]): (call: Call) => Promise<Answer> {
  const routes = [...ROUTES, ...more].map(([verb, path, answer]) => ({
    verb,
    pattern: patternOf(path),
    answer,
  }))
  return async (call) => {
    const { entry, path } = call.exchange
    const method = entry.method === 'HEAD' ? 'GET' : entry.method
    const route = routes.find(({ verb, pattern }) => ['*', method].includes(verb) && pattern.test(path))
    const parts = route?.pattern.exec(path)?.groups ?? {}
    const { company = call.company.id, project: projectId, id = '' } = parts
    const project = call.projects.get(projectId ?? '')
    const isKnown = company === call.company.id && (projectId === undefined || project !== undefined)
    return route !== undefined && isKnown ? route.answer(call, project as Project, id) : notFound(call)
  }
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
  return page(exchange, projects)
}

/** The projects of the company, in a shape. */
export function allProjects(call: Call, shape: (project: Project) => object): LongList {
  const projects = [...call.projects.values()].map(shape)
  return { length: projects.length, item: (index) => projects[index] }
}

function listRfis(call: Call): Answer {
  const project = call.projects.get(call.exchange.query.get('project_id') ?? '')
  return project === undefined ? notFound(call) : page(call.exchange, rfisOf(project, call.company))
}

async function createProject(call: Call): Promise<Answer> {
  const { company, addProject, exchange } = call
  const name = await givenName(call)
  if (name === undefined) return json(422, { errors: { name: ["can't be blank"] } })
  const project = addProject(name)
  const headers = { Location: `${exchange.origin}/rest/v1.0/projects/${project.id}` }
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

type Paged = Pick<Exchange, 'path' | 'query' | 'origin'>

/** The page that `page` and `per_page` ask for, in the envelope of the path's version; links are absolute. */
export function page({ path, query, origin }: Paged, list: LongList): Answer {
  const isVersion2 = path.startsWith('/rest/v2')
  const perPage = Math.min(wholeNumber(query.get('per_page'), isVersion2 ? 10 : 20), isVersion2 ? 100 : 2000)
  const page = wholeNumber(query.get('page'), 1)
  const last = Math.max(1, Math.ceil(list.length / perPage))
  const pages = {
    first: 1,
    ...(page > 1 && { prev: page - 1 }),
    ...(page < last && { next: page + 1 }),
    last,
  }
  const Link = Object.entries(pages).map(([rel, to]) => {
    const target = new URLSearchParams(query)
    target.set('page', String(to))
    target.set('per_page', String(perPage))
    return `<${origin}${path}?${target}>; rel="${rel}"`
  })
  const start = (page - 1) * perPage
  const count = Math.max(0, Math.min(perPage, list.length - start))
  const items = Array.from({ length: count }, (_, index) => list.item(start + index))
  const headers = { Total: String(list.length), 'Per-Page': String(perPage), Link: Link.join(', ') }
  return json(200, isVersion2 ? { data: items } : items, headers)
}

function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : otherwise
}
