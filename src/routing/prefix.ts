// Removes `/NAME` or `/ID` from the front of a path, and decides which paths are forwarded and which are the proxy's
// own.
import { ProxyError } from '../errors.ts'
import { type CompanyTable, companyOfId, knownCompanies, type NamedCompany } from './company-table.ts'
import { quote } from './quote.ts'

/** A raw path, split into the company prefix and the rest. */
export interface CutPath {
  /** As written, `/acme` or `/7656`; empty if there is none. */
  readonly prefix: string
  /** What follows the prefix. */
  readonly path: string
  readonly company: NamedCompany | undefined
}

const NAME = /^[a-z0-9][a-z0-9-]*$/

/**
 * Removes a company prefix if a known route follows it. Reserved words are never a prefix, and any other path is
 * returned whole. Throws `company_unknown` for a name or id that is not configured, and `company_conflict` if one
 * company's name is another one's id.
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

/** True for paths that the proxy answers itself. The path is raw, without prefix. */
export function isOwnPath(path: string): boolean {
  return (
    path === '/' ||
    isBelowProxy(path) ||
    path === '/oauth/token' ||
    path === '/oauth/token/info' ||
    path === '/oauth/revoke'
  )
}

/** True for paths that go to Procore. The path is raw, without prefix. */
export function isForwardedPath(path: string): boolean {
  return path.startsWith('/rest/') || path.startsWith('/vapid/')
}

/** True if the first segment is a reserved word and something follows it, and for `/_proxy`, which leads to the page. */
function isRoute(path: string): boolean {
  return isForwardedPath(path) || isBelowProxy(path) || path.startsWith('/oauth/')
}

function isBelowProxy(path: string): boolean {
  return path === '/_proxy' || path.startsWith('/_proxy/')
}
