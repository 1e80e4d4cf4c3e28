// Lists every metric with name, type, labels and help. The registry and docs/operations.md are made from this table.

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
  budgetLimit: "gauge budget_limit{company} Size of Procore's rate window that is nearest to its end.",
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

export type MetricKey = keyof typeof TABLE

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

/** Labels and value of one series; a gauge without a value is left out. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | undefined]

/** Upper bounds of the histograms, in seconds. */
export const DURATION_BUCKETS: number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
]
