// Counts the results of each company's requests since the start, and Procore's consecutive refusals, for status and
// page.
import { type Exchange, isProcores } from './exchange.ts'
import { causeText, type LikelyCause, likelyCauses } from './likely-causes.ts'
import type { Logger } from './log.ts'
import { type SavedBy, savedBy } from './saved.ts'

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
