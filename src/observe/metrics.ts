// The metrics page (Prometheus): everything is read when it is asked for. Loaded then, too: a proxy that nobody scrapes needs none of it.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { TokenFailureReason } from '../auth/token-failure.ts'
import { type Counts, NO_COMPANY } from './counts.ts'
import type { CompanyLoad, Live } from './live.ts'
import {
  DURATION_BOUNDS,
  type Durations,
  METHOD_CLASSES,
  RETRY_REASONS,
  STATUS_CLASSES,
  type Tally,
} from './tally.ts'

/** How often the event loop is watched. */
const LAG_RESOLUTION_MS = 50

const TOKEN_FAILURES: readonly TokenFailureReason[] = [
  'rejected',
  'unreachable',
  'timeout',
  'tls',
  'bad_status',
  'bad_body',
]
export class Metrics {
  readonly #counts: Counts
  readonly #live: Live
  readonly #registry = new Registry()
  /** In nanoseconds; each scrape begins anew. */
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })

  constructor(counts: Counts, live: Live) {
    this.#counts = counts
    this.#live = live
    this.#lag.enable()
    this.#describeRequests()
    this.#describeTokens()
    this.#describeState()
    this.#describeProcess()
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** The page. */
  text(): Promise<string> {
    // Zeros too: a counter that begins with 1 shows no increase.
    for (const company of [NO_COMPANY, ...this.#live.loads.map((load) => load.company)])
      this.#counts.tally(company)
    return this.#registry.metrics()
  }

  /** Stops watching the event loop. */
  close(): void {
    this.#lag.disable()
  }

  /** Name, type, help and labels of each metric, for the docs. */
  describe(): { name: string; type: string; help: string; labels: readonly string[] }[] {
    return this.#registry.getMetricsAsArray().map((metric) => {
      const { name, help, labelNames } = metric as unknown as {
        name: string
        help: string
        labelNames: string[]
      }
      const type = metric instanceof Counter ? 'counter' : metric instanceof Gauge ? 'gauge' : 'histogram'
      return { name, type, help, labels: labelNames.filter((label) => label !== 'le') }
    })
  }

  #describeRequests(): void {
    const { tallies, refusals } = this.#counts
    this.#counter(
      'requests_total',
      'Requests that have ended, by company, method class (read: GET, HEAD, OPTIONS; write) and status class (none: no answer was sent).',
      ['company', 'method', 'status'],
      function* () {
        for (const [company, { requests }] of tallies) {
          for (const [place, value] of requests.entries()) {
            const method = METHOD_CLASSES[Math.floor(place / STATUS_CLASSES.length)] as string
            const status = STATUS_CLASSES[place % STATUS_CLASSES.length] as string
            yield [{ company, method, status }, value]
          }
        }
      },
    )
    this.#durations(
      'request_duration_seconds',
      'From the request until its answer has gone out, waits included.',
      (tally) => tally.duration,
    )
    this.#durations(
      'upstream_duration_seconds',
      "From sending the request to Procore until the first byte of Procore's answer.",
      (tally) => tally.upstream,
    )
    this.#counter('request_bytes_total', "Bytes of callers' bodies.", ['company'], function* () {
      for (const [company, { bytesIn }] of tallies) yield [{ company }, bytesIn]
    })
    this.#counter('response_bytes_total', 'Bytes of bodies passed to callers.', ['company'], function* () {
      for (const [company, { bytesOut }] of tallies) yield [{ company }, bytesOut]
    })
    this.#counter(
      'retries_total',
      'Requests sent again, by the answer that caused it, or because a connection failed before any answer.',
      ['company', 'reason'],
      function* () {
        for (const [company, { retries }] of tallies) {
          if (company === NO_COMPANY) continue
          for (const [index, reason] of RETRY_REASONS.entries()) yield [{ company, reason }, retries[index]]
        }
      },
    )
    this.#counter(
      'errors_total',
      "The proxy's own answers, by error code (docs/errors.md).",
      ['code'],
      function* () {
        for (const [code, value] of refusals) yield [{ code }, value]
      },
    )
  }

  #describeTokens(): void {
    const { tokens } = this.#counts
    this.#counter(
      'tokens_issued_total',
      'Tokens that the login server gave.',
      ['account', 'environment'],
      function* () {
        for (const { account, environment, issued } of tokens.values())
          yield [{ account, environment }, issued]
      },
    )
    this.#counter(
      'token_failures_total',
      'Token requests that gave no token, by what went wrong (rejected: the credentials were refused).',
      ['account', 'environment', 'reason'],
      function* () {
        for (const { account, environment, failed } of tokens.values()) {
          for (const reason of TOKEN_FAILURES) yield [{ account, environment, reason }, failed.get(reason)]
        }
      },
    )
    const states = () =>
      this.#live.tokens.map((source) => {
        const { name, environment } = source.account
        return { labels: { account: name, environment: environment.name }, token: source.state().token }
      })
    const labels = ['account', 'environment']
    this.#gauge('token_valid', '1 while there is a token that can be sent.', labels, function* () {
      for (const state of states()) yield [state.labels, state.token === undefined ? 0 : 1]
    })
    this.#gauge('token_age_seconds', 'Age of the token; absent where there is none.', labels, function* () {
      for (const { labels: of, token } of states())
        if (token) yield [of, (Date.now() - token.obtainedAt) / 1000]
    })
    this.#gauge(
      'token_expires_in_seconds',
      'Time until the token ends; absent where there is none. It is renewed once 3/4 of its life is over.',
      labels,
      function* () {
        for (const { labels: of, token } of states()) {
          if (token) yield [of, Math.max(0, (token.endsAt - performance.now()) / 1000)]
        }
      },
    )
    this.#gauge('token_lifetime_seconds', 'The whole life of the token.', labels, function* () {
      for (const { labels: of, token } of states()) if (token) yield [of, token.lifetimeMs / 1000]
    })
  }

  #describeState(): void {
    const live = this.#live
    const each = (name: string, help: string, value: (load: CompanyLoad) => number | undefined) =>
      this.#gauge(name, help, ['company'], function* () {
        for (const load of live.loads) yield [{ company: load.company }, value(load)]
      })
    this.#gauge('ready', 'What /_proxy/health/ready says: 1 up, 0 down.', [], function* () {
      yield [{}, live.ready ? 1 : 0]
    })
    each(
      'in_flight',
      'Requests for Procore that have not ended, waiting ones included.',
      (load) => load.inFlight,
    )
    this.#gauge(
      'queued',
      'Requests that wait, for the rate budget or for a connection.',
      ['company', 'for'],
      function* () {
        for (const { company, waitingForBudget, waitingForConnection } of live.loads) {
          yield [{ company, for: 'budget' }, waitingForBudget]
          yield [{ company, for: 'connection' }, waitingForConnection]
        }
      },
    )
    each(
      'budget_limit',
      "Size of Procore's rate window that is nearest to its end.",
      ({ budget }) => budget.limit,
    )
    each('budget_remaining', 'Requests that this window still allows.', ({ budget }) => budget.remaining)
    each('budget_reset_seconds', 'Time until this window begins anew.', ({ budget }) =>
      budget.resetInMs === undefined ? undefined : budget.resetInMs / 1000,
    )
  }

  #describeProcess(): void {
    const lag = this.#lag
    this.#gauge(
      'event_loop_lag_seconds',
      'How much later than due the event loop ran timers, since the last scrape (from the first one on).',
      ['quantile'],
      function* () {
        const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - LAG_RESOLUTION_MS) / 1000
        // Before the first measurement there is none.
        yield [{ quantile: '0.5' }, lag.count === 0 ? 0 : seconds(lag.percentile(50))]
        yield [{ quantile: '0.99' }, lag.count === 0 ? 0 : seconds(lag.percentile(99))]
        yield [{ quantile: '1' }, lag.count === 0 ? 0 : seconds(lag.max)]
        lag.reset()
      },
    )
    const live = this.#live
    this.#gauge('build_info', 'Always 1; what runs here.', ['version', 'node'], function* () {
      yield [{ version: live.version, node: process.versions.node }, 1]
    })
    // The names below are those of every Prometheus client.
    this.#counter('process_cpu_seconds_total', 'CPU time of the process.', [], function* () {
      const { user, system } = process.cpuUsage()
      yield [{}, (user + system) / 1e6]
    })
    this.#gauge('process_resident_memory_bytes', 'Memory of the process.', [], function* () {
      yield [{}, process.memoryUsage.rss()]
    })
    this.#gauge('process_start_time_seconds', 'Unix time at which the process started.', [], function* () {
      yield [{}, performance.timeOrigin / 1000]
    })
  }

  #counter(name: string, help: string, labelNames: string[], read: Reading): void {
    new Counter({
      name: fullName(name),
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value = 0] of read()) this.inc(labels, value)
      },
    })
  }

  #gauge(name: string, help: string, labelNames: string[], read: Reading): void {
    new Gauge({
      name: fullName(name),
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value] of read()) if (value !== undefined) this.set(labels, value)
      },
    })
  }

  #durations(name: string, help: string, of: (tally: Tally) => Durations): void {
    const read = () =>
      [...this.#counts.tallies].map(([company, tally]) => ({ company, durations: of(tally) }))
    new CountedHistogram(fullName(name), help, this.#registry, read)
  }
}

