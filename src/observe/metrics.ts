// Counts requests and token events and writes the metrics page. prom-client takes 13 MB, so it is loaded when it is
// first needed.
import type { TokenFailureReason } from '../auth/request-token.ts'
import type { TokenEvent } from '../auth/token-source.ts'
import { ERROR_KINDS, ProxyError } from '../errors.ts'
import { isRead } from '../guards/access.ts'
import { type Exchange, isProcores, type RetryReason, SAVED_BY, type SavedBy, savedBy } from './exchange.ts'
import { causeText, type LikelyCause, likelyCauses } from './likely-causes.ts'
import type { LastReload, Live } from './live.ts'
import type { Logger } from './log.ts'
import { METRICS } from './metric-definitions.ts'
import { accountLabels, type EventLoopLag, eventLoopLag, readingsOf } from './metric-readings.ts'
import type { MetricsRegistry } from './metrics-registry.ts'
import { companiesSeenBy, EVERYTHING, seesAll, seesCompany, type Viewer } from './viewer.ts'

/** The class that a status counts under; `none` if no response was sent. */
export const STATUS_CLASSES = ['2xx', '3xx', '4xx', '5xx', 'none'] as const
export type StatusClass = (typeof STATUS_CLASSES)[number]
export type StatusCounts = Readonly<Record<StatusClass, number>>

/** The index in {@link STATUS_CLASSES}. */
export function statusClass(status: number | null): number {
  if (status === null) return 4
  return status < 300 ? 0 : status < 400 ? 1 : status < 500 ? 2 : 3
}

/** Counts in the order of {@link STATUS_CLASSES}, by name; all 0 if there are none. */
export function countsByClass(counts: ArrayLike<number> | undefined): StatusCounts {
  const entries = STATUS_CLASSES.map((name, place) => [name, counts?.[place] ?? 0])
  return Object.fromEntries(entries) as Record<StatusClass, number>
}

/** Counts one more at that place. */
export function increment(counts: Uint32Array, place: number): void {
  counts[place] = (counts[place] as number) + 1
}

/** No status and company is warned of more often than this. */
const WARNING_INTERVAL_MS = 10 * 60_000

/** Procore's consecutive refusals of a company. */
export interface Refusals {
  /** The status of the last one: 401, 403 or 404. */
  readonly status: number
  readonly count: number
  /** Unix time in ms of the last one. */
  readonly at: number
  /** The exact cause if Procore's text gives it, else the likely ones. */
  readonly causes: readonly LikelyCause[]
}

class Company {
  readonly counts = new Uint32Array(STATUS_CLASSES.length)
  readonly saved: Record<SavedBy, number> = { coalesced: 0, kept: 0, refusal: 0 }
  refusals: Refusals | undefined
  /** When the log was last warned of a status, in ms of `performance.now()`. */
  readonly warnedAt = new Map<number, number>()
}

/** Companies by the name that their requests count under. */
export class CompanyHistory {
  readonly #log: Logger
  readonly #companies = new Map<string, Company>()
  /** Requests by the name of the caller. */
  readonly #callers = new Map<string, number>()

  constructor(log: Logger) {
    this.#log = log
  }

  /**
   * Counts a request that has ended. Warns about a refusal in the log, once in ten minutes for each company and
   * status.
   */
  add(exchange: Exchange): void {
    const { group, status, caller } = exchange
    if (caller !== undefined) this.#callers.set(caller, this.requestsOfCaller(caller) + 1)
    if (group === undefined) return
    const company = this.#companies.get(group) ?? new Company()
    this.#companies.set(group, company)
    const by = savedBy(exchange.cacheStatus)
    if (by !== undefined) company.saved[by]++
    increment(company.counts, statusClass(status))
    if (status === null || !isProcores(exchange)) return
    if (status === 401 || status === 403 || status === 404) this.#refused(company, exchange, status)
    else if (status < 400) company.refusals = undefined
  }

