// Applies the audit settings of the current configuration: which requests get a line, and when it has to be on disk.
import { type Audit, type AuditEntry, openAudit } from '../callers/audit.ts'
import type { Config } from '../config/config.ts'
import { isRead } from '../guards/access.ts'
import { type Exchange, endExchange } from '../observe/exchange.ts'
import type { Logger } from '../observe/log.ts'
import { maskQuery } from '../observe/mask.ts'
import { companiesSeenBy, EVERYTHING } from '../observe/viewer.ts'
import { isForMetrics } from './health.ts'

/** Records one request; later calls do nothing. Rejects if the line for a write cannot be written. */
export type RecordOnce = (status: number | null) => Promise<void>

export class Audits {
  readonly #log: Logger
  #settings: Config['audit']
  #audit: Audit | undefined
  #environments: ReadonlyMap<string, string> = new Map()

  constructor(log: Logger) {
    this.#log = log
  }

  /** Opens the audit file of this configuration, if there is one. Throws if that fails. */
  async configure(config: Config): Promise<void> {
    const { audit: settings } = config
    this.#environments = new Map(
      companiesSeenBy(config, EVERYTHING).map(({ name, account }) => [name, account.environment.name]),
    )
    if (settings?.file !== this.#settings?.file) {
      const before = this.#audit
      this.#audit = settings && (await openAudit(settings, this.#log))
      await before?.close()
    }
    this.#settings = settings
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
    const audit = this.#audit
    const isWrite = !isRead(exchange.method)
    if (audit === undefined || (!isWrite && this.#settings?.what !== 'all')) return undefined
    let recorded: Promise<void> | undefined
    return (status) => {
      recorded ??= audit.record(this.#entry(exchange, status))
      // A read continues without its line; the audit logs a warning.
      return isWrite ? recorded : recorded.catch(() => {})
    }
  }

  /** Records a whole list, or a request for one of the proxy's own pages, if all requests are recorded. */
  async recordOwn(exchange: Exchange, status: number): Promise<void> {
    if (this.#settings?.what !== 'all' || exchange.cause !== undefined) return
    // Probes and scrapes tell nothing of what callers did.
    if (isForMetrics(exchange.target)) return
    await this.#audit?.record(this.#entry(exchange, status)).catch(() => {})
  }

  /** Records a request that the proxy itself refused. */
  async recordRefusal(exchange: Exchange, status: number): Promise<void> {
    await this.#audit?.record(this.#entry(exchange, status))
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
      path: maskQuery(target),
      status,
      durationMs: Math.round(durationMs * 10) / 10,
      cause,
    }
  }
}
