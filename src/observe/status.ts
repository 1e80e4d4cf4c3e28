// The status of the running proxy: what `/_proxy/status` sends and `procore-proxy status` prints. No field contains a secret.
import type { TokenSource, TokenState } from '../auth/token-source.ts'
import { listenText } from '../config/addresses.ts'
import type { Access, Company, Config } from '../config/config.ts'
import { ERROR_KINDS } from '../errors.ts'
import type { SavedBy } from './exchange.ts'
import { causeText, type LikelyCause, REFUSED_CREDENTIALS } from './likely-causes.ts'
import type { CompanyHistory, StatusClass } from './metrics.ts'
import { companiesSeenBy, EVERYTHING, seesAll, seesCompany, type Viewer } from './viewer.ts'

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
  /** The rate window that Procore's latest response named; null before the first response. */
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

/** What is left of a company's rate budget, according to Procore's responses; undefined before the first one. */
export interface BudgetView {
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly resetInMs: number | undefined
}

/** The requests of a company that have not ended. All ids of `"*"` count as one, with the smallest of their budgets. */
export interface CompanyLoad {
  /** Its name, or `*`. */
  readonly company: string
  readonly inFlight: number
  readonly waitingForBudget: number
  readonly waitingForConnection: number
  readonly budget: BudgetView
}

/** The last reload. `at` is a Unix time in ms; `errors` say why the old configuration stays in force. */
export interface LastReload {
  readonly at: number
  readonly ok: boolean
  readonly errors: readonly string[]
}

/** The current state of the running proxy. */
export interface Live {
  readonly version: string
  readonly config: Config
  readonly ready: boolean
  /** Requests that have not ended, those for the proxy's own pages included. */
  readonly inFlight: number
  readonly listeners: readonly { readonly url: string; readonly company: string | undefined }[]
  readonly tokens: readonly TokenSource[]
  /** One of each company. */
  readonly loads: readonly CompanyLoad[]
  readonly logLinesLost: number
  /** The budget that replicas share, with failed commands by kind; undefined if nothing is shared. */
  readonly shared: { readonly up: boolean; readonly errors: Readonly<Record<string, number>> } | undefined
  readonly cache: NonNullable<Status['cache']>
}

interface StatusParts {
  readonly live: Live
  readonly history: CompanyHistory
  readonly errors: readonly ErrorStatus[]
  readonly lastReload: LastReload | undefined
  readonly viewer?: Viewer
}

