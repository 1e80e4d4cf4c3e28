// What metrics and status look at when they are asked: the running proxy as it is at that moment.
import type { TokenSource } from '../auth/token-source.ts'
import type { Config } from '../config/config.ts'

/** What is left of a company's rate budget, as far as Procore has told; undefined before its first answer. */
export interface BudgetView {
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly resetInMs: number | undefined
}

/** What goes on for a company at the moment; all ids of `"*"` are one, with the smallest of their budgets. */
export interface CompanyLoad {
  /** Its name, or `*`. */
  readonly company: string
  readonly inFlight: number
  readonly waitingForBudget: number
  readonly waitingForConnection: number
  readonly budget: BudgetView
}

/** Each is worked out when it is read. */
export interface Live {
  readonly version: string
  readonly config: Config
  readonly ready: boolean
  /** Requests that have not ended, those for the proxy's own pages too. */
  readonly inFlight: number
  readonly listeners: readonly { readonly url: string; readonly company: string | undefined }[]
  readonly tokens: readonly TokenSource[]
  readonly loads: readonly CompanyLoad[]
}