/** Values by labels; a gauge leaves out what is undefined. */
type Reading = () => Iterable<[labels: Record<string, string>, value: number | undefined]>

function fullName(name: string): string {
  return name.startsWith('process_') ? name : `procore_proxy_${name}`
}

/** prom-client's histogram hashes labels on every observation; this one is read from plain counters. */
class CountedHistogram extends Histogram<'company'> {
  readonly #config: { readonly name: string; readonly help: string }
  readonly #read: () => { company: string; durations: Durations }[]

  constructor(
    name: string,
    help: string,
    registry: Registry,
    read: () => { company: string; durations: Durations }[],
  ) {
    super({ name, help, labelNames: ['company'], buckets: [...DURATION_BOUNDS], registers: [registry] })
    this.#config = { name, help }
    this.#read = read
  }

  /** What prom-client calls, in place of the values that it would have counted itself. */
  getForPromString(): object {
    const { name, help } = this.#config
    const values = this.#read().flatMap(({ company, durations }) => {
      let sum = 0
      const buckets = [...durations.counts].map((count, place) => {
        sum += count
        const labels = { company, le: DURATION_BOUNDS[place] ?? '+Inf' }
        return { metricName: `${name}_bucket`, labels, value: sum }
      })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels: { company }, value: durations.sumSeconds },
        { metricName: `${name}_count`, labels: { company }, value: sum },
      ]
    })
    return { name, help, type: 'histogram', values }
  }
}
