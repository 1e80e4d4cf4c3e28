// Reports each request to everything that observes it: log, metrics, inspector and history. It outlives a reload.
import type { TokenEvent } from '../auth/token-source.ts'
import { type Audit, type AuditEntry, openAudit } from '../callers/audit.ts'
import type { Config } from '../config/config.ts'
import type { ProxyError } from '../errors.ts'
import { addedHeaders, removedHeaders } from '../forward/headers.ts'
import { isRead } from '../guards/access.ts'
import { type Exchange, endExchange } from '../observe/exchange.ts'
import { Inspector } from '../observe/inspector.ts'
import { causeOf } from '../observe/likely-causes.ts'
import { type Logger, logExchange } from '../observe/log.ts'
import { KnownSecrets, maskQuery } from '../observe/mask.ts'
import { CompanyHistory, Metrics } from '../observe/metrics.ts'
import { type LastReload, type Live, type Status, statusOf } from '../observe/status.ts'
import { companiesSeenBy, EVERYTHING, type Viewer } from '../observe/viewer.ts'
import { EventStreams } from './event-streams.ts'
import { isForMetrics } from './judge.ts'

/** Records one request; later calls do nothing. Rejects if the line for a write cannot be written. */
export type RecordOnce = (status: number | null) => Promise<void>

export class Audits {
  readonly #log: Logger
  #settings: Config['audit']
  #audit: Audit | undefined
  #environments: ReadonlyMap<string, string> = new Map()
  readonly #conceal: (text: string) => string
  readonly #recorded = new WeakMap<Exchange, Promise<void>>()

  /** `conceal` hides known secrets in a line. */
  constructor(log: Logger, conceal: (text: string) => string) {
    this.#log = log
    this.#conceal = conceal
  }

  /** Opens the audit file of a configuration, if there is one. Throws if that fails. `apply` puts it in force. */
  async prepare(config: Config): Promise<{ apply(): void; discard(): Promise<void> }> {
    const { audit: settings } = config
    const before = this.#audit
    const isSame = settings?.file === this.#settings?.file
    const next = isSame || settings === undefined ? undefined : await openAudit(settings, this.#log)
    return {
      apply: () => {
        this.#environments = new Map(
          companiesSeenBy(config, EVERYTHING).map(({ name, account }) => [name, account.environment.name]),
        )
        this.#settings = settings
        if (isSame) return
        this.#audit = next
        void before?.close()
      },
      discard: async () => next?.close(),
    }
  }

  /** Reopens the file, after a log rotation. */
  async reopen(): Promise<void> {
    await this.#audit?.reopen()
  }

  async close(): Promise<void> {
    await this.#audit?.close()
  }

  /** Throws `audit_unavailable` for a write while the file cannot be written. */
  assertWritable(method: string): void {
    if (!isRead(method)) this.#audit?.assertWritable()
  }

  /** Undefined if forwarded requests of this kind get no line. */
  recordOnce(exchange: Exchange): RecordOnce | undefined {
    const isWrite = !isRead(exchange.method)
    if (this.#audit === undefined || (!isWrite && this.#settings?.what !== 'all')) return undefined
    return (status) => {
      const recorded = this.#record(exchange, status)
      // A read continues without its line; the audit logs a warning.
      return isWrite ? recorded : recorded.catch(() => {})
    }
  }

  /** Records a request for one of the proxy's own pages, if all requests are recorded. */
  async recordOwn(exchange: Exchange, status: number): Promise<void> {
    if (this.#settings?.what !== 'all' || exchange.cause !== undefined) return
    // Probes and scrapes tell nothing of what callers did.
    if (isForMetrics(exchange.target)) return
    await this.#record(exchange, status).catch(() => {})
  }

  /** Marks a request as refused by the proxy itself, and records it. If that fails, it is refused nonetheless. */
  async recordRefusal(exchange: Exchange, error: ProxyError): Promise<void> {
    exchange.cause = error.code
    exchange.error = error
    await this.#record(exchange, error.status).catch(() => {})
  }

  /** Writes the line of a request, once. A reload may have changed or removed the file. */
  #record(exchange: Exchange, status: number | null): Promise<void> {
    const recorded =
      this.#recorded.get(exchange) ?? this.#audit?.record(this.#entry(exchange, status)) ?? Promise.resolve()
    this.#recorded.set(exchange, recorded)
    return recorded
  }

  #entry(exchange: Exchange, status: number | null): AuditEntry {
    endExchange(exchange, status)
    const { reqId, caller, company, method, target, durationMs, cause } = exchange
    return {
      time: new Date(exchange.at).toISOString(),
      reqId,
      caller,
      company,
      environment: this.#environments.get(exchange.group ?? ''),
      method,
      path: this.#conceal(maskQuery(target)),
      status,
      durationMs: Math.round(durationMs * 10) / 10,
      cause,
    }
  }
}

