// What `/_proxy/status` answers and `procore-proxy status` prints: the running proxy on one page, without any secret.
import type { TokenFailure } from '../auth/token-failure.ts'
import type { TokenSource } from '../auth/token-source.ts'
import { listenText } from '../config/addresses.ts'
import type { Access, AnyCompany, Caller, Company } from '../config/config.ts'
import { ERROR_KINDS } from '../errors.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import type { CompanyHistory, Refusals, StatusClass } from './company-history.ts'
import { causeText, type LikelyCause, REFUSED_CREDENTIALS } from './likely-causes.ts'
import type { CompanyLoad, LastReload, Live } from './live.ts'
import type { RecordedError } from './recorder.ts'
import type { SavedBy } from './saved.ts'
import { EVERYTHING, seesAll, seesCompany, type Viewer } from './viewer.ts'

// status fields: docs/operations.md shows from here …

/** The response of `/_proxy/status`. Times are ISO 8601, in UTC. */
export interface Status {
  readonly version: string
  readonly node: string
  readonly startedAt: string
  readonly uptimeSeconds: number
  /** What `/_proxy/health/ready` says. */
  readonly ready: boolean
  /** Requests that have not ended, this one included. */
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
  /** The budget that replicas share; null where `shared` is not configured. */
  readonly shared: { readonly up: boolean } | null
  /** Lines of the log that could not be written since the start. */
  readonly logLinesLost: number
  /** The last 20 requests that the proxy refused or that failed, newest first. Query values are masked. */
  readonly lastErrors: readonly ErrorStatus[]
  /** Sentences: what is allowed but unwise, and what goes wrong at the moment. */
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
  /** How many rules stand before `access`. */
  readonly rules: number
  readonly default: boolean
  /** Its own address. */
  readonly listen: string | null
  readonly inFlight: number
  /** Requests that wait for the rate budget or for a connection. */
  readonly queued: number
  /** Since the start; `none`: no response was sent. */
  readonly requests: Readonly<Record<StatusClass, number>>
  /** Requests since the start that did not have to go to Procore. */
  readonly saved: Readonly<Record<SavedBy, number>>
  /** Procore's 401, 403 and 404 since its last other response; null where that response is the newest. */
  readonly refusals: {
    /** Of the last one. */
    readonly status: number
    readonly count: number
    readonly at: string
    /** So many, or nothing but refusals, that the company must be taken for not working. */
    readonly persistent: boolean
    /** One where Procore's text told it, else the likely ones. */
    readonly causes: readonly LikelyCause[]
  } | null
  /** Procore's rate window that is nearest to its end; null before the first response. */
  readonly budget: {
    readonly limit: number
    readonly remaining: number
    readonly resetSeconds: number | null
  } | null
}

/**
 * `valid`; `renewal failing`: the token still lives, but the last attempt to renew it failed; `rejected`: the login server
 * refuses the credentials; `unavailable`: no token for another reason; `idle`: not renewed, because it was not used for long;
 * `waiting`: the first token request is under way.
 */
export type TokenStatus = 'valid' | 'renewal failing' | 'rejected' | 'unavailable' | 'idle' | 'waiting'

export interface AccountStatus {
  readonly name: string
  readonly environment: string
  readonly token: TokenStatus
  readonly ageSeconds: number | null
  readonly expiresInSeconds: number | null
  readonly lifetimeSeconds: number | null
  /** Null once a token was issued after it. */
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
  /** An error code, or `upstream_status` where Procore answered 5xx. */
  readonly code: string
  readonly detail: string
  readonly help: string | null
}

// … to here.

export interface StatusParts {
  readonly live: Live
  readonly history: CompanyHistory
  /** Those that the viewer may see. */
  readonly errors: readonly RecordedError[]
  readonly lastReload: LastReload | undefined
  readonly viewer?: Viewer
}

