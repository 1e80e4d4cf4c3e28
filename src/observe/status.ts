// The response of `/_proxy/status`, which `procore-proxy status` prints. No field contains a secret.
import type { Access } from '../config/config.ts'
import type { SavedBy } from './exchange.ts'
import type { LikelyCause } from './likely-causes.ts'
import type { StatusClass } from './metrics.ts'

// status fields: docs/operations.md shows from here …

/** The response of `/_proxy/status`. Times are ISO 8601, in UTC. */
export interface Status {
  readonly version: string
  readonly node: string
  readonly startedAt: string
  readonly uptimeSeconds: number
  /** What `/_proxy/health/ready` says. */
  readonly ready: boolean
  /** Requests that have not ended, including this one. */
  readonly inFlight: number
  /** The addresses it listens on; `company` is set for a company's own address. */
  readonly listeners: readonly { readonly url: string; readonly company: string | null }[]
  readonly companies: readonly CompanyStatus[]
  readonly accounts: readonly AccountStatus[]
  /** Callers with names, as configured. */
  readonly callers: readonly CallerStatus[]
  /** Null before the first reload. */
  readonly lastReload: {
    readonly at: string
    readonly ok: boolean
    /** Why the old configuration stays in force. */
    readonly errors: readonly string[]
  } | null
  /** The budget that replicas share; null if `shared` is not configured. */
  readonly shared: { readonly up: boolean } | null
  /** What the cache holds, and requests under way whose responses others may share; null unless the viewer sees all. */
  readonly cache: {
    readonly entries: number
    readonly bytes: number
    readonly underWay: number
    readonly underWayBytes: number
  } | null
  /** Lines of the log that could not be written since the start. */
  readonly logLinesLost: number
  /** The last 20 requests that the proxy refused or that failed, newest first. Query values are masked. */
  readonly lastErrors: readonly ErrorStatus[]
  /** Sentences about unwise settings and current problems. */
  readonly warnings: readonly string[]
}

export interface CompanyStatus {
  /** `*` for all ids that have no entry of their own. */
  readonly name: string
  readonly id: string | null
  readonly environment: string
  /** The name of its service account. */
  readonly account: string
  readonly access: Access
  /** How many rules it has. */
  readonly rules: number
  readonly default: boolean
  /** Its own address. */
  readonly listen: string | null
  readonly inFlight: number
  /** Requests that wait for the rate budget or for a connection. */
  readonly queued: number
  /** Since the start; `none` if no response was sent. */
  readonly requests: Readonly<Record<StatusClass, number>>
  /** Requests since the start that the cache answered. */
  readonly saved: Readonly<Record<SavedBy, number>>
  /** Procore's 401, 403 and 404 since its last other response; null if there is none. */
  readonly refusals: {
    /** The status of the last one. */
    readonly status: number
    readonly count: number
    readonly at: string
    /** True if there are so many refusals, or nothing else, that the company does not work. */
    readonly persistent: boolean
    /** The exact cause if Procore's text gives it, else the likely ones. */
    readonly causes: readonly LikelyCause[]
  } | null
  /** Procore's rate window that is closest to exhaustion; null before the first response. */
  readonly budget: {
    readonly limit: number
    readonly remaining: number
    readonly resetSeconds: number | null
  } | null
}

/**
 * `valid`; `renewal failing`: the token is still valid, but the last attempt to renew it failed; `rejected`: the
 * login server refuses the credentials; `unavailable`: there is no token for another reason; `idle`: not renewed,
 * because it was not used for a long time; `waiting`: the first token request is in progress.
 */
export type TokenStatus = 'valid' | 'renewal failing' | 'rejected' | 'unavailable' | 'idle' | 'waiting'

export interface AccountStatus {
  readonly name: string
  readonly environment: string
  readonly token: TokenStatus
  readonly ageSeconds: number | null
  readonly expiresInSeconds: number | null
  readonly lifetimeSeconds: number | null
  /** Null if a token was issued since then. */
  readonly lastFailure: {
    readonly at: string
    /** rejected, unreachable, timeout, tls, bad_status or bad_body. */
    readonly reason: string
    readonly detail: string
    readonly help: string
  } | null
}

export interface CallerStatus {
  readonly name: string
  /** Null for all. */
  readonly companies: readonly string[] | null
  readonly projects: readonly string[] | null
  readonly access: Access
  /** Since the start. */
  readonly requests: number
}

export interface ErrorStatus {
  readonly at: string
  readonly requestId: string
  readonly method: string
  readonly path: string
  readonly company: string | null
  readonly caller: string | null
  readonly status: number | null
  /** An error code, or `upstream_status` if Procore answered 5xx. */
  readonly code: string
  readonly detail: string
  readonly help: string | null
}

// … to here.
