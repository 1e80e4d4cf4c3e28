// One pool of connections to the API for each company: what poisons or fills one never reaches another.

import { LRUCache } from 'lru-cache'
import type { TokenSource } from '../auth/token-source.ts'
import type { Tokens } from '../auth/tokens.ts'
import type { AnyCompany, Company, Config, Environment, UpstreamSettings } from '../config/config.ts'
import type { Handler, OutgoingRequest } from '../http1/handler.ts'
import { NEVER_SENT } from '../http1/handler.ts'
import { openPool } from '../http1/origin-pools.ts'
import { type Connector, connector } from '../network/connector.ts'
import type { BudgetView, CompanyLoad } from '../observe/live.ts'
import { authorize } from './authorize.ts'
import { Budget } from './budget.ts'
import { Connections } from './connections.ts'
import type { Dispatch, Interceptor } from './dispatch.ts'
import { pace } from './pace.ts'
import { retry } from './retry.ts'
import { RetryBudget } from './retry-policy.ts'

/** A company's way to the API, or to one host that serves its files. */
export interface Upstream {
  readonly companyId: string
  readonly environment: Environment
  /** Where requests are sent: the API's, or that of a file host. */
  readonly origin: string
  /** The origin's host and port. */
  readonly host: string
  readonly tokens: TokenSource
  readonly settings: UpstreamSettings
  /** What is left of the rate budget of this account and company. */
  readonly budget: Budget
  readonly dispatch: Dispatch
  /** Requests that are being sent or wait, for a token or a socket. */
  readonly inFlight: number
  /** Those of them that wait for a socket. */
  readonly waitingForConnection: number
  /** One more request is in flight, until `leave`. */
  enter(): void
  leave(): void
  /** The company's way to a host that serves files, which `fileOrigin` let through: same token, no rate budget. */
  files(origin: string): Upstream
  /** Lets what is under way end, then closes the connections. */
  close(): Promise<void>
  /** Closes the connections at once. */
  destroy(): Promise<void>
}

/** Pools of ids that only `"*"` knows; the least used one goes first, because callers choose the ids. */
const MOST_POOLS_OF_ANY = 256
/** File hosts of one company whose connections are kept; the least used one goes first, because callers choose them. */
const MOST_FILE_HOSTS = 8
/**
 * An idle connection is closed after this time, whatever the server's Keep-Alive allows: firewalls forget connections that
 * idle for minutes, without a word, and what is then written is lost.
 */
const KEEP_ALIVE_MS = 15_000

type Target = Pick<Company | AnyCompany, 'account'>

export class Upstreams {
  readonly #config: Config
  readonly #tokens: Tokens
  readonly #byKey = new Map<string, Upstream>()
  readonly #ofAny = new LRUCache<string, Upstream>({
    max: MOST_POOLS_OF_ANY,
    dispose: (upstream) => void upstream.close(),
  })

  /** Takes over from `previous` the pools of companies that did not change. */
  constructor(config: Config, tokens: Tokens, previous?: Upstreams) {
    this.#config = config
    this.#tokens = tokens
    for (const company of config.companies) {
      const key = upstreamKey(company, company.id, config)
      const kept = previous === undefined ? undefined : previous.#take(key)
      this.#byKey.set(company.id, kept ?? openUpstream(key, company, company.id, config, tokens))
    }
  }

  /** The way of a configured company, or of an id under `"*"`. */
  get(company: Company | AnyCompany, id: string): Upstream {
    const known = this.#byKey.get(id) ?? this.#ofAny.get(id)
    if (known !== undefined) return known
    const upstream = openUpstream(
      upstreamKey(company, id, this.#config),
      company,
      id,
      this.#config,
      this.#tokens,
    )
    this.#ofAny.set(id, upstream)
    return upstream
  }

  /** What goes on for each configured company and, as one, for all ids of `"*"`. */
  loads(): CompanyLoad[] {
    const loads = this.#config.companies.flatMap(({ name, id }) => {
      const upstream = this.#byKey.get(id)
      return upstream === undefined ? [] : [loadOf(name, [upstream])]
    })
    if (this.#config.anyCompany !== undefined) loads.push(loadOf('*', [...this.#ofAny.values()]))
    return loads
  }

  #take(key: string): Upstream | undefined {
    for (const [id, upstream] of this.#byKey) {
      if ((upstream as KeyedUpstream).key !== key) continue
      this.#byKey.delete(id)
      return upstream
    }
    return undefined
  }

  /** Closes what no successor took over, letting requests under way end. */
  async close(): Promise<void> {
    await Promise.all([...this.#all()].map((upstream) => upstream.close()))
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.#all()].map((upstream) => upstream.destroy()))
  }

  *#all(): Iterable<Upstream> {
    yield* this.#byKey.values()
    yield* this.#ofAny.values()
  }
}

