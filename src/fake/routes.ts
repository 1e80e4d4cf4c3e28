// The endpoints of the fake's API: some of Procore's, with its way of paging.
import { apiError, type FakeAnswer, type FakeRequest, json } from './answer.ts'
import { type FakeCompanyData, type Project, projectV1, rfi } from './data.ts'
import type { IssuedToken } from './login.ts'

/** An accepted call. */
export interface FakeCall extends FakeCompanyData {
  readonly request: FakeRequest
  readonly body: string
  readonly token: IssuedToken
}

/** `project` is the one that the path names, if it does; `parts` are the digits in it by name. */
type Handle = (call: FakeCall, project: Project, parts: Readonly<Record<string, string>>) => FakeAnswer

/** A method and a path, in which `:name` means digits. */
export type Route = readonly [method: string, path: string, answer: Handle]

const V1_PROJECT = '/rest/v1.0/projects/:project'
const ROUTES: readonly Route[] = [
  ['GET', '/rest/v1.0/me', showMe],
  ['GET', '/(?:rest/v1.0|vapid)/projects', listProjects],
  ['POST', '/rest/v1.0/projects', createProject],
  ['GET', V1_PROJECT, ({ company }, project) => json(200, projectV1(project, company))],
  ['PATCH', V1_PROJECT, changeProject],
  ['DELETE', V1_PROJECT, removeProject],
  ['GET', `${V1_PROJECT}/rfis`, listRfis],
  ['GET', '/rest/v1.0/rfis', listRfisOfQuery],
]

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/(?<!\?):(\w+)/g, '(?<$1>\\d+)')}$`)
}

/** Makes the response of the endpoint; 404 if there is none, or no such project. */
export function createRouter(more: readonly Route[] = []): (call: FakeCall) => FakeAnswer {
  const routes = [...ROUTES, ...more].map(([verb, path, answer]) => ({
    verb,
    pattern: patternOf(path),
    answer,
  }))
  return (call) => {
    const { method, path } = call.request
    const wanted = method === 'HEAD' ? 'GET' : method
    const route = routes.find(({ verb, pattern }) => verb === wanted && pattern.test(path))
    if (route === undefined) return notFound(call)
    const parts = { ...route.pattern.exec(path)?.groups }
    const project = call.projects.get(parts['project'] ?? '')
    const isKnown = project !== undefined || parts['project'] === undefined
    return isKnown ? route.answer(call, project as Project, parts) : notFound(call)
  }
}

export function notFound({ request }: FakeCall): FakeAnswer {
  return apiError(request.path, 404, 'Resource not found')
}

function showMe({ token }: FakeCall): FakeAnswer {
  const login = `${token.client.clientId}@procore.example`
  return json(200, { id: 160586, login, name: 'Demo Service Account' })
}

/** `company_id` is optional here, unlike at Procore. That of another company is a 404. */
function listProjects(call: FakeCall): FakeAnswer {
  const { request, company } = call
  if ((request.query.get('company_id') ?? company.id) !== company.id) return notFound(call)
  const projects = [...call.projects.values()]
  return page(request, projects.length, (index) => projectV1(projects[index]!, company))
}

function listRfis({ request, company }: FakeCall, project: Project): FakeAnswer {
  return page(request, company.rfis ?? 3, (index) => rfi(project, index))
}

function listRfisOfQuery(call: FakeCall): FakeAnswer {
  const project = call.projects.get(call.request.query.get('project_id') ?? '')
  return project === undefined ? notFound(call) : listRfis(call, project)
}

function createProject(call: FakeCall): FakeAnswer {
  const { company, addProject, request } = call
  const name = givenName(call)
  if (name === undefined) return json(422, { errors: { name: ["can't be blank"] } })
  const project = addProject(name)
  const headers = { Location: `${request.origin}/rest/v1.0/projects/${project.id}` }
  return json(201, projectV1(project, company), headers)
}

function changeProject(call: FakeCall, project: Project): FakeAnswer {
  project.name = givenName(call) ?? project.name
  return json(200, projectV1(project, call.company))
}

function removeProject({ projects }: FakeCall, { id }: Project): FakeAnswer {
  projects.delete(id)
  return { status: 204 }
}

/** The name in `{"project":{"name":…}}`; undefined if the body has none. */
function givenName({ body }: FakeCall): string | undefined {
  try {
    const { name } = (JSON.parse(body) as { project: { name: unknown } }).project
    return typeof name === 'string' && name !== '' ? name : undefined
  } catch {
    return undefined
  }
}

type Paged = Pick<FakeRequest, 'path' | 'query' | 'origin'>

/** The page that `page` and `per_page` ask for, of a list of this length; links are absolute. */
export function page(
  { path, query, origin }: Paged,
  length: number,
  item: (index: number) => object,
): FakeAnswer {
  const perPage = Math.min(wholeNumber(query.get('per_page'), 20), 2000)
  const page = wholeNumber(query.get('page'), 1)
  const last = Math.max(1, Math.ceil(length / perPage))
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
  const count = Math.max(0, Math.min(perPage, length - start))
  const items = Array.from({ length: count }, (_, index) => item(start + index))
  const headers = { Total: String(length), 'Per-Page': String(perPage), Link: Link.join(', ') }
  return json(200, items, headers)
}

export function wholeNumber(text: string | null, otherwise: number): number {
  return text !== null && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : otherwise
}
