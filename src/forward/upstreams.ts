// Each company's connections, token and budget, kept apart so that no company can block or affect another.
import { LRUCache } from 'lru-cache'
import type { TokenSource } from '../auth/token-source.ts'
import type { Tokens } from '../auth/tokens.ts'
import type {
  AnyCompany,
  Company,
  Config,
  Environment,
  RateLimitSettings,
  UpstreamSettings,
} from '../config/config.ts'
import { type Connector, connector } from '../network/connect.ts'
import type { BudgetView, CompanyLoad } from '../observe/live.ts'
import type { Budget } from './budget.ts'
import type { Budgets } from './budgets.ts'
import { ConnectionPool } from './connection-pool.ts'
import { RetryBudget } from './retry-policy.ts'

/** Everything that is needed to send a company's calls to the API, or to one host that serves its files. */
export interface Upstream {
  readonly companyId: string
  readonly environment: Environment
  /** The origin that requests are sent to: the API's, or that of a file host. */
  readonly origin: string
  /** The origin's host and port. */
  readonly host: string
  readonly tokens: TokenSource
  readonly settings: UpstreamSettings
  readonly rateLimit: RateLimitSettings
  /** The rate budget of this account and company; undefined for files, which have none. */
  readonly budget: Budget | undefined
  readonly retries: RetryBudget
  readonly pool: ConnectionPool
  /** The number of calls that have begun and not ended, including waiting ones. */
  inFlight: number
}

export interface UpstreamsDeps {
  readonly tokens: Tokens
  /** Outlive a reload. */
  readonly budgets: Budgets
}

/**
 * The number of entries that are kept for ids under `"*"` and for file hosts. Callers choose these, so the least
 * recently used one is dropped.
 */
const MOST_OF_ANY = 256
const MOST_FILE_HOSTS = 64

type Target = Pick<Company | AnyCompany, 'account'>

interface Entry extends Upstream {
  /** Equal for two upstreams exactly if one can replace the other in a reload. */
  readonly key: string
}

export class Upstreams {
  readonly #config: Config
  readonly #deps: UpstreamsDeps
  readonly #connect: Connector
  readonly #byId = new Map<string, Entry>()
  readonly #ofAny = new LRUCache<string, Entry>({
    max: MOST_OF_ANY,
    dispose: (entry) => void entry.pool.close(),
  })
  /** By company id and origin. */
  readonly #files = new LRUCache<string, Entry>({
    max: MOST_FILE_HOSTS,
    dispose: (entry) => void entry.pool.close(),
  })

  /** Takes over the connections of unchanged companies from `previous`. */
  constructor(config: Config, deps: UpstreamsDeps, previous?: Upstreams) {
    this.#config = config
    this.#deps = deps
    this.#connect = connector(config.network, config.upstream.connectTimeoutMs)
    for (const company of config.companies) {
      const kept =
        previous === undefined ? undefined : previous.#take(company.id, this.#keyOf(company, company.id))
      this.#byId.set(company.id, kept ?? this.#open(company, company.id))
    }
  }

  /** Returns the upstream of a configured company, or of an id under `"*"`. */
  get(company: Company | AnyCompany, id: string): Upstream {
    let upstream = this.#byId.get(id) ?? this.#ofAny.get(id)
    if (upstream === undefined) {
      upstream = this.#open(company, id)
      this.#ofAny.set(id, upstream)
    }
    return upstream
  }

  /** The same for a host that serves the company's files. */
  ofFiles(company: Company | AnyCompany, id: string, origin: string): Upstream {
    const place = `${id} ${origin}`
    let upstream = this.#files.get(place)
    if (upstream === undefined) {
      upstream = this.#open(company, id, origin)
      this.#files.set(place, upstream)
    }
    return upstream
  }

  /** The load of each configured company, and of all ids under `"*"` together. */
  loads(): CompanyLoad[] {
    const loads = this.#config.companies.map(({ name, id }) =>
      this.#loadOf(name, [this.#byId.get(id) as Entry]),
    )
    if (this.#config.anyCompany !== undefined) loads.push(this.#loadOf('*', [...this.#ofAny.values()]))
    return loads
  }

  /** What is left of a company's rate budget, by the company's name or `*`. */
  budgetRemaining(group: string): number | undefined {
    const company = this.#config.companies.find(({ name }) => name === group)
    const entries = company === undefined ? [...this.#ofAny.values()] : [this.#byId.get(company.id)]
    const remaining = entries.flatMap((entry) => entry?.budget?.state().remaining ?? [])
    return remaining.length === 0 ? undefined : Math.min(...remaining)
  }

  #loadOf(company: string, entries: readonly Entry[]): CompanyLoad {
    const ids = new Set(entries.map((entry) => entry.companyId))
    const all = [...entries, ...[...this.#files.values()].filter((entry) => ids.has(entry.companyId))]
    const sum = (of: (upstream: Upstream) => number) => all.reduce((total, each) => total + of(each), 0)
    const left = ({ remaining = Number.POSITIVE_INFINITY }: BudgetView) => remaining
    const [budget] = entries.flatMap((each) => each.budget?.state() ?? []).sort((a, b) => left(a) - left(b))
    return {
      company,
      inFlight: sum((each) => each.inFlight),
      waitingForBudget: sum((each) => each.budget?.waiting ?? 0),
      waitingForConnection: sum((each) => each.pool.waiting),
      budget: { limit: budget?.limit, remaining: budget?.remaining, resetInMs: budget?.resetInMs },
    }
  }

  #take(id: string, key: string): Entry | undefined {
    const entry = this.#byId.get(id)
    if (entry?.key !== key) return undefined
    this.#byId.delete(id)
    return entry
  }

  #keyOf(target: Target, id: string): string {
    const { upstream, network, rateLimit } = this.#config
    const { environment, key } = target.account
    return JSON.stringify([environment, key, id, upstream, network.key, rateLimit, this.#isShared(id)])
  }

  /** True if more than one listener, key or caller can reach the company. */
  #isShared(id: string): boolean {
    const { listen, companies, guard, callers = [] } = this.#config
    const listeners = listen.length + (companies.some((one) => one.id === id && one.listen) ? 1 : 0)
    return listeners * Math.max(1, guard.clientKeys.length + callers.length) > 1
  }

  #open(target: Target, companyId: string, origin = target.account.environment.apiUrl): Entry {
    const { environment } = target.account
    const { upstream: settings, rateLimit } = this.#config
    const { tokens, budgets } = this.#deps
    return {
      key: this.#keyOf(target, companyId),
      companyId,
      environment,
      origin,
      host: new URL(origin).host,
      tokens: tokens.source(target.account),
      settings,
      rateLimit,
      budget: origin === environment.apiUrl ? budgets.get(target.account, companyId) : undefined,
      retries: new RetryBudget(),
      pool: new ConnectionPool({
        origin,
        connect: this.#connect,
        connections: settings.connections,
        maxQueued: settings.maxQueued,
        maxWaitMs: settings.responseTimeoutMs,
        isShared: this.#isShared(companyId),
      }),
      inFlight: 0,
    }
  }

  /** Closes the upstreams that no successor took over, once their calls have ended. */
  async close(): Promise<void> {
    await Promise.all(this.#all().map(({ pool }) => pool.close()))
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#all().map(({ pool }) => pool.destroy()))
  }

  #all(): Entry[] {
    return [...this.#byId.values(), ...this.#ofAny.values(), ...this.#files.values()]
  }
}
