// Makes the status of the running proxy for one viewer.
import type { TokenFailure } from '../auth/token-failure.ts'
import type { TokenSource } from '../auth/token-source.ts'
import { listenText } from '../config/addresses.ts'
import type { AnyCompany, Caller, Company } from '../config/config.ts'
import { ERROR_KINDS } from '../errors.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import type { CompanyHistory, Refusals } from './company-history.ts'
import { causeText, REFUSED_CREDENTIALS } from './likely-causes.ts'
import type { CompanyLoad, LastReload, Live } from './live.ts'
import type { RecordedError } from './recorder.ts'
import type {
  AccountStatus,
  CallerStatus,
  CompanyStatus,
  ErrorStatus,
  Status,
  TokenStatus,
} from './status.ts'
import { EVERYTHING, seesAll, seesCompany, type Viewer } from './viewer.ts'

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
      ...companies.flatMap(refusalWarning),
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

/** How many consecutive refusals mean that a company no longer works. A single 404 is normal. */
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

/** An older refusal is no longer a warning, unless there were many. */
const REFUSAL_WARNING_MS = 10 * 60_000

function refusalWarning({ name, refusals }: CompanyStatus): string[] {
  if (refusals === null) return []
  const { status, at, persistent, causes } = refusals
  if (!persistent && Date.now() - Date.parse(at) > REFUSAL_WARNING_MS) return []
  const what = `Procore answered ${status} for ${name} at ${at}.`
  return [`${what} ${causes.length === 1 ? 'Cause' : 'Likely causes'}: ${causes.map(causeText).join(' ')}`]
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