/** The status as the viewer may see it. */
export function statusOf({ live, history, errors, lastReload, viewer = EVERYTHING }: StatusParts): Status {
  const { config } = live
  const everything = seesAll(viewer)
  const configured = [
    ...config.companies,
    ...(config.anyCompany ? [{ ...config.anyCompany, name: '*' }] : []),
  ]
  const shown = configured.filter(({ name }) => seesCompany(viewer, name))
  const used = new Set(shown.map(({ account }) => account.key))
  const accounts = live.tokens.filter(({ account }) => everything || used.has(account.key)).map(accountStatus)
  const loads = new Map(live.loads.map((load) => [load.company, load]))
  const companies = shown.map((company) => companyStatus(company, loads.get(company.name), history))
  return {
    version: live.version,
    node: process.versions.node,
    startedAt: new Date(performance.timeOrigin).toISOString(),
    uptimeSeconds: Math.floor(process.uptime()),
    ready: live.ready,
    inFlight: everything ? live.inFlight : companies.reduce((sum, { inFlight }) => sum + inFlight, 0),
    listeners: live.listeners
      .filter(({ company }) =>
        company === undefined ? viewer.companies === undefined : seesCompany(viewer, company),
      )
      .map(({ url, company = null }) => ({ url, company })),
    companies,
    accounts,
    callers: (config.callers ?? [])
      .filter(({ name }) => everything || name === viewer.caller)
      .map((caller) => callerStatus(caller, history)),
    lastReload:
      lastReload === undefined
        ? null
        : {
            at: isoTime(lastReload.at),
            ok: lastReload.ok,
            errors: everything ? lastReload.errors : [],
          },
    shared: live.shared === undefined ? null : { up: live.shared.up },
    logLinesLost: live.logLinesLost,
    lastErrors: errors.map(errorStatus),
    warnings: [
      ...(everything ? [...config.warnings, ...reloadWarning(lastReload)] : []),
      ...accounts.flatMap(tokenWarning),
    ],
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function reloadWarning(last: LastReload | undefined): string[] {
  if (last === undefined || last.ok) return []
  return [`The last reload failed, and the old configuration stays in force: ${last.errors.join(' ')}`]
}

function companyStatus(
  company: Company | (AnyCompany & { readonly name: '*' }) | (AnyCompany & { readonly name: string }),
  load: CompanyLoad | undefined,
  history: CompanyHistory,
): CompanyStatus {
  const { name, account, access, rules } = company
  const { id, isDefault, listen } =
    'id' in company ? company : { id: null, isDefault: false, listen: undefined }
  const { limit, remaining, resetInMs } = load?.budget ?? {}
  const requests = history.counts(name)
  return {
    name,
    id,
    environment: account.environment.name,
    account: account.name,
    access,
    rules: rules.length,
    default: isDefault,
    listen: listen === undefined ? null : listenText(listen),
    inFlight: load?.inFlight ?? 0,
    queued: (load?.waitingForBudget ?? 0) + (load?.waitingForConnection ?? 0),
    requests,
    saved: history.saved(name),
    refusals: refusalStatus(history.refusals(name), requests['2xx'] + requests['3xx'] > 0),
    budget:
      limit === undefined || remaining === undefined
        ? null
        : { limit, remaining, resetSeconds: resetInMs === undefined ? null : Math.ceil(resetInMs / 1000) },
  }
}

/** In a row, before a company that has worked is taken for one that does not; a missing record is nothing unusual. */
const PERSISTENT_AFTER: Readonly<Record<number, number>> = { 401: 3, 403: 3, 404: 10 }

function refusalStatus(refusals: Refusals | undefined, hasWorked: boolean): CompanyStatus['refusals'] {
  if (refusals === undefined) return null
  const { status, count, at, causes } = refusals
  const persistent = count >= (PERSISTENT_AFTER[status] as number) || !hasWorked
  return { status, count, at: isoTime(at), persistent, causes }
}

function callerStatus({ name, companies, projects, access }: Caller, history: CompanyHistory): CallerStatus {
  return {
    name,
    companies: companies ?? null,
    projects: projects ?? null,
    access,
    requests: history.requestsOfCaller(name),
  }
}

function accountStatus(source: TokenSource): AccountStatus {
  const { account } = source
  const { token, lastFailure, tried } = source.state()
  const failure = lastFailure?.failure
  let state: TokenStatus
  if (token !== undefined) state = failure === undefined ? 'valid' : 'renewal failing'
  else if (failure !== undefined) state = failure.final ? 'rejected' : 'unavailable'
  else state = tried ? 'idle' : 'waiting'
  return {
    name: account.name,
    environment: account.environment.name,
    token: state,
    ageSeconds: token === undefined ? null : Math.max(0, Math.round((Date.now() - token.obtainedAt) / 1000)),
    expiresInSeconds:
      token === undefined ? null : Math.max(0, Math.round((token.endsAt - performance.now()) / 1000)),
    lifetimeSeconds: token === undefined ? null : Math.round(token.lifetimeMs / 1000),
    lastFailure:
      lastFailure === undefined
        ? null
        : {
            at: isoTime(lastFailure.at),
            reason: lastFailure.failure.reason,
            detail: lastFailure.failure.message,
            help: helpOf(lastFailure.failure),
          },
  }
}

function helpOf(failure: TokenFailure): string {
  if (failure.cause instanceof OutboundProxyError) return failure.cause.help
  if (failure.final) return REFUSED_CREDENTIALS.map(causeText).join(' ')
  return failure.reason === 'tls' ? CA_HELP : ERROR_KINDS.token_unavailable.help
}

function tokenWarning({ name, environment, token, lastFailure }: AccountStatus): string[] {
  if (lastFailure === null) return []
  const { detail, help } = lastFailure
  return [`The token of service account ${name} (${environment}) is ${token}: ${detail}. ${help}`]
}

function errorStatus(error: RecordedError): ErrorStatus {
  return {
    at: isoTime(error.at),
    requestId: error.id,
    method: error.method,
    path: error.target,
    company: error.company ?? null,
    caller: error.caller ?? null,
    status: error.status,
    code: error.code,
    detail: error.detail,
    help: error.help ?? null,
  }
}
