// Each company's connections, token and budget, kept apart so that no company can block or affect another.
import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import { Client } from 'undici'
import type { TokenSource, Tokens } from '../auth/token-source.ts'
import type {
  AnyCompany,
  Company,
  Config,
  Environment,
  RateLimitSettings,
  UpstreamSettings,
} from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { mayUseCompany } from '../guards/callers.ts'
import type { FileHostLimiter } from '../guards/file-hosts.ts'
import { type Connector, connector } from '../network/connect.ts'
import type { BudgetView, CompanyLoad } from '../observe/status.ts'
import type { Attempt } from './attempt.ts'
import type { Budget } from './budget.ts'
import type { Budgets } from './budgets.ts'
import type { Departure } from './call.ts'
import { WaitingLine } from './waiting-line.ts'

export interface ConnectionPoolOptions
  extends Pick<UpstreamSettings, 'connections' | 'maxQueued' | 'responseTimeoutMs'> {
  readonly origin: string
  readonly connect: Connector
  /**
   * True if several callers can reach the company. Then no caller gets more than three quarters of the connections or
   * the queue.
   */
  readonly isShared: boolean
}

/**
 * An idle connection is closed after this time, even if the server's Keep-Alive header allows more. Firewalls
 * silently drop connections that are idle for minutes, and then requests are lost.
 */
const KEEP_ALIVE_MS = 15_000
/** A connection is replaced after this time, so that a change of the API's IP address is noticed. */
const LONGEST_AGE_MS = 300_000
/** The longest response head that is accepted. */
const MAX_HEADER_BYTES = 64 * 1024

/** One connection. Its holder sends one request on it and then releases it. */
export class Connection {
  readonly client: Client
  readonly openedAt = performance.now()
  attempt: Attempt | undefined

  constructor(origin: string, connect: Connector) {
    this.client = new Client(origin, {
      connect: (options, callback) => {
        // Not at once: undici checks an idle connection for a turn before it writes, and a new one must not overtake that.
        setImmediate(() => {
          connect(options, (...result) => {
            const [error, socket] = result
            if (error === null) this.#guard(socket)
            callback(...result)
          })
        })
      },
      pipelining: 1,
      // The attempt has its own time limit.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    })
  }

  /** Adds listeners before undici's own, because undici misinterprets two ways in which a connection can end. */
  #guard(socket: Socket): void {
    socket.on('end', () => this.attempt?.connectionEnded())
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Invariant: a reset is never a clean end. undici treats ECONNRESET as one if the response has `Connection:
      // close`.
      if (error.code === 'ECONNRESET') error.code = 'ECONNABORTED'
    })
  }
}

export class ConnectionPool {
  readonly #options: ConnectionPoolOptions
  /** A stack: the most recently used connection is reused first. */
  readonly #idle: Connection[] = []
  readonly #busy = new Set<Connection>()
  readonly #held = new Map<string, number>()
  #isRetired = false
  readonly #line = new WaitingLine<{ queueKey: string; caller: string; deadline: number }, Connection>()

  constructor(options: ConnectionPoolOptions) {
    this.#options = options
  }

  /** The number of requests that wait for a connection. */
  get waiting(): number {
    return this.#line.size
  }