interface KeyedUpstream extends Upstream {
  readonly key: string
}

function loadOf(company: string, upstreams: readonly Upstream[]): CompanyLoad {
  const sum = (of: (upstream: Upstream) => number) => upstreams.reduce((all, each) => all + of(each), 0)
  const left = ({ remaining = Number.POSITIVE_INFINITY }: BudgetView) => remaining
  const [budget] = upstreams.map((each): BudgetView => each.budget.state()).sort((a, b) => left(a) - left(b))
  return {
    company,
    inFlight: sum((each) => each.inFlight),
    waitingForBudget: sum((each) => each.budget.waiting),
    waitingForConnection: sum((each) => each.waitingForConnection),
    budget: { limit: budget?.limit, remaining: budget?.remaining, resetInMs: budget?.resetInMs },
  }
}

/** Equal for two companies exactly when one's connections and tokens can serve the other. */
function upstreamKey(target: Target, id: string, config: Config): string {
  return JSON.stringify([
    target.account.environment,
    target.account.key,
    id,
    config.upstream,
    config.network.key,
    config.rateLimit,
  ])
}

function openUpstream(
  key: string,
  target: Target,
  companyId: string,
  config: Config,
  tokens: Tokens,
  origin = target.account.environment.apiUrl,
): KeyedUpstream {
  const { environment } = target.account
  const isApi = origin === environment.apiUrl
  const settings = config.upstream
  const source = tokens.source(target.account)
  const pool = openConnections(
    origin,
    connector(config.network, settings.connectTimeoutMs, settings.http2),
    settings,
  )
  const connections = new Connections(settings.connections, settings.maxQueued)
  const budget = new Budget(config.rateLimit)
  const retries = new RetryBudget()
  const fileHosts = new LRUCache<string, Upstream>({
    max: MOST_FILE_HOSTS,
    dispose: (upstream) => void upstream.close(),
  })
  let inFlight = 0
  let idle: PromiseWithResolvers<void> | undefined
  return {
    key,
    companyId,
    environment,
    origin,
    host: new URL(origin).host,
    tokens: source,
    settings,
    budget,
    dispatch: composed(
      (options, handler) => pool.dispatch(options, handler),
      connections.interceptor,
      authorize(source),
      retry(settings.retries, retries),
      ...(isApi ? [pace(budget, retries, config.rateLimit)] : []),
    ),
    get inFlight() {
      return inFlight
    },
    get waitingForConnection() {
      return connections.waiting
    },
    enter: () => {
      inFlight++
    },
    leave: () => {
      inFlight--
      if (inFlight === 0) idle?.resolve()
    },
    files: (host) => {
      const known = fileHosts.get(host)
      if (known !== undefined) return known
      const way = openUpstream(key, target, companyId, config, tokens, host)
      fileHosts.set(host, way)
      return way
    },
    close: async () => {
      await Promise.all([...fileHosts.values()].map((way) => way.close()))
      // A pool that closes takes no more requests, but one that waits for a token has yet to come to it.
      if (inFlight > 0) {
        idle ??= Promise.withResolvers()
        await idle.promise
      }
      await pool.close()
    },
    destroy: async () => {
      await Promise.all([...fileHosts.values()].map((way) => way.destroy()))
      await pool.destroy()
    },
  }
}

interface ConnectionPool {
  dispatch(request: OutgoingRequest, handler: Handler): void
  close(): Promise<void>
  destroy(): Promise<void>
}

function openConnections(
  origin: string,
  connect: Connector,
  { connections, http2 }: UpstreamSettings,
): ConnectionPool {
  const settings = { connections, keepAliveMs: KEEP_ALIVE_MS }
  if (!http2) return openPool(origin, connect, settings)
  const opening = import('./http2-pool.ts').then(
    ({ Http2Pool }) => new Http2Pool(origin, { ...settings, connect }),
  )
  let opened: ConnectionPool | undefined
  return {
    dispatch: (request, handler) => {
      if (opened !== undefined) {
        opened.dispatch(request, handler)
        return
      }
      opening
        .then((pool) => {
          opened = pool
          pool.dispatch(request, handler)
        })
        .catch((error: Error) => handler.onResponseError(NEVER_SENT, error))
    },
    close: async () => (await opening).close(),
    destroy: async () => (await opening).destroy(),
  }
}

/** The last interceptor is the first to see a request. */
function composed(dispatch: Dispatch, ...interceptors: Interceptor[]): Dispatch {
  return interceptors.reduce((inner, interceptor) => interceptor(inner), dispatch)
}
