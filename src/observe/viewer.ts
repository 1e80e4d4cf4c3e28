// Who looks at status, page, events and metrics, and what of them this viewer may see.
import type { Company, Config } from '../config/config.ts'
import { isRead } from '../guards/access.ts'
import type { Exchange } from './exchange.ts'

/** What a viewer may see, which is what it may call. */
export interface Viewer {
  /** Names of companies, `*` for any id; undefined for all. */
  readonly companies: ReadonlySet<string> | undefined
  /** The name of the caller that it is; undefined if it has none. */
  readonly caller: string | undefined
  /** What limits it to its own requests; those of others may show what it may not call. */
  readonly limitedBy?: 'projects' | 'rules' | undefined
  /** True if it may only read, and so sees no writes of others. */
  readonly readsOnly?: boolean
}

/** Sees everything. */
export const EVERYTHING: Viewer = { companies: undefined, caller: undefined }

/** True if the viewer may see what counts under this name. */
export function seesCompany({ companies }: Viewer, group: string): boolean {
  return companies === undefined || companies.has(group)
}

/** The companies of the configuration that the viewer may see; `*`, with an empty id, is any other id. */
export function companiesSeenBy({ companies, anyCompany }: Config, viewer: Viewer): readonly Company[] {
  const any = anyCompany && { ...anyCompany, name: '*', id: '', isDefault: false, listen: undefined }
  return [...companies, ...(any ? [any] : [])].filter(({ name }) => seesCompany(viewer, name))
}

/** True where the viewer may see the request. One without a company is for those who see all, or for its own caller. */
export function seesRequest(
  viewer: Viewer,
  { group, caller, method }: Pick<Exchange, 'group' | 'caller' | 'method'>,
): boolean {
  const isOwn = caller !== undefined && caller === viewer.caller
  const isForeign = viewer.limitedBy !== undefined || (viewer.readsOnly === true && !isRead(method))
  if (isForeign && !isOwn) return false
  return group === undefined ? isOwn || viewer.companies === undefined : seesCompany(viewer, group)
}

/** True if nothing but requests is hidden from the viewer. */
export function seesAll({ companies, limitedBy }: Viewer): boolean {
  return companies === undefined && limitedBy !== 'projects'
}