  /**
   * Acquires a connection for one request of this caller; give it back with {@link release}. Throws `overloaded` if
   * too many requests wait, or if no connection becomes free in time.
   */
  acquire(caller: string, departure: Departure): Connection | Promise<Connection> {
    if (this.#mayHold(caller) && this.#busy.size < this.#options.connections) return this.#take(caller)
    if (this.#isQueueFull(caller)) {
      const detail = `Too many requests of this company wait for a connection (upstream.maxQueued is ${this.#options.maxQueued}).`
      throw new ProxyError('overloaded', detail, { retryAfterSeconds: 1 })
    }
    const request = {
      queueKey: caller,
      caller,
      deadline: performance.now() + this.#options.responseTimeoutMs,
    }
    return this.#line.join(request, departure.signal, () => {
      const detail = 'No connection to the API became free within upstream.responseTimeout.'
      return new ProxyError('overloaded', detail, { retryAfterSeconds: 1 })
    })
  }

  /** Gives a connection back after its request has ended. */
  release(connection: Connection, caller: string): void {
    connection.attempt = undefined
    this.#busy.delete(connection)
    const held = (this.#held.get(caller) ?? 1) - 1
    if (held === 0) this.#held.delete(caller)
    else this.#held.set(caller, held)
    const isOld = performance.now() - connection.openedAt > LONGEST_AGE_MS
    if (isOld || this.#isRetired) void connection.client.close().catch(() => {})
    else this.#idle.push(connection)
    const next = this.#line.take(({ request }) => this.#mayHold(request.caller))
    next?.go(this.#take(next.request.caller))
  }

  /** From now on no connection is kept for later requests: they end with the calls under way. */
  retire(): void {
    this.#isRetired = true
    for (const { client } of this.#idle.splice(0)) void client.close().catch(() => {})
  }

  /** Closes all connections immediately. */
  async destroy(): Promise<void> {
    await Promise.all([...this.#idle, ...this.#busy].map(({ client }) => client.destroy()))
  }

  #take(caller: string): Connection {
    const connection = this.#idle.pop() ?? new Connection(this.#options.origin, this.#options.connect)
    this.#busy.add(connection)
    this.#held.set(caller, (this.#held.get(caller) ?? 0) + 1)
    return connection
  }

  #mayHold(caller: string): boolean {
    return (this.#held.get(caller) ?? 0) < this.#fairPart(this.#options.connections)
  }

  #isQueueFull(caller: string): boolean {
    const { maxQueued } = this.#options
    return this.#line.size >= maxQueued || this.#line.sizeOf(caller) >= this.#fairPart(maxQueued)
  }

  /** The part that one caller may use: everything if it is the only one, else at most three quarters. */
  #fairPart(whole: number): number {
    return this.#options.isShared ? Math.max(1, Math.floor((whole * 3) / 4)) : whole
  }
}

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
  /** How many calls were to be sent again since the API last answered. */
  retriedCalls: number
  readonly pool: ConnectionPool
  /** Limits the look-ups of file hosts; undefined for the API's own host. */
  readonly lookUps: FileHostLimiter | undefined
  /** The number of calls that have begun and not ended, including waiting ones. */
  inFlight: number
}

/** All of these outlive a reload. */
export interface UpstreamsDeps {
  readonly tokens: Tokens
  readonly budgets: Budgets
  readonly lookUps: FileHostLimiter
}

/**
 * The number of entries that are kept for ids under `"*"` and for file hosts. Callers choose these, so the least
 * recently used one is dropped.
 */
const MOST_OF_ANY = 256
const MOST_FILE_HOSTS = 64

interface Entry extends Upstream {
  /** Equal for two upstreams exactly if one can replace the other in a reload. */
  readonly key: string
}

export class Upstreams {
  readonly #config: Config
  readonly #deps: UpstreamsDeps
  readonly #connect: Connector
  readonly #byId = new Map<string, Entry>()
  /** By the key of their account. Lists use those that they began with, even if a reload takes the account away. */
  readonly #sources = new Map<string, TokenSource>()
  readonly #ofAny = new LRUCache<string, Entry, Company | AnyCompany>({
    max: MOST_OF_ANY,
    dispose: retire,
    memoMethod: (id, _, { context }) => this.#open(context, id),
  })
  /** By company id and origin. */
  readonly #files = new LRUCache<string, Entry>({ max: MOST_FILE_HOSTS, dispose: retire })

  constructor(config: Config, deps: UpstreamsDeps) {
    this.#config = config
    this.#deps = deps
    this.#connect = connector(config.network, config.upstream.connectTimeoutMs)
  }

  /**
   * Call this once before use. Unchanged companies of `previous` keep their connections; its calls under way share them. Its
   * other connections end with their calls.
   */
  start(previous?: Upstreams): this {
    const { companies, anyCompany } = this.#config
    for (const { account } of anyCompany === undefined ? companies : [...companies, anyCompany])
      this.#sources.set(account.key, this.#deps.tokens.source(account))
    for (const company of companies) {
      const kept = previous === undefined ? undefined : previous.#byId.get(company.id)
      const isSame = kept?.key === this.#keyOf(company, company.id)
      this.#byId.set(company.id, isSame ? kept : this.#open(company, company.id))
    }
    for (const entry of previous === undefined ? [] : previous.#all()) {
      if (this.#byId.get(entry.companyId) !== entry) retire(entry)
    }
    return this
  }

  /** Returns the upstream of a configured company, or of an id under `"*"`. */
  get(company: Company | AnyCompany, id: string): Upstream {
    return this.#byId.get(id) ?? this.#ofAny.memo(id, { context: company })
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
    const entries = company === undefined ? [...this.#ofAny.values()] : [this.#byId.get(company.id) as Entry]
    return scarcest(entries)?.remaining
  }

  #loadOf(company: string, entries: readonly Entry[]): CompanyLoad {
    const ids = new Set(entries.map((entry) => entry.companyId))
    const all = [...entries, ...[...this.#files.values()].filter((entry) => ids.has(entry.companyId))]
    const sum = (of: (upstream: Upstream) => number) => all.reduce((total, each) => total + of(each), 0)
    const budget = scarcest(entries)
    return {
      company,
      inFlight: sum((each) => each.inFlight),
      waitingForBudget: sum((each) => each.budget?.waiting ?? 0),
      waitingForConnection: sum((each) => each.pool.waiting),
      budget: { limit: budget?.limit, remaining: budget?.remaining, resetInMs: budget?.resetInMs },
    }
  }

  #keyOf(target: Company | AnyCompany, id: string): string {
    const { upstream, network, rateLimit } = this.#config
    const { environment, key } = target.account
    return JSON.stringify([environment, key, id, upstream, network.key, rateLimit, this.#isShared(id)])
  }

  /** True if more than one listener, key or caller can reach the company. */
  #isShared(id: string): boolean {
    const { listen, companies, guard, callers = [] } = this.#config
    const company = companies.find((one) => one.id === id)
    const listeners = listen.length + (company?.listen ? 1 : 0)
    const named = callers.filter((caller) => mayUseCompany(caller, company?.name ?? id))
    return listeners * Math.max(1, guard.clientKeys.length + named.length) > 1
  }

  #open(target: Company | AnyCompany, companyId: string, origin = target.account.environment.apiUrl): Entry {
    const { environment } = target.account
    const { upstream: settings, rateLimit } = this.#config
    const { budgets, lookUps } = this.#deps
    const isApi = origin === environment.apiUrl
    return {
      key: this.#keyOf(target, companyId),
      companyId,
      environment,
      origin,
      host: new URL(origin).host,
      tokens: this.#sources.get(target.account.key) as TokenSource,
      settings,
      rateLimit,
      budget: isApi ? budgets.get(target.account, companyId) : undefined,
      lookUps: isApi ? undefined : lookUps,
      retriedCalls: 0,
      pool: new ConnectionPool({
        ...settings,
        origin,
        connect: this.#connect,
        isShared: this.#isShared(companyId),
      }),
      inFlight: 0,
    }
  }

  /** Closes all connections immediately. */
  async destroy(): Promise<void> {
    await Promise.all(this.#all().map(({ pool }) => pool.destroy()))
  }

  #all(): Entry[] {
    return [...this.#byId.values(), ...this.#ofAny.values(), ...this.#files.values()]
  }
}

function retire({ pool }: Entry): void {
  pool.retire()
}

/** The budget with the least left. */
function scarcest(entries: readonly Entry[]): BudgetView | undefined {
  const left = ({ remaining = Number.POSITIVE_INFINITY }: BudgetView) => remaining
  return entries.flatMap((each) => each.budget?.state() ?? []).sort((a, b) => left(a) - left(b))[0]
}
