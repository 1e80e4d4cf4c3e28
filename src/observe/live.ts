// The current state of the running proxy, for status and metrics.
import type { TokenSource } from '../auth/token-source.ts'
import type { Config } from '../config/config.ts'
import type { Status } from './status.ts'

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

/** The last reload. */
export interface LastReload {
  /** Unix time in ms. */
  readonly at: number
  readonly ok: boolean
  /**
   * Why the old configuration stays in force: mistakes in the new one, or a refused secret. Empty if the reload
   * worked.
   */
  readonly errors: readonly string[]
}

/** The budget that replicas share through Redis or Valkey (`shared:`). */
export interface SharedView {
  readonly up: boolean
  /** Failed commands since the start, by kind. */
  readonly errors: Readonly<Record<string, number>>
}

/** Each property is computed when it is read. */
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
  /** What is left of the rate budget of one company, by the name it counts under. */
  readonly budgetRemaining: (group: string) => number | undefined
  /** Lines of the log that could not be written. */
  readonly logLinesLost: number
  /** Undefined if nothing is shared. */
  readonly shared: SharedView | undefined
  readonly cache: NonNullable<Status['cache']>
}
