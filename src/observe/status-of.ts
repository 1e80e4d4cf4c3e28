// Makes the status of the running proxy for one viewer.
import type { TokenFailure } from '../auth/request-token.ts'
import type { TokenSource } from '../auth/token-source.ts'
import { listenText } from '../config/addresses.ts'
import type { Company } from '../config/config.ts'
import { ERROR_KINDS } from '../errors.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import { causeText, REFUSED_CREDENTIALS } from './likely-causes.ts'
import type { CompanyLoad, LastReload, Live } from './live.ts'
import type { CompanyHistory } from './metrics.ts'
import type { RecordedError } from './recorder.ts'
import type { AccountStatus, CompanyStatus, ErrorStatus, Status } from './status.ts'
import { companiesSeenBy, EVERYTHING, seesAll, seesCompany, type Viewer } from './viewer.ts'

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
  const { config, shared } = live
  const everything = seesAll(viewer)
  const visible = companiesSeenBy(config, viewer)
  const used = new Set(visible.map(({ account }) => account.key))
  const accounts = live.tokens.filter(({ account }) => everything || used.has(account.key)).map(accountStatus)
  const loads = new Map(live.loads.map((load) => [load.company, load]))
  const companies = visible.map((company) => companyStatus(company, loads.get(company.name), history))
  const seesListener = (company: string | undefined) =>
    company === undefined ? viewer.companies === undefined : seesCompany(viewer, company)
  return {
    version: live.version,
    node: process.versions.node,
    startedAt: isoTime(performance.timeOrigin),
    uptimeSeconds: Math.floor(process.uptime()),
    ready: live.ready,
    inFlight: everything ? live.inFlight : companies.reduce((sum, { inFlight }) => sum + inFlight, 0),
    listeners: live.listeners
      .filter(({ company }) => seesListener(company))
      .map(({ url, company = null }) => ({ url, company })),
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

function companyStatus(
  company: Company,
  load: CompanyLoad | undefined,
  history: CompanyHistory,
): CompanyStatus {
  const { name, id, account, access, rules, isDefault, listen } = company
  const { limit, remaining, resetInMs } = load?.budget ?? {}
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
    requests: history.counts(name),
    saved: history.saved(name),
    refusals: refusalStatus(name, history),
    budget:
      limit === undefined || remaining === undefined
        ? null
        : { limit, remaining, resetSeconds: resetInMs === undefined ? null : Math.ceil(resetInMs / 1000) },
  }
}

/** How many consecutive refusals mean that a company no longer works. A single 404 is normal. */
const PERSISTENT_AFTER: Readonly<Record<number, number>> = { 401: 3, 403: 3, 404: 10 }

function refusalStatus(name: string, history: CompanyHistory): CompanyStatus['refusals'] {
  const refusals = history.refusals(name)
  if (refusals === undefined) return null
  const { status, count, at, causes } = refusals
  const requests = history.counts(name)
  const hasWorked = requests['2xx'] + requests['3xx'] > 0
  const persistent = count >= (PERSISTENT_AFTER[status] as number) || !hasWorked
  return { status, count, at: isoTime(at), persistent, causes }
}

function accountStatus(source: TokenSource): AccountStatus {
  const { account } = source
  const { token, lastFailure, tried } = source.state()
  const failure = lastFailure?.failure
  const seconds = (ms: number) => Math.max(0, Math.round(ms / 1000))
  let state: AccountStatus['token']
  if (token !== undefined) state = failure === undefined ? 'valid' : 'renewal failing'
  else if (failure !== undefined) state = failure.final ? 'rejected' : 'unavailable'
  else state = tried ? 'idle' : 'waiting'
  return {
    name: account.name,
    environment: account.environment.name,
    token: state,
    ageSeconds: token ? seconds(Date.now() - token.obtainedAt) : null,
    expiresInSeconds: token ? seconds(token.endsAt - performance.now()) : null,
    lifetimeSeconds: token ? seconds(token.lifetimeMs) : null,
    lastFailure: lastFailure ? failureStatus(lastFailure) : null,
  }
}

interface LastFailure {
  readonly failure: TokenFailure
  readonly at: number
}

function failureStatus({ failure, at }: LastFailure): AccountStatus['lastFailure'] {
  const { reason, message: detail, final, cause } = failure
  let help: string = ERROR_KINDS.token_unavailable.help
  if (cause instanceof OutboundProxyError) help = cause.help
  else if (final) help = REFUSED_CREDENTIALS.map(causeText).join(' ')
  else if (reason === 'tls') help = CA_HELP
  return { at: isoTime(at), reason, detail, help }
}

function errorStatus(error: RecordedError): ErrorStatus {
  const { at, id: requestId, method, target: path, status, code, detail } = error
  const { company = null, caller = null, help = null } = error
  return { at: isoTime(at), requestId, method, path, company, caller, status, code, detail, help }
}

// --- warnings ----------------------------------------------------------------------------------------------------------

/** A refusal that is older, and that was none of many, is no warning any more. */
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

function reloadWarning(last: LastReload | undefined): string[] {
  if (last === undefined || last.ok) return []
  return [`The last reload failed, and the old configuration stays in force: ${last.errors.join(' ')}`]
}
