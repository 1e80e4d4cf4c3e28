// The API's endpoints: the few of Procore's that the demo and the tests need, and some made for tests.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, apiError, json } from './answer.ts'
import type { Data, FakeCompany, Project } from './data.ts'
import type { Exchange } from './listener.ts'
import { pageOf } from './paging.ts'
import type { Presigner } from './storage.ts'
import type { IssuedToken, Tokens } from './tokens.ts'

/** An accepted call. */
export interface Call {
  readonly exchange: Exchange
  readonly company: FakeCompany
  readonly token: IssuedToken
  readonly data: Data
  readonly tokens: Tokens
  readonly presigner: Presigner
  readonly apiOrigin: () => string
  readonly storageOrigin: () => string
}

type Route = readonly [
  method: string,
  path: RegExp,
  answer: (call: Call, id: string) => Answer | Promise<Answer>,
]

const V1_PAGES = { usual: 20, most: 2000 }
const V2_PAGES = { usual: 10, most: 100 }

const ROUTES: readonly Route[] = [
  ['GET', /^\/rest\/v1\.0\/me$/, showMe],
  ['GET', /^\/rest\/v1\.0\/companies$/, listCompanies],
  ['GET', /^\/(?:rest\/v1\.0|vapid)\/projects$/, listProjects],
  ['POST', /^\/rest\/v1\.0\/projects$/, createProject],
  ['GET', /^\/rest\/v1\.0\/projects\/(\d+)$/, (call, id) => withProject(call, id, showProject)],
  ['PATCH', /^\/rest\/v1\.0\/projects\/(\d+)$/, (call, id) => withProject(call, id, changeProject)],
  ['DELETE', /^\/rest\/v1\.0\/projects\/(\d+)$/, (call, id) => withProject(call, id, removeProject)],
  ['GET', /^\/rest\/v2\.\d\/companies\/(\d+)\/projects$/, listProjectsV2],
  ['POST', /^\/rest\/v1\.0\/files$/, ({ exchange: { entry } }) => json(201, received(entry))],
  ['GET', /^\/rest\/v1\.0\/files\/(\d+)$/, showFile],
  ['GET', /^\/rest\/v1\.0\/rfis\/(\d+)\.pdf$/, exportRfi],
  ['GET', /^\/rest\/v1\.0\/large$/, sendLarge],
  ['GET', /^\/rest\/v1\.0\/slow$/, answerSlowly],
  [
    '*',
    /^\/rest\/v1\.0\/status\/([2-5]\d\d)$/,
    (_, code) => ({ ...json(Number(code), { status: Number(code) }) }),
  ],
  ['*', /^\/rest\/v1\.0\/echo(?:\/.*)?$/, echo],
]

/** The answer of the endpoint; 404 where there is none. */
export async function answerRoute(call: Call): Promise<Answer> {
  const { entry, path } = call.exchange
  const method = entry.method === 'HEAD' ? 'GET' : entry.method
  for (const [routeMethod, pattern, answer] of ROUTES) {
    const match = routeMethod === '*' || routeMethod === method ? pattern.exec(path) : null
    if (match !== null) return answer(call, match[1] ?? '')
  }
  return notFound(call)
}

function notFound({ exchange }: Call): Answer {
  return apiError(exchange.path, 404, 'Resource not found')
}

function showMe({ token }: Call): Answer {
  return json(200, { id: 160586, login: `${token.clientId}@procore.example`, name: 'Demo Service Account' })
}

function listCompanies({ data, tokens, token }: Call): Answer {
  const companies = tokens.companiesOf(token.clientId).map((id) => data.company(id))
  const connected = companies.filter((company) => company !== undefined && company.connected !== false)
  return json(
    200,
    connected.map((company) => company && { id: number(company.id), is_active: true, name: company.name }),
  )
}

/** `company_id` may be left out here, which Procore's own does not allow; another company's is a 404. */
function listProjects(call: Call): Answer {
  const { exchange, company, data, apiOrigin } = call
  if ((exchange.query.get('company_id') ?? company.id) !== company.id) return notFound(call)
  const projects = [...data.projects(company).values()]
  const page = pageOf(projects, apiOrigin(), exchange.path, exchange.query, V1_PAGES)
  return json(
    200,
    page.items.map((project) => projectV1(project, company)),
    page.headers,
  )
}

