// What status and metrics read when they are asked: the running proxy as it is at that moment.
import type { TokenSource } from '../auth/token-source.ts'
import type { Config } from '../config/config.ts'
import type { Status } from './status.ts'

/** What is left of a company's rate budget, as far as Procore's responses tell; undefined before the first one. */
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

/** The last time that a changed configuration was read. */
export interface LastReload {
  /** Unix time in ms. */
  readonly at: number
  readonly ok: boolean
  /** Why the old configuration stays in force: its mistakes, or a refused new secret. Empty where it worked. */
  readonly errors: readonly string[]
}

/** The budget that replicas share by Redis or Valkey (`shared:`). */
export interface SharedView {
  readonly up: boolean
  /** Failed commands since the start, by kind. */
  readonly errors: Readonly<Record<string, number>>
}

/** Each property is worked out when it is read. */
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
  /** Undefined where nothing is shared. */
  readonly shared: SharedView | undefined
  readonly cache: NonNullable<Status['cache']>
}
