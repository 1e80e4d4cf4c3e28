// Lists every metric with name, type, labels and help. The registry and docs/operations.md are made from this table.

export interface MetricDefinition {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
}

type Type = MetricDefinition['type']

function of(type: Type, name: string, labels: readonly string[], help: string): MetricDefinition {
  return { name: name.startsWith('process_') ? name : `procore_proxy_${name}`, type, labels, help }
}

const ACCOUNT = ['account', 'environment']

export const METRICS = {
  requests: of(
    'counter',
    'requests_total',
    ['company', 'caller', 'method', 'status'],
    'Requests that have ended, by company, caller (empty for none), method class (read: GET, HEAD, OPTIONS; write) and status class (none: no response was sent).',
  ),
  duration: of(
    'histogram',
    'request_duration_seconds',
    ['company'],
    'Time from the request to the end of its response, including waits.',
  ),
  upstreamDuration: of(
    'histogram',
    'upstream_duration_seconds',
    ['company'],
    "Time from sending the request to Procore to the first byte of Procore's response.",
  ),
  bytesIn: of('counter', 'request_bytes_total', ['company'], 'Bytes of request bodies.'),
  bytesOut: of('counter', 'response_bytes_total', ['company'], 'Bytes of response bodies.'),
  retries: of(
    'counter',
    'retries_total',
    ['company', 'reason'],
    'Requests that were sent again, by the status that caused it, or because the connection failed before any response.',
  ),
  errors: of('counter', 'errors_total', ['code'], "The proxy's own errors, by error code (docs/errors.md)."),
  saved: of(
    'counter',
    'saved_requests_total',
    ['company', 'by'],
    'Requests that the cache answered: coalesced, kept, or a kept refusal.',
  ),
  tokensIssued: of('counter', 'tokens_issued_total', ACCOUNT, 'Tokens that the login server issued.'),
  tokenFailures: of(
    'counter',
    'token_failures_total',
    [...ACCOUNT, 'reason'],
    'Token requests that failed, by reason (rejected: the credentials were refused).',
  ),
  tokenValid: of('gauge', 'token_valid', ACCOUNT, '1 while there is a token that can be sent.'),
  tokenAge: of('gauge', 'token_age_seconds', ACCOUNT, 'Age of the token; absent if there is none.'),
  tokenExpiresIn: of(
    'gauge',
    'token_expires_in_seconds',
    ACCOUNT,
    'Time until the token ends; absent if there is none. It is renewed after 3/4 of its lifetime.',
  ),
  tokenLifetime: of('gauge', 'token_lifetime_seconds', ACCOUNT, 'Lifetime of the token.'),
  ready: of('gauge', 'ready', [], 'What /_proxy/health/ready says: 1 up, 0 down.'),
  inFlight: of(
    'gauge',
    'in_flight',
    ['company'],
    'Requests for Procore that have not ended, including waiting ones.',
  ),
  queued: of(
    'gauge',
    'queued',
    ['company', 'for'],
    'Requests that wait for the rate budget or for a connection.',
  ),
  budgetLimit: of(
    'gauge',
    'budget_limit',
    ['company'],
    "Size of Procore's rate window that is closest to exhaustion.",
  ),
  budgetRemaining: of(
    'gauge',
    'budget_remaining',
    ['company'],
    'Requests that are left in this rate window.',
  ),
  budgetReset: of('gauge', 'budget_reset_seconds', ['company'], 'Time until the next rate window begins.'),
  reloadOk: of(
    'gauge',
    'config_last_reload_successful',
    [],
    '1 if the last reload worked or there was none, 0 if the old configuration stayed in force.',
  ),
  reloadTime: of(
    'gauge',
    'config_last_reload_timestamp_seconds',
    [],
    'Unix time of the last reload, or of the start if there was none.',
  ),
  sharedUp: of(
    'gauge',
    'shared_up',
    [],
    '1 while the shared budget can be reached; absent if `shared` is not configured.',
  ),
  sharedErrors: of(
    'counter',
    'shared_errors_total',
    ['kind'],
    'Commands to the shared budget that failed, by kind.',
  ),
  logLinesLost: of('counter', 'log_lines_lost_total', [], 'Log lines that could not be written.'),
  eventLoopLag: of(
    'gauge',
    'event_loop_lag_seconds',
    ['quantile'],
    'Delay of timers in the event loop since the last scrape (measured from the first scrape on).',
  ),
  buildInfo: of('gauge', 'build_info', ['version', 'node'], 'Always 1; the versions that run here.'),
  cpu: of('counter', 'process_cpu_seconds_total', [], 'CPU time of the process.'),
  memory: of('gauge', 'process_resident_memory_bytes', [], 'Memory of the process.'),
  startTime: of('gauge', 'process_start_time_seconds', [], 'Unix time at which the process started.'),
} as const satisfies Record<string, MetricDefinition>

export type MetricKey = keyof typeof METRICS

/** Labels and value of one series; a gauge without a value is left out. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | undefined]

/** Upper bounds of the histograms, in seconds. */
export const DURATION_BUCKETS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
]