function listProjectsV2(call: Call, companyId: string): Answer {
  const { exchange, company, data, apiOrigin } = call
  if (companyId !== company.id) return notFound(call)
  const projects = [...data.projects(company).values()]
  const page = pageOf(projects, apiOrigin(), exchange.path, exchange.query, V2_PAGES)
  const items = page.items.map(({ id, name, number, active }) => ({
    id,
    name,
    project_number: number,
    active,
  }))
  return json(200, { data: items }, page.headers)
}

async function createProject(call: Call): Promise<Answer> {
  const { company, data, apiOrigin } = call
  const name = await givenName(call)
  if (name === undefined) return json(422, { errors: { name: ["can't be blank"] } })
  const project = data.addProject(company, name)
  return json(201, projectV1(project, company), {
    Location: `${apiOrigin()}/rest/v1.0/projects/${project.id}`,
  })
}

function withProject(
  call: Call,
  id: string,
  answer: (call: Call, project: Project) => Answer | Promise<Answer>,
): Answer | Promise<Answer> {
  const project = call.data.projects(call.company).get(id)
  return project === undefined ? notFound(call) : answer(call, project)
}

function showProject({ company }: Call, project: Project): Answer {
  return json(200, projectV1(project, company))
}

async function changeProject(call: Call, project: Project): Promise<Answer> {
  const name = await givenName(call)
  if (name !== undefined) project.name = name
  return showProject(call, project)
}

function removeProject({ company, data }: Call, project: Project): Answer {
  data.projects(company).delete(project.id)
  return { status: 204 }
}

/** The name in `{"project":{"name":…}}`; undefined where the body holds none. */
async function givenName({ exchange }: Call): Promise<string | undefined> {
  try {
    const body = JSON.parse((await exchange.received()).toString()) as { project?: { name?: unknown } }
    const name = body.project?.name
    return typeof name === 'string' && name !== '' ? name : undefined
  } catch {
    return undefined
  }
}

function showFile({ storageOrigin }: Call, id: string): Answer {
  const link = (path: string): string => `${storageOrigin()}/${path}/files/${id}.pdf?companyId=1`
  return json(200, { id: number(id), name: `${id}.pdf`, url: link('api/v5'), direct_url: link('fas/api/v5') })
}

function exportRfi({ storageOrigin, presigner }: Call, id: string): Answer {
  return { status: 302, headers: { Location: storageOrigin() + presigner.sign(`rfi-${id}.pdf`) }, body: '' }
}

function sendLarge({ exchange: { query } }: Call): Answer {
  const headers = { 'Content-Type': 'application/octet-stream' }
  const chunked = query.has('chunked') ? { ...headers, 'Transfer-Encoding': 'chunked' } : headers
  return { status: 200, headers: chunked, fillBytes: Number(query.get('bytes') ?? 1_000_000) }
}

async function answerSlowly({ exchange }: Call): Promise<Answer> {
  const ms = Number(exchange.query.get('ms') ?? 1000)
  await sleep(ms, undefined, { signal: exchange.over })
  return json(200, { ms })
}

/** Shows the request back to its sender, the bearer with it: never print this answer. */
function echo({ exchange: { entry } }: Call): Answer {
  const { method, url, rawHeaders, httpVersion, body } = entry
  return json(200, { method, url, httpVersion, rawHeaders, ...received(entry), body })
}

function received(entry: Exchange['entry']): { bytes: number; sha256: string } {
  return { bytes: entry.bodyBytes, sha256: entry.bodySha256 }
}

function projectV1(project: Project, company: FakeCompany): object {
  return {
    id: number(project.id),
    name: project.name,
    display_name: `${project.number} - ${project.name}`,
    project_number: project.number,
    city: project.city,
    active: project.active,
    company: { id: number(company.id), name: company.name },
    created_at: project.createdAt,
  }
}

/** An id as a JSON number with all its digits, which a JavaScript number may not hold. */
function number(id: string): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(id)
}
