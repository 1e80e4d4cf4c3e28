// Says in the log, now and then, why Procore may have answered 401, 403 or 404; never once per request.
import { type Exchange, isProcores } from './exchange.ts'
import { likelyCauses } from './likely-causes.ts'
import type { Logger } from './log.ts'

const INTERVAL_MS = 10 * 60_000

/** A warning that was given in the last ten minutes. */
export interface CauseWarning {
  readonly company: string
  readonly status: number
  /** Unix time in ms. */
  readonly at: number
}

export class CauseWarnings {
  readonly #log: Logger
  /** By status and company; all ids of `"*"` are one company. */
  readonly #given = new Map<string, CauseWarning & { readonly monotonic: number }>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** Warns of an answer of Procore's, unless that was done for its status and company within ten minutes. */
  consider(exchange: Exchange): void {
    const { status, group, company } = exchange
    if (status !== 401 && status !== 403 && status !== 404) return
    if (group === undefined || !isProcores(exchange)) return
    const key = `${status} ${group}`
    const now = performance.now()
    const before = this.#given.get(key)
    if (before !== undefined && now - before.monotonic < INTERVAL_MS) return
    this.#given.set(key, { company: group, status, at: Date.now(), monotonic: now })
    this.#log.warn(
      {
        reqId: exchange.reqId,
        company,
        status,
        causes: likelyCauses(status).map(({ cause, mend }) => `${cause} ${mend}`),
      },
      `Procore answered ${status}: likely causes`,
    )
  }

  /** Those of the last ten minutes. */
  recent(): CauseWarning[] {
    const since = performance.now() - INTERVAL_MS
    return [...this.#given.values()]
      .filter(({ monotonic }) => monotonic > since)
      .map(({ company, status, at }) => ({ company, status, at }))
  }
}