/** The status as the viewer may see it; `errors` are those that it may see. */
export function statusOf({ live, history, errors, lastReload, viewer = EVERYTHING }: StatusParts): Status {
  const { version, ready, config, shared, logLinesLost } = live
  const everything = seesAll(viewer)
  const visible = companiesSeenBy(config, viewer)
  const used = new Set(visible.map(({ account }) => account.key))
  const accounts = live.tokens.filter(({ account }) => everything || used.has(account.key)).map(accountStatus)
  const loads = new Map(live.loads.map((load) => [load.company, load]))
  const companies = visible.map((company) => companyStatus(company, history, loads.get(company.name)))
  const seesListener = (company: string | null) =>
    company === null ? viewer.companies === undefined : seesCompany(viewer, company)
  return {
    version,
    node: process.versions.node,
    startedAt: isoTime(performance.timeOrigin),
    uptimeSeconds: Math.floor(process.uptime()),
    ready,
    inFlight: everything ? live.inFlight : companies.reduce((sum, { inFlight }) => sum + inFlight, 0),
    listeners: live.listeners
      .map(({ url, company = null }) => ({ url, company }))
      .filter(({ company }) => seesListener(company)),
    companies,
    accounts,
    callers: config.callers
      .filter(({ name }) => everything || name === viewer.caller)
      .map(({ name, companies = null, projects = null, access }) => {
        return { name, companies, projects, access, requests: history.requestsOfCaller(name) }
      }),
    lastReload: lastReload
      ? { at: isoTime(lastReload.at), ok: lastReload.ok, errors: everything ? lastReload.errors : [] }
      : null,
    shared: shared ? { up: shared.up } : null,
    cache: everything ? live.cache : null,
    logLinesLost,
    lastErrors: errors,
    warnings: [
      ...(everything ? [...config.warnings, ...reloadWarning(lastReload), ...sharedWarning(shared)] : []),
      ...accounts.flatMap(tokenWarning),
      ...companies.flatMap(refusalWarning),
    ],
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

/** How many consecutive refusals mean that a company no longer works. A single 404 is normal. */
const PERSISTENT_AFTER: Readonly<Record<number, number>> = { 401: 3, 403: 3, 404: 10 }

function companyStatus(company: Company, history: CompanyHistory, load?: CompanyLoad): CompanyStatus {
  const { name, id, account, access, rules, isDefault, listen } = company
  const { limit, remaining, resetInMs } = load?.budget ?? {}
  const { requests, saved, refusals } = history.of(name)
  const { status = 0, count = 0 } = refusals ?? {}
  const hasWorked = requests['2xx'] + requests['3xx'] > 0
  const persistent = !hasWorked || count >= (PERSISTENT_AFTER[status] as number)
  return {
    name,
    id: id || null,
    environment: account.environment.name,
    account: account.name,
    access,
    rules: rules.length,
    default: isDefault,
    listen: listen ? listenText(listen) : null,
    inFlight: load?.inFlight ?? 0,
    queued: (load?.waitingForBudget ?? 0) + (load?.waitingForConnection ?? 0),
    requests,
    saved,
    refusals: refusals
      ? { status, count, at: isoTime(refusals.at), persistent, causes: refusals.causes }
      : null,
    budget:
      limit === undefined || remaining === undefined
        ? null
        : { limit, remaining, resetSeconds: resetInMs === undefined ? null : Math.ceil(resetInMs / 1000) },
  }
}

function accountStatus(source: TokenSource): AccountStatus {
  const { name, environment } = source.account
  const { token, lastFailure, tried } = source.state()
  const seconds = (ms: number) => Math.max(0, Math.round(ms / 1000))
  let state: TokenStatus
  if (token !== undefined) state = lastFailure === undefined ? 'valid' : 'renewal failing'
  else if (lastFailure !== undefined) state = lastFailure.failure.final ? 'rejected' : 'unavailable'
  else state = tried ? 'idle' : 'waiting'
  return {
    name,
    environment: environment.name,
    token: state,
    ageSeconds: token ? seconds(Date.now() - token.obtainedAt) : null,
    expiresInSeconds: token ? seconds(token.endsAt - performance.now()) : null,
    lifetimeSeconds: token ? seconds(token.lifetimeMs) : null,
    lastFailure: failureStatus(lastFailure),
  }
}

function failureStatus(last: TokenState['lastFailure']): AccountStatus['lastFailure'] {
  if (last === undefined) return null
  const { reason, message: detail, final, help: advice = ERROR_KINDS.token_unavailable.help } = last.failure
  const help = final ? REFUSED_CREDENTIALS.map(causeText).join(' ') : advice
  return { at: isoTime(last.at), reason, detail, help }
}

/** A refusal that is older, and that was none of many, is no warning any more. */
const REFUSAL_WARNING_MS = 10 * 60_000

function refusalWarning({ name, refusals }: CompanyStatus): string[] {
  if (refusals === null) return []
  const { status, at, persistent, causes } = refusals
  if (!persistent && Date.now() - Date.parse(at) > REFUSAL_WARNING_MS) return []
  const what = `Procore answered ${status} for ${name} at ${at}.`
  return [`${what} ${causes.length === 1 ? 'Cause' : 'Likely causes'}: ${causes.map(causeText).join(' ')}`]
}

function tokenWarning({ name, environment, token, lastFailure: last }: AccountStatus): string[] {
  if (last === null) return []
  return [`The token of service account ${name} (${environment}) is ${token}: ${last.detail}. ${last.help}`]
}

function sharedWarning(shared: Live['shared']): string[] {
  if (shared === undefined || shared.up) return []
  return [
    'Redis or Valkey cannot be reached, so the proxy continues as `shared.whenDown` says. Check the server and `shared.url`.',
  ]
}

function reloadWarning(last: LastReload | undefined): string[] {
  if (last === undefined || last.ok) return []
  return [`The last reload failed, and the old configuration stays in force: ${last.errors.join(' ')}`]
}
