// The rate budgets of all service accounts and companies; they outlive reloads.
import { LRUCache } from 'lru-cache'
import type { Company, Config, RateLimitSettings, ServiceAccount } from '../config/config.ts'
import { Budget } from './budget.ts'

/**
 * The number of budgets that are kept for ids under `"*"`. Callers choose these ids, so beyond that the oldest is kept only
 * for as long as it is in use.
 */
const MOST_OF_ANY = 1_024

/** Creates a budget; `key` is the same for all processes that use the same budget at Procore. */
export type OpenBudget = (key: string, settings: RateLimitSettings) => Budget

type Limits = Pick<Config, 'rateLimit'> & { readonly companies: readonly Pick<Company, 'id' | 'account'>[] }

export class Budgets {
  #settings: RateLimitSettings
  readonly #open: OpenBudget
  #ofCompanies = new Map<string, Budget>()
  readonly #ofAny = new LRUCache<string, Budget>({
    max: MOST_OF_ANY,
    dispose: (budget, key) => {
      this.#inUse.set(key, new WeakRef(budget))
      this.#unused.register(budget, key)
    },
  })
  /** Upstreams and waiting requests may still hold them. */
  readonly #inUse = new Map<string, WeakRef<Budget>>()
  readonly #unused = new FinalizationRegistry<string>((key) => {
    if (this.#inUse.get(key)?.deref() === undefined) this.#inUse.delete(key)
  })

  constructor(config: Limits, open: OpenBudget = (_, settings) => new Budget(settings)) {
    this.#settings = config.rateLimit
    this.#open = open
    this.configure(config)
  }

  /** Takes a new configuration: every budget stays as it is, with the new settings. */
  configure({ rateLimit, companies }: Limits): void {
    this.#settings = rateLimit
    const before = this.#ofCompanies
    this.#ofCompanies = new Map()
    for (const { account, id } of companies) {
      const key = budgetKey(account, id)
      const budget = before.get(key) ?? this.#known(key) ?? this.#open(key, rateLimit)
      this.#ofCompanies.set(key, budget)
      before.delete(key)
    }
    // A company that left the file may still be called under "*", or come back.
    for (const [key, budget] of before) this.#ofAny.set(key, budget)
    const inUse = [...this.#inUse.values()].map((each) => each.deref())
    for (const budget of [...this.#ofCompanies.values(), ...this.#ofAny.values(), ...inUse])
      budget?.configure(rateLimit)
  }

  /** The budget of an account in a company. */
  get(account: ServiceAccount, companyId: string): Budget {
    const key = budgetKey(account, companyId)
    const known = this.#ofCompanies.get(key)
    if (known !== undefined) return known
    const budget = this.#known(key) ?? this.#open(key, this.#settings)
    this.#ofAny.set(key, budget)
    return budget
  }

  #known(key: string): Budget | undefined {
    const budget = this.#ofAny.get(key) ?? this.#inUse.get(key)?.deref()
    this.#inUse.delete(key)
    return budget
  }
}

/** Procore counts by client and company: a rotated secret is the same budget. */
function budgetKey({ environment, clientId }: ServiceAccount, companyId: string): string {
  return JSON.stringify([environment.loginUrl, clientId, companyId])
}
