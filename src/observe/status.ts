// What `/_proxy/status` answers and `procore-proxy status` prints: the running proxy on one page, without any secret.
import type { TokenFailure } from '../auth/token-failure.ts'
import type { TokenSource } from '../auth/token-source.ts'
import { listenText } from '../config/addresses.ts'
import type { Access, AnyCompany, Company } from '../config/config.ts'
import { ERROR_KINDS } from '../errors.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import type { CauseWarning } from './cause-warnings.ts'
import { likelyCauses, REFUSED_CREDENTIALS } from './likely-causes.ts'
import type { CompanyLoad, Live } from './live.ts'
import type { RecordedError } from './recorder.ts'
import { STATUS_CLASSES, type StatusClass, type Tally } from './tally.ts'

// status fields: docs/operations.md shows from here …

/** The answer of `/_proxy/status`. Times are ISO 8601, in UTC. */
export interface Status {
  readonly version: string
  readonly node: string
  readonly startedAt: string
  readonly uptimeSeconds: number
  /** What `/_proxy/health/ready` says. */
  readonly ready: boolean
  /** Requests that have not ended, this one included. */
  readonly inFlight: number
  /** Where it listens; `company` is whose own address that is. */
  readonly listeners: readonly { readonly url: string; readonly company: string | null }[]
  readonly companies: readonly CompanyStatus[]
  readonly accounts: readonly AccountStatus[]
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
  /** Requests that wait for the rate budget, or for a connection. */
  readonly queued: number
  /** Since the start; `none`: no answer was sent. */
  readonly requests: Readonly<Record<StatusClass, number>>
  /** Procore's rate window that is nearest to its end; null before the first answer. */
  readonly budget: {
    readonly limit: number
    readonly remaining: number
    readonly resetSeconds: number | null
  } | null
}

/**
 * `valid`; `renewal failing`: the token still lives, but the last try for another failed; `rejected`: the login server
 * refuses the credentials; `unavailable`: no token for another reason; `idle`: not renewed, because nobody asked for long;
 * `waiting`: the first one is under way.
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

export interface ErrorStatus {
  readonly at: string
  readonly requestId: string
  readonly method: string
  readonly path: string
  readonly company: string | null
  readonly status: number | null
  /** An error code, or `upstream_status` where Procore answered 5xx. */
  readonly code: string
  readonly detail: string
  readonly help: string | null
}

// … to here.

export interface StatusParts {
  readonly live: Live
  readonly tally: (company: string) => Tally
  readonly errors: readonly RecordedError[]
  readonly causes: readonly CauseWarning[]
}

/** Everything that is shown. */
export function statusOf({ live, tally, errors, causes }: StatusParts): Status {
  const { config } = live
  const companies = [...config.companies, ...(config.anyCompany ? [config.anyCompany] : [])]
  const accounts = live.tokens.map(accountStatus)
  const { loads } = live
  return {
    version: live.version,
    node: process.versions.node,
    startedAt: new Date(performance.timeOrigin).toISOString(),
    uptimeSeconds: Math.floor(process.uptime()),
    ready: live.ready,
    inFlight: live.inFlight,
    listeners: live.listeners.map(({ url, company = null }) => ({ url, company })),
    companies: companies.map((company) => companyStatus(company, loads, tally)),
    accounts,
    lastErrors: errors.map(errorStatus),
    warnings: [...config.warnings, ...accounts.flatMap(tokenWarning), ...causes.map(causeWarning)],
  }
}

function companyStatus(
  company: Company | AnyCompany,
  loads: readonly CompanyLoad[],
  tally: (company: string) => Tally,
): CompanyStatus {
  const { account, access, rules } = company
  const { name, id, isDefault, listen } =
    'name' in company ? company : { name: '*', id: null, isDefault: false, listen: undefined }
  const load = loads.find((one) => one.company === name)
  const counted = tally(name)
  const { limit, remaining, resetInMs } = load?.budget ?? {}
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
    requests: Object.fromEntries(
      STATUS_CLASSES.map((status) => [status, counted.requestsOf(status)]),
    ) as Record<StatusClass, number>,
    budget:
      limit === undefined || remaining === undefined
        ? null
        : { limit, remaining, resetSeconds: resetInMs === undefined ? null : Math.ceil(resetInMs / 1000) },
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
    ageSeconds: token === undefined ? null : Math.round((Date.now() - token.obtainedAt) / 1000),
    expiresInSeconds:
      token === undefined ? null : Math.max(0, Math.round((token.endsAt - performance.now()) / 1000)),
    lifetimeSeconds: token === undefined ? null : Math.round(token.lifetimeMs / 1000),
    lastFailure:
      lastFailure === undefined
        ? null
        : {
            at: new Date(lastFailure.at).toISOString(),
            reason: lastFailure.failure.reason,
            detail: lastFailure.failure.message,
            help: mendOf(lastFailure.failure),
          },
  }
}

function mendOf(failure: TokenFailure): string {
  if (failure.cause instanceof OutboundProxyError) return failure.cause.help
  if (failure.final) return REFUSED_CREDENTIALS.map(({ cause, mend }) => `${cause} ${mend}`).join(' ')
  return failure.reason === 'tls' ? CA_HELP : ERROR_KINDS.token_unavailable.help
}

function tokenWarning({ name, environment, token, lastFailure }: AccountStatus): string[] {
  if (lastFailure === null) return []
  const { detail, help } = lastFailure
  return [`The token of service account ${name} (${environment}) is ${token}: ${detail}. ${help}`]
}

function causeWarning({ company, status, at }: CauseWarning): string {
  const causes = likelyCauses(status)
    .map(({ cause }) => cause)
    .join(' ')
  return `Procore answered ${status} for ${company} at ${new Date(at).toISOString()}. Likely causes: ${causes}`
}

function errorStatus(error: RecordedError): ErrorStatus {
  return {
    at: new Date(error.at).toISOString(),
    requestId: error.id,
    method: error.method,
    path: error.target,
    company: error.company ?? null,
    status: error.status,
    code: error.code,
    detail: error.detail,
    help: error.help ?? null,
  }
}
