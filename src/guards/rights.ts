// Decides what a named caller may call: its companies, access, rules and projects. The company's own rights apply as
// well.
import type { Caller } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { readingsOf } from '../routing/path-readings.ts'
import { quote } from '../routing/quote.ts'
import { type AccessDecision, decideAccess, isRead, type JudgedRequest, type Rights } from './access.ts'
import { FILES_PATH } from './file-hosts.ts'
import { mayUseProject, namedProjects } from './projects.ts'

/** The parts of a company that a caller's rights depend on. Under `"*"`, the name is the id. */
export interface JudgedCompany {
  readonly name: string
  readonly company: Rights
}

/** Paths that name no project but that a caller with `projects` needs. */
const OF_EVERYONE = /^\/(?:rest|vapid)\/(?:v[0-9.]+\/)?(?:me|companies)$/
/** The list of projects, for reading only. */
const LIST_OF_PROJECTS = /^\/(?:rest|vapid)\/(?:v[0-9.]+\/)?(?:companies\/[0-9]+\/)?projects$/

const HELP =
  'Change this caller’s `companies`, `access`, `rules` or `projects` if this call is meant to pass.'
const HELP_ON_RULES =
  'Change these `rules` if this call is meant to pass; `procore-proxy explain METHOD URL` shows which rule decides.'

/**
 * Throws `access_denied` if the caller or the company does not allow the request. Without a caller, the company alone
 * decides.
 */
export function judgeCaller(
  caller: Caller | undefined,
  company: JudgedCompany,
  request: JudgedRequest,
): AccessDecision {
  const decision = decideCaller(caller, company, request)
  if (decision.allowed) return decision
  throw new ProxyError('access_denied', decision.why, helpFor(caller, company.company))
}

/** Without a caller and rules, the general help of the error applies. */
function helpFor(caller: Caller | undefined, { rules }: Rights): { help?: string } {
  if (caller !== undefined) return { help: HELP }
  return rules.length === 0 ? {} : { help: HELP_ON_RULES }
}

/**
 * Applies the rights of caller and company together, for the guard and for `explain`. Throws `request_invalid` for a
 * query that cannot be decoded.
 */
export function decideCaller(
  caller: Caller | undefined,
  { name, company }: JudgedCompany,
  request: JudgedRequest,
): AccessDecision {
  if (caller === undefined) return decideAccess(company, request)
  if (!mayUseCompany(caller, name))
    return denied(`The caller ${quote(caller.name)} may not use this company.`)
  const byCompany = decideAccess(company, request)
  if (!byCompany.allowed) return byCompany
  const rights = { access: caller.access, rules: caller.rules, subject: `The caller ${quote(caller.name)}` }
  const byCaller = decideAccess(rights, request)
  if (!byCaller.allowed || caller.projects === undefined) return byCaller
  return decideProjects(caller.projects, request, byCaller)
}

/** Whether the caller may use a company. Under `"*"`, companies are named by their ids. */
export function mayUseCompany(caller: Pick<Caller, 'companies'>, name: string): boolean {
  return caller.companies?.includes(name) ?? true
}

/**
 * The companies that a request may see in status, page, events and metrics. Both the caller and `fixed` (the company
 * of the address, host name or prefix that was used) limit them. Undefined means all.
 */
export function visibleCompanies(
  caller: Pick<Caller, 'companies'> | undefined,
  fixed: string | undefined,
): ReadonlySet<string> | undefined {
  const { companies } = caller ?? {}
  if (fixed === undefined) return companies === undefined ? undefined : new Set(companies)
  return new Set(companies === undefined || companies.includes(fixed) ? [fixed] : [])
}

// Invariant: no rule opens another project. A call that names no project needs a rule, or is one of the few
// exceptions.
function decideProjects(
  projects: readonly string[],
  request: JudgedRequest,
  byCaller: AccessDecision,
): AccessDecision {
  const isFile = request.path.startsWith(FILES_PATH)
  const named = isFile ? { ids: [], isConfined: false } : namedProjects(request.path, request.query)
  if (named === undefined) return denied('The path is too long, or escaped too often, to be judged.')
  const other = named.ids.find((id) => !mayUseProject(projects, id))
  if (other !== undefined)
    return denied(`The request names the project ${quote(other)}, which this caller may not use.`)
  if (named.isConfined || byCaller.byRule) return byCaller
  if (!isFile && needsNoProject(request)) return byCaller
  return denied('This caller may use some projects only, and the request names none.')
}

function needsNoProject({ method, path }: JudgedRequest): boolean {
  const readings = readingsOf(path) ?? []
  const paths = readings.map((reading) => reading.replace(/\/$/, ''))
  if (paths.length === 0) return false
  return paths.every((each) => OF_EVERYONE.test(each) || (isRead(method) && LIST_OF_PROJECTS.test(each)))
}

function denied(why: string): AccessDecision {
  return { allowed: false, why, byRule: false }
}