export interface ObservationDeps {
  readonly config: Config
  readonly log: Logger
  readonly live: () => Live
  /** What is left of the rate budget of one company, by the name it counts under. */
  readonly budgetRemaining: (group: string) => number | undefined
  /** Shared with the log, which hides them in its lines. */
  readonly secrets?: KnownSecrets
}

/** At most this many requests wait to be reported. */
const MOST_WAITING = 256

export class Observation {
  readonly secrets: KnownSecrets
  /** The streams to open pages. */
  readonly streams = new EventStreams(this)
  readonly #log: Logger
  readonly #live: () => Live
  readonly #history: CompanyHistory
  readonly #metrics: Metrics
  readonly #inspector: Inspector
  /** Requests that have ended and are not reported yet. */
  #waiting: Exchange[] = []
  #lastReload: LastReload | undefined

  constructor({ config, log, live, budgetRemaining, secrets = new KnownSecrets() }: ObservationDeps) {
    this.#log = log
    this.#live = live
    this.secrets = secrets
    this.#history = new CompanyHistory(log)
    this.#metrics = new Metrics(live, () => this.#lastReload)
    this.#inspector = new Inspector(config.inspector, {
      added: addedHeaders,
      removed: removedHeaders,
      budgetRemaining,
    })
  }

  /** Applies another configuration. Open pages reconnect. */
  configure(config: Config): void {
    this.inspector.configure(config.inspector)
    this.secrets.configure(config)
    this.streams.end()
  }

  get inspector(): Inspector {
    this.#report()
    return this.#inspector
  }

  get metrics(): Metrics {
    this.#report()
    return this.#metrics
  }

  /**
   * Reports a request that has ended; `status` is null if no response was sent. Requests that end in the same turn of
   * the event loop are reported together after it, which takes a third of the time that each would take by itself.
   */
  ended(exchange: Exchange, status: number | null): void {
    endExchange(exchange, status)
    if (this.#waiting.push(exchange) === 1) setImmediate(() => this.#report())
    if (this.#waiting.length === MOST_WAITING) this.#report()
  }

  #report(): void {
    const ended = this.#waiting
    this.#waiting = []
    for (const exchange of ended) {
      const { errorBody, status } = exchange
      if (errorBody !== undefined && status !== null) exchange.refusal = causeOf(status, errorBody.toString())
      logExchange(this.#log, exchange)
    }
    for (const exchange of ended) {
      this.#metrics.add(exchange)
      this.#history.add(exchange)
      this.#inspector.record(exchange)
    }
  }

  /** Reports that a token was issued, or that a token request failed. */
  token(event: TokenEvent): void {
    this.#metrics.addToken(event)
    const { account } = event
    const where = { account: account.name, environment: account.environment.name }
    if (event.type === 'issued') {
      this.#log.info({ ...where, lifetimeS: Math.round(event.lifetimeMs / 1000) }, 'token issued')
      return
    }
    const { failure, retryInMs } = event
    // A refusal is final, so there is no next attempt to announce.
    const again = failure.final || retryInMs === undefined ? {} : { retryInMs: Math.round(retryInMs) }
    this.#log.warn({ ...where, reason: failure.reason, ...again, error: failure }, 'token request failed')
  }

  /** Reports a reload. `problems` say why the old configuration stays in force; none if the new one was applied. */
  reloaded(problems: string | readonly string[] = []): void {
    const errors = [problems].flat()
    this.#lastReload = { at: Date.now(), ok: errors.length === 0, errors }
  }

  /** The part of the status that the viewer may see. */
  status(viewer: Viewer = EVERYTHING): Status {
    return statusOf({
      live: this.#live(),
      history: this.#history,
      errors: this.inspector.errors(viewer),
      lastReload: this.#lastReload,
      viewer,
    })
  }

  close(): void {
    this.streams.end()
    this.metrics.close()
  }
}
