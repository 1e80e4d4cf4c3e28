// The API's endpoints: those of Procore that the demo and the tests need, and some for tests only.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, apiError, json } from './answer.ts'
import {
  budgetsOf,
  type Data,
  type FakeCompany,
  number,
  type Project,
  projectV1,
  projectV2,
  rfisOf,
} from './data.ts'
import type { Exchange } from './listener.ts'
import { type LongList, type PagingOptions, pageOf } from './paging.ts'
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
  readonly paging: PagingOptions
  readonly apiOrigin: () => string
  readonly storageOrigin: () => string
}

type Handle = (call: Call, id: string, projectId: string) => Answer | Promise<Answer>
type Route = readonly [method: string, path: RegExp, answer: Handle]

const COMPANY_V2 = '^/rest/v2\\.\\d/companies/(\\d+)'
const ROUTES: readonly Route[] = [
  ['GET', /^\/rest\/v1\.0\/me$/, showMe],
  ['GET', /^\/rest\/v1\.0\/companies$/, listCompanies],
  ['GET', /^\/(?:rest\/v1\.0|vapid)\/projects$/, listProjects],
  ['POST', /^\/rest\/v1\.0\/projects$/, createProject],
  [
    'GET',
    /^\/rest\/v1\.0\/projects\/(\d+)$/,
    withProject(({ company }, it) => json(200, projectV1(it, company))),
  ],
  ['PATCH', /^\/rest\/v1\.0\/projects\/(\d+)$/, withProject(changeProject)],
  ['DELETE', /^\/rest\/v1\.0\/projects\/(\d+)$/, withProject(removeProject)],
  [
    'GET',
    /^\/rest\/v1\.0\/projects\/(\d+)\/rfis$/,
    withProject((call, it) => page(call, rfisOf(it, call.company))),
  ],
  ['GET', /^\/rest\/v1\.0\/rfis$/, listRfis],
  [
    'GET',
    new RegExp(`${COMPANY_V2}/projects$`),
    ofCompany((call) => page(call, allProjects(call, projectV2))),
  ],
  [
    'GET',
    new RegExp(`${COMPANY_V2}/projects/(\\d+)/budgets$`),
    ofCompany((call, _, id) => withProject(() => page(call, budgetsOf(projectOf(call, id)!)))(call, id, '')),
  ],
  ['POST', /^\/rest\/v1\.0\/files$/, ({ exchange: { entry } }) => json(201, received(entry))],
  ['GET', /^\/rest\/v1\.0\/files\/(\d+)$/, showFile],
  ['GET', /^\/rest\/v1\.0\/rfis\/(\d+)\.pdf$/, exportRfi],
  ['GET', /^\/rest\/v1\.0\/large$/, sendLarge],
  ['GET', /^\/rest\/v1\.0\/slow$/, answerSlowly],
  ['*', /^\/rest\/v1\.0\/status\/([2-5]\d\d)$/, (_, code) => json(Number(code), { status: Number(code) })],
  ['*', /^\/rest\/v1\.0\/echo(?:\/.*)?$/, echo],
]

/** The response of the endpoint; 404 if there is none. */
export async function answerRoute(call: Call): Promise<Answer> {
  const { entry, path } = call.exchange
  const method = entry.method === 'HEAD' ? 'GET' : entry.method
  for (const [routeMethod, pattern, answer] of ROUTES) {
    const match = routeMethod === '*' || routeMethod === method ? pattern.exec(path) : null
    if (match !== null) return answer(call, match[1] ?? '', match[2] ?? '')
  }
  return notFound(call)
}

function notFound({ exchange }: Call): Answer {
  return apiError(exchange.path, 404, 'Resource not found')
}

function page({ exchange: { path, query }, apiOrigin, paging }: Call, list: LongList): Answer {
  return pageOf(list, { origin: apiOrigin(), path, query }, paging)
}

function ofCompany(answer: Handle): Handle {
  return (call, id, projectId) => (id === call.company.id ? answer(call, id, projectId) : notFound(call))
}

function projectOf({ data, company }: Call, id: string): Project | undefined {
  return data.projects(company).get(id)
}

function withProject(answer: (call: Call, project: Project) => Answer | Promise<Answer>): Handle {
  return (call, id) => {
    const project = projectOf(call, id)
    return project === undefined ? notFound(call) : answer(call, project)
  }
}

function showMe({ token }: Call): Answer {
  return json(200, { id: 160586, login: `${token.clientId}@procore.example`, name: 'Demo Service Account' })
}

function listCompanies({ data, tokens, token }: Call): Answer {
  const companies = tokens.companiesOf(token.clientId).flatMap((id) => data.company(id) ?? [])
  const connected = companies.filter((company) => company.connected !== false)
  return json(
    200,
    connected.map(({ id, name }) => ({ id: number(id), is_active: true, name })),
  )
}

/** `company_id` is optional here, unlike at Procore. That of another company is a 404. */
function listProjects(call: Call): Answer {
  const { exchange, company } = call
  if ((exchange.query.get('company_id') ?? company.id) !== company.id) return notFound(call)
  return page(
    call,
    allProjects(call, (project) => projectV1(project, company)),
  )
}

function allProjects({ data, company }: Call, shape: (project: Project) => object): LongList {
  const projects = [...data.projects(company).values()].map(shape)
  return { length: projects.length, item: (index) => projects[index] }
}

function listRfis(call: Call): Answer | Promise<Answer> {
  const answer = withProject((_, project) => page(call, rfisOf(project, call.company)))
  return answer(call, call.exchange.query.get('project_id') ?? '', '')
}

async function createProject(call: Call): Promise<Answer> {
  const { company, data, apiOrigin } = call
  const name = await givenName(call)
  if (name === undefined) return json(422, { errors: { name: ["can't be blank"] } })
  const project = data.addProject(company, name)
  const headers = { Location: `${apiOrigin()}/rest/v1.0/projects/${project.id}` }
  return json(201, projectV1(project, company), headers)
}

async function changeProject(call: Call, project: Project): Promise<Answer> {
  const name = await givenName(call)
  if (name !== undefined) project.name = name
  return json(200, projectV1(project, call.company))
}

function removeProject({ company, data }: Call, project: Project): Answer {
  data.projects(company).delete(project.id)
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

/** Returns the request to its sender, including the token. Never print this response. */
function echo({ exchange: { entry } }: Call): Answer {
  const { method, url, rawHeaders, httpVersion, body } = entry
  return json(200, { method, url, httpVersion, rawHeaders, ...received(entry), body })
}

function received(entry: Exchange['entry']): { bytes: number; sha256: string } {
  return { bytes: entry.bodyBytes, sha256: entry.bodySha256 }
}
