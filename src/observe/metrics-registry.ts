// Every metric: the table of definitions, from which docs/operations.md is made too, and prom-client's part. Imported once it is needed.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { TokenFailureReason } from '../auth/request-token.ts'
import type { TokenState } from '../auth/token-source.ts'
import type { ServiceAccount } from '../config/config.ts'
import { ERROR_KINDS } from '../errors.ts'
import { RETRY_REASONS, SAVED_BY } from './exchange.ts'
import { NO_COMPANY, STATUS_CLASSES } from './metrics.ts'
import type { CompanyLoad, LastReload, Live } from './status.ts'
import { companiesSeenBy, EVERYTHING, seesAll, seesCompany, type Viewer } from './viewer.ts'

export interface MetricDefinition {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: string[]
  readonly help: string
}

/** Type, name, labels and help of each. */
const TABLE = {
  requests:
    'counter requests_total{company,caller,method,status} Requests that have ended, by company, caller (empty for none), method class (read: GET, HEAD, OPTIONS; write) and status class (none: no response was sent).',
  duration:
    'histogram request_duration_seconds{company} Time from the request to the end of its response, waits included.',
  upstreamDuration:
    "histogram upstream_duration_seconds{company} Time from sending the request to Procore to the first byte of Procore's response.",
  bytesIn: 'counter request_bytes_total{company} Bytes of request bodies.',
  bytesOut: 'counter response_bytes_total{company} Bytes of response bodies.',
  retries:
    'counter retries_total{company,reason} Requests that were sent again, by the status that caused it, or because the connection failed before any response.',
  errors: "counter errors_total{code} The proxy's own errors, by error code (docs/errors.md).",
  saved:
    'counter saved_requests_total{company,by} Requests that did not have to go to Procore: coalesced, kept, or a kept refusal.',
  tokensIssued: 'counter tokens_issued_total{account,environment} Tokens that the login server issued.',
  tokenFailures:
    'counter token_failures_total{account,environment,reason} Token requests that failed, by reason (rejected: the credentials were refused).',
  tokenValid: 'gauge token_valid{account,environment} 1 while there is a token that can be sent.',
  tokenAge: 'gauge token_age_seconds{account,environment} Age of the token; absent where there is none.',
  tokenExpiresIn:
    'gauge token_expires_in_seconds{account,environment} Time until the token ends; absent where there is none. It is renewed after 3/4 of its life.',
  tokenLifetime: 'gauge token_lifetime_seconds{account,environment} Whole life of the token.',
  ready: 'gauge ready What /_proxy/health/ready says: 1 up, 0 down.',
  inFlight: 'gauge in_flight{company} Requests for Procore that have not ended, waiting ones included.',
  queued: 'gauge queued{company,for} Requests that wait for the rate budget or for a connection.',
  budgetLimit: "gauge budget_limit{company} Size of the rate window that Procore's latest response named.",
  budgetRemaining: 'gauge budget_remaining{company} Requests that are left in this rate window.',
  budgetReset: 'gauge budget_reset_seconds{company} Time until the next rate window begins.',
  reloadOk:
    'gauge config_last_reload_successful 1 where the last reload worked or there was none, 0 where the old configuration stayed in force.',
  reloadTime:
    'gauge config_last_reload_timestamp_seconds Unix time of the last reload, or of the start where there was none.',
  sharedUp:
    'gauge shared_up 1 while the shared budget can be reached; absent where `shared` is not configured.',
  sharedErrors: 'counter shared_errors_total{kind} Commands to the shared budget that failed, by kind.',
  logLinesLost: 'counter log_lines_lost_total Log lines that could not be written.',
  eventLoopLag:
    'gauge event_loop_lag_seconds{quantile} Delay of timers in the event loop since the last scrape (measured from the first scrape on).',
  buildInfo: 'gauge build_info{version,node} Always 1; the versions that run here.',
  cpu: 'counter process_cpu_seconds_total CPU time of the process.',
  memory: 'gauge process_resident_memory_bytes Memory of the process.',
  startTime: 'gauge process_start_time_seconds Unix time at which the process started.',
} as const

type MetricKey = keyof typeof TABLE

/** Every metric by the key that the code uses for it. */
export const METRICS = Object.fromEntries(
  Object.entries(TABLE).map(([key, text]) => [key, definitionOf(text)]),
) as Record<MetricKey, MetricDefinition>