  #refused(company: Company, exchange: Exchange, status: number): void {
    const causes = exchange.refusal === undefined ? likelyCauses(status) : [exchange.refusal]
    company.refusals = { status, count: (company.refusals?.count ?? 0) + 1, at: Date.now(), causes }
    const now = performance.now()
    if (now - (company.warnedAt.get(status) ?? Number.NEGATIVE_INFINITY) < WARNING_INTERVAL_MS) return
    company.warnedAt.set(status, now)
    this.#log.warn(
      { reqId: exchange.reqId, company: exchange.company, status, causes: causes.map(causeText) },
      `Procore answered ${status}: likely causes`,
    )
  }

  /** How many requests ended with each class of status. */
  counts(group: string): StatusCounts {
    return countsByClass(this.#companies.get(group)?.counts)
  }

  /** How many requests did not have to go to Procore. */
  saved(group: string): Readonly<Record<SavedBy, number>> {
    return { ...(this.#companies.get(group) ?? new Company()).saved }
  }

  /** How many requests a caller with a name has made. */
  requestsOfCaller(name: string): number {
    return this.#callers.get(name) ?? 0
  }

  /** Undefined if Procore's last response was not a refusal. */
  refusals(group: string): Refusals | undefined {
    return this.#companies.get(group)?.refusals
  }
}

/** The `company` of requests without one: refused ones, and those for the proxy's own pages. Never a company's name. */
export const NO_COMPANY = '_proxy'
/** How many events are remembered before prom-client is loaded to count them. */
const MOST_EARLY = 1_000
/** The most series that begin at zero, however many callers and companies there are. */
const MOST_ZEROS = 2_000

const RETRY_REASONS: readonly RetryReason[] = ['401', '429', '503', 'connection']
const FAILURES: TokenFailureReason[] = ['rejected', 'unreachable', 'timeout', 'tls', 'bad_status', 'bad_body']

type Event = (registry: MetricsRegistry) => void

export class Metrics {
  readonly #live: Live
  readonly #lastReload: () => LastReload | undefined
  readonly #import: () => Promise<typeof import('./metrics-registry.ts')>
  #registry: MetricsRegistry | undefined
  #lag: EventLoopLag | undefined
  /** What happened before the registry was there. */
  #early: Event[] = []

  /** `importRegistry` loads prom-client. */
  constructor(
    live: Live,
    lastReload: () => LastReload | undefined,
    importRegistry = () => import('./metrics-registry.ts'),
  ) {
    this.#live = live
    this.#lastReload = lastReload
    this.#import = importRegistry
  }

  /** A request has ended. */
  add(exchange: Exchange): void {
    const { group: company = NO_COMPANY, caller = '', method, upstreamMs, error } = exchange
    const { durationMs, bytesIn, bytesOut, retryReasons = [] } = exchange
    const status = STATUS_CLASSES[statusClass(exchange.status)] as string
    const by = savedBy(exchange.cacheStatus)
    const code = error instanceof ProxyError ? error.code : undefined
    this.#record((registry) => {
      registry.add('requests', { company, caller, method: isRead(method) ? 'read' : 'write', status })
      registry.observe('duration', { company }, durationMs / 1000)
      if (upstreamMs !== undefined) registry.observe('upstreamDuration', { company }, upstreamMs / 1000)
      if (bytesIn > 0) registry.add('bytesIn', { company }, bytesIn)
      if (bytesOut > 0) registry.add('bytesOut', { company }, bytesOut)
      for (const reason of retryReasons) registry.add('retries', { company, reason })
      if (by !== undefined) registry.add('saved', { company, by })
      if (code !== undefined) registry.add('errors', { code })
    })
  }

  /** A token was issued, or a token request failed. */
  addToken(event: TokenEvent): void {
    const labels = accountLabels(event.account)
    this.#record((registry) => {
      if (event.type === 'issued') registry.add('tokensIssued', labels)
      else registry.add('tokenFailures', { ...labels, reason: event.failure.reason })
    })
  }

  /** The page in the Prometheus text format, with the series that the viewer may see. */
  async text(viewer: Viewer): Promise<{ readonly text: string; readonly type: string }> {
    const registry = await this.#load()
    this.#startAtZero(registry)
    const text = await registry.text()
    return { text: seesAll(viewer) ? text : this.#visible(text, viewer), type: registry.contentType }
  }

  /** Stops watching the event loop. */
  close(): void {
    this.#lag?.disable()
  }

  #record(event: Event): void {
    if (this.#registry !== undefined) {
      event(this.#registry)
      return
    }
    this.#early.push(event)
    if (this.#early.length === MOST_EARLY) this.#load().catch(() => {})
  }

  /** Rejects where prom-client cannot be loaded; the next scrape tries again. */
  async #load(): Promise<MetricsRegistry> {
    const { MetricsRegistry } = await this.#import()
    if (this.#registry === undefined) {
      this.#lag = eventLoopLag()
      this.#registry = new MetricsRegistry(readingsOf(this.#live, this.#lastReload, this.#lag))
      for (const event of this.#early) event(this.#registry)
      this.#early = []
    }
    return this.#registry
  }

  /** Counters begin at 0, because Prometheus would see no increase in one that begins with 1. */
  #startAtZero(registry: MetricsRegistry): void {
    const { config, tokens } = this.#live
    const companies = companiesSeenBy(config, EVERYTHING).map(({ name }) => name)
    const callers = ['', ...config.callers.map(({ name }) => name)]
    let zeros = 0
    for (const code of Object.keys(ERROR_KINDS)) registry.add('errors', { code }, 0)
    for (const company of [NO_COMPANY, ...companies]) {
      for (const key of ['bytesIn', 'bytesOut'] as const) registry.add(key, { company }, 0)
      for (const key of ['duration', 'upstreamDuration'] as const) registry.startAtZero(key, { company })
      for (const caller of callers) {
        for (const method of ['read', 'write']) {
          for (const status of STATUS_CLASSES) {
            if (++zeros <= MOST_ZEROS) registry.add('requests', { company, caller, method, status }, 0)
          }
        }
      }
    }
    for (const company of companies) {
      for (const reason of RETRY_REASONS) registry.add('retries', { company, reason }, 0)
      for (const by of SAVED_BY) registry.add('saved', { company, by }, 0)
    }
    for (const { account } of tokens) {
      const labels = accountLabels(account)
      registry.add('tokensIssued', labels, 0)
      for (const reason of FAILURES) registry.add('tokenFailures', { ...labels, reason }, 0)
    }
  }

  /** Without the series of companies, callers and accounts that are not the viewer's, and of the whole process. */
  #visible(text: string, viewer: Viewer): string {
    const accounts = new Set(companiesSeenBy(this.#live.config, viewer).map(({ account }) => account.name))
    const isShown = (line: string) => {
      if (line.startsWith('#') || line === '') return true
      const company = labelOf(line, 'company')
      const caller = labelOf(line, 'caller')
      const account = labelOf(line, 'account')
      if (viewer.caller !== undefined && caller !== undefined && caller !== viewer.caller) return false
      if (company !== undefined) return seesCompany(viewer, company)
      if (account !== undefined) return accounts.has(account)
      return line.startsWith(`${METRICS.ready.name} `) || line.startsWith(METRICS.buildInfo.name)
    }
    return text.split('\n').filter(isShown).join('\n')
  }
}

/** The value of a label in a line of the text format. Names contain nothing that would be escaped. */
function labelOf(line: string, label: string): string | undefined {
  return new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1]
}
