// Cuts `/NAME` or `/ID` off the front of a path, and tells which paths are forwarded and which are the proxy's own.
import { ProxyError } from '../errors.ts'
import { type CompanyTable, companyOfId, knownCompanies, type NamedCompany } from './company-table.ts'
import { quote } from './quote.ts'

/** A raw path apart from the company in front of it. */
export interface CutPath {
  /** As written, `/acme` or `/7656`; empty where there is none. */
  readonly prefix: string
  /** What follows the prefix. */
  readonly path: string
  readonly company: NamedCompany | undefined
}

const NAME = /^[a-z0-9][a-z0-9-]*$/

/**
 * Cuts a company prefix where a known route follows it; reserved words are never a prefix, and any other path comes back
 * whole. Throws `company_unknown` for a name or id that is not configured, `company_conflict` where one company's name is
 * another's id.
 */
export function cutPrefix(table: CompanyTable, path: string): CutPath {
  if (isRoute(path)) return { prefix: '', path, company: undefined }
  const slash = path.indexOf('/', 1)
  const rest = slash === -1 ? '' : path.slice(slash)
  if (!isRoute(rest)) return { prefix: '', path, company: undefined }
  const first = path.slice(1, slash)
  const company = companyOfPrefix(table, first)
  if (company !== undefined) return { prefix: path.slice(0, slash), path: rest, company }
  if (!NAME.test(first)) return { prefix: '', path, company: undefined }
  throw new ProxyError(
    'company_unknown',
    `The path prefix names ${quote(first)}, which is not configured.${knownCompanies(table)}`,
  )
}

function companyOfPrefix(table: CompanyTable, first: string): NamedCompany | undefined {
  const byName = table.byName.get(first)
  const byId = companyOfId(table, first)
  if (byName !== undefined && byId !== undefined && byName.id !== byId.id) {
    throw new ProxyError(
      'company_conflict',
      `${quote(first)} is the name of one company and the id of another.`,
    )
  }
  return byName ?? byId
}

/** True for what the proxy answers itself; the path is raw, its prefix cut. */
export function isOwnPath(path: string): boolean {
  return (
    path === '/' ||
    path === '/_proxy' ||
    path.startsWith('/_proxy/') ||
    path === '/oauth/token' ||
    path === '/oauth/token/info' ||
    path === '/oauth/revoke'
  )
}

/** True for what goes to Procore; the path is raw, its prefix cut. */
export function isForwardedPath(path: string): boolean {
  return path.startsWith('/rest/') || path.startsWith('/vapid/')
}

/** True where the first segment is a reserved word and something follows it. */
function isRoute(path: string): boolean {
  return isForwardedPath(path) || path.startsWith('/_proxy/') || path.startsWith('/oauth/')
}