function definitionOf(text: string): MetricDefinition {
  const [, type, name = '', labels = '', help = ''] = /^(\w+) (\w+)(?:\{(.*?)\})? (.*)$/.exec(text) ?? []
  return {
    name: name.startsWith('process_') ? name : `procore_proxy_${name}`,
    type: type as MetricDefinition['type'],
    labels: labels === '' ? [] : labels.split(','),
    help,
  }
}

/** Upper bounds of the histograms, in seconds. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
const LAG_RESOLUTION_MS = 50
/** The most series that begin at zero, however many callers and companies there are. */
const MOST_ZEROS = 2_000
const FAILURES: TokenFailureReason[] = ['rejected', 'unreachable', 'timeout', 'tls', 'bad_status', 'bad_body']

/** Labels and value of one series; a gauge without a value is left out. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | undefined]

export class MetricsRegistry {
  readonly #read: () => Live
  /** As of the last scrape. */
  #live: Live
  readonly #registry = new Registry()
  readonly #counters = new Map<string, Counter>()
  readonly #histograms = new Map<string, Histogram>()
  /** Companies of the histograms that have a series. */
  readonly #seen = new Set<string>()
  /** Measures the delays of the event loop from the first scrape on. */
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })

  constructor(read: () => Live, lastReload: () => LastReload | undefined) {
    this.#read = read
    this.#live = read()
    const readings = this.#readings(lastReload)
    for (const [key, { name, help, type, labels: labelNames }] of Object.entries(METRICS)) {
      const options = { name, help, labelNames, registers: [this.#registry] }
      const sample = readings[key as MetricKey]
      if (type === 'histogram') {
        this.#histograms.set(key, new Histogram({ ...options, buckets: DURATION_BUCKETS }))
      } else if (type === 'gauge') {
        new Gauge({
          ...options,
          collect() {
            this.reset()
            for (const [labels, value] of sample?.() ?? []) {
              if (value !== undefined) this.set(labels, value)
              // Without labels it would be 0 where nothing is known.
              else if (labelNames.length === 0) this.remove()
            }
          },
        })
      } else if (sample !== undefined) {
        new Counter({
          ...options,
          collect() {
            this.reset()
            for (const [labels, value = 0] of sample()) this.inc(labels, value)
          },
        })
      } else this.#counters.set(key, new Counter(options))
    }
  }

  add(key: MetricKey, labels: Record<string, string>, value = 1): void {
    this.#counters.get(key)?.inc(labels, value)
  }

  observe(key: MetricKey, company: string, seconds: number): void {
    this.#seen.add(`${key} ${company}`)
    this.#histograms.get(key)?.observe({ company }, seconds)
  }

  /** The page in the Prometheus text format, with the series that the viewer may see. */
  async text(viewer: Viewer): Promise<{ readonly text: string; readonly type: string }> {
    this.#live = this.#read()
    this.#startAtZero()
    const text = await this.#registry.metrics()
    return { text: seesAll(viewer) ? text : this.#visible(text, viewer), type: this.#registry.contentType }
  }

  /** Stops watching the event loop. */
  close(): void {
    this.#lag.disable()
  }

  /** The metrics that are not counted, but read when somebody asks for them. */
  #readings(lastReload: () => LastReload | undefined): Partial<Record<MetricKey, () => Sample[]>> {
    const loads = (read: (load: CompanyLoad) => number | undefined) => (): Sample[] =>
      this.#live.loads.map((load) => [{ company: load.company }, read(load)])
    const tokens = (read: (token: TokenState['token']) => number | undefined) => (): Sample[] =>
      this.#live.tokens.map((source) => [accountLabels(source.account), read(source.state().token)])
    const one = (read: () => number | undefined) => (): Sample[] => [[{}, read()]]
    return {
      tokenValid: tokens((token) => (token === undefined ? 0 : 1)),
      // A clock that was set back must not make it negative.
      tokenAge: tokens((token) => token && Math.max(0, Date.now() - token.obtainedAt) / 1000),
      tokenExpiresIn: tokens((token) => token && Math.max(0, token.endsAt - performance.now()) / 1000),
      tokenLifetime: tokens((token) => token && token.lifetimeMs / 1000),
      ready: one(() => (this.#live.ready ? 1 : 0)),
      inFlight: loads(({ inFlight }) => inFlight),
      queued: () =>
        this.#live.loads.flatMap(({ company, waitingForBudget, waitingForConnection }): Sample[] => [
          [{ company, for: 'budget' }, waitingForBudget],
          [{ company, for: 'connection' }, waitingForConnection],
        ]),
      budgetLimit: loads(({ budget }) => budget.limit),
      budgetRemaining: loads(({ budget }) => budget.remaining),
      budgetReset: loads(({ budget: { resetInMs } }) => resetInMs && resetInMs / 1000),
      reloadOk: one(() => (lastReload()?.ok === false ? 0 : 1)),
      reloadTime: one(() => (lastReload()?.at ?? performance.timeOrigin) / 1000),
      sharedUp: one(() => this.#live.shared && Number(this.#live.shared.up)),
      sharedErrors: () =>
        Object.entries(this.#live.shared?.errors ?? {}).map(([kind, count]) => [{ kind }, count]),
      logLinesLost: one(() => this.#live.logLinesLost),
      eventLoopLag: () => this.#lagSamples(),
      buildInfo: () => [[{ version: this.#live.version, node: process.versions.node }, 1]],
      cpu: one(() => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6),
      memory: one(() => process.memoryUsage.rss()),
      startTime: one(() => performance.timeOrigin / 1000),
    }
  }

  #lagSamples(): Sample[] {
    const lag = this.#lag
    lag.enable()
    const seconds = (nanoseconds: number) =>
      lag.count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - LAG_RESOLUTION_MS) / 1000
    const samples: Sample[] = [
      [{ quantile: '0.5' }, seconds(lag.percentile(50))],
      [{ quantile: '0.99' }, seconds(lag.percentile(99))],
      [{ quantile: '1' }, seconds(lag.max)],
    ]
    lag.reset()
    return samples
  }

  /** Counters begin at 0, because Prometheus would see no increase in one that begins with 1. */
  #startAtZero(): void {
    const { config, tokens } = this.#live
    const companies = companiesSeenBy(config, EVERYTHING).map(({ name }) => name)
    let zeros = 0
    const callers = ['', ...config.callers.map(({ name }) => name)]
    for (const code of Object.keys(ERROR_KINDS)) this.add('errors', { code }, 0)
    for (const company of [NO_COMPANY, ...companies]) {
      for (const key of ['bytesIn', 'bytesOut'] as const) this.add(key, { company }, 0)
      for (const key of ['duration', 'upstreamDuration'] as const) {
        // Invariant: never of a series that exists, since that would set it back.
        if (!this.#seen.has(`${key} ${company}`)) this.#histograms.get(key)?.zero({ company })
        this.#seen.add(`${key} ${company}`)
      }
      for (const caller of callers) {
        for (const method of ['read', 'write']) {
          for (const status of STATUS_CLASSES) {
            if (++zeros <= MOST_ZEROS) this.add('requests', { company, caller, method, status }, 0)
          }
        }
      }
    }
    for (const company of companies) {
      for (const reason of RETRY_REASONS) this.add('retries', { company, reason }, 0)
      for (const by of SAVED_BY) this.add('saved', { company, by }, 0)
    }
    for (const { account } of tokens) {
      const labels = accountLabels(account)
      this.add('tokensIssued', labels, 0)
      for (const reason of FAILURES) this.add('tokenFailures', { ...labels, reason }, 0)
    }
  }

  /** Without the series of companies, callers and accounts that are not the viewer's, and of the whole process. */
  #visible(text: string, viewer: Viewer): string {
    const accounts = new Set(companiesSeenBy(this.#live.config, viewer).map(({ account }) => account.name))
    const isShown = (line: string) => {
      if (line.startsWith('#') || line === '') return true
      // Names contain nothing that would be escaped.
      const labelOf = (label: string) => new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1]
      const [company, caller, account] = ['company', 'caller', 'account'].map(labelOf)
      const isOthers = caller !== viewer.caller && (caller !== '' || viewer.limitedBy === 'projects')
      if (caller !== undefined && isOthers) return false
      if (company !== undefined) return seesCompany(viewer, company)
      if (account !== undefined) return accounts.has(account)
      return line.startsWith(`${METRICS.ready.name} `) || line.startsWith(METRICS.buildInfo.name)
    }
    return text.split('\n').filter(isShown).join('\n')
  }
}

/** The labels of a service account. */
function accountLabels({ name, environment }: ServiceAccount) {
  return { account: name, environment: environment.name }
}
