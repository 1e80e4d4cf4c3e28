// How a request was saved from going to Procore, read from its Cache-Status (RFC 9211).

export const SAVED_BY = ['coalesced', 'kept', 'refusal'] as const
export type SavedBy = (typeof SAVED_BY)[number]

/** Undefined where the request went to Procore, or the cache was not asked. */
export function savedBy(cacheStatus: string | undefined): SavedBy | undefined {
  if (cacheStatus === undefined) return undefined
  if (/;\s*collapsed\b/.test(cacheStatus)) return 'coalesced'
  if (!/;\s*hit\b/.test(cacheStatus)) return undefined
  return /;\s*detail="?refusal\b/.test(cacheStatus) ? 'refusal' : 'kept'
}
