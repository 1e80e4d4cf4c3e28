// Who looks at status, page, events and metrics, and what of them this viewer may see.
import type { Company, Config } from '../config/config.ts'
import type { Exchange } from './exchange.ts'

/** What a viewer may see, which is what it may call. */
export interface Viewer {
  /** Names of companies, `*` for any id; undefined for all. */
  readonly companies: ReadonlySet<string> | undefined
  /** Only the requests of this caller, if it is limited to projects; undefined for all. */
  readonly caller: string | undefined
  /** The same for a caller that rules keep from some paths: others may have asked for those. Undefined for all. */
  readonly requestsOf?: string | undefined
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
export function seesRequest(viewer: Viewer, { group, caller }: Pick<Exchange, 'group' | 'caller'>): boolean {
  const whose = viewer.caller ?? viewer.requestsOf
  if (whose !== undefined && whose !== caller) return false
  return group === undefined
    ? viewer.companies === undefined || viewer.caller !== undefined
    : seesCompany(viewer, group)
}

/** True if nothing is hidden from the viewer. */
export function seesAll({ companies, caller }: Viewer): boolean {
  return companies === undefined && caller === undefined
}
