// Reads from Cache-Status (RFC 9211) how the cache saved a call to Procore.

export const SAVED_BY = ['coalesced', 'kept', 'refusal'] as const
export type SavedBy = (typeof SAVED_BY)[number]

/** Undefined if the request went to Procore, or if the cache was not used. */
export function savedBy(cacheStatus: string | undefined): SavedBy | undefined {
  if (cacheStatus === undefined) return undefined
  if (/;\s*collapsed\b/.test(cacheStatus)) return 'coalesced'
  if (!/;\s*hit\b/.test(cacheStatus)) return undefined
  return /;\s*detail="?refusal\b/.test(cacheStatus) ? 'refusal' : 'kept'
}
