// The shape of what `compare` measures, as it stands in bench/results/compare.json.

/** One measure, a value a round; null where a round failed. */
export type Series = (number | null)[]

export interface Throughput {
  readonly requestsPerSecond: Series
  /** CPU time of the contender's processes, µs a request. */
  readonly cpuUs: Series
}

/** Of one way of asking, in µs. */
export interface Latency {
  readonly p50Us: Series
  readonly p99Us: Series
}

export interface Transfer {
  readonly mbPerSecond: Series
  readonly cpuMsPerGb: Series
  readonly peakMb: Series
}

export interface Measured {
  readonly title: string
  plain?: Throughput
  tls?: Throughput
  /** One connection, one request after the other. */
  single?: Latency
  /** So many requests a second, whether the last were answered or not. */
  fixed?: Latency
  download?: Transfer
  upload?: Transfer
  idleMb?: Series
  startMs?: Series
}

/** Short-lived tokens beside long-lived ones. */
export interface Expiry {
  readonly renewals: number
  readonly tokenSeconds: number
  readonly short: {
    readonly p50Us: Series
    readonly p99Us: Series
    readonly maxUs: Series
    readonly cpuUs: Series
  }
  readonly long: {
    readonly p50Us: Series
    readonly p99Us: Series
    readonly maxUs: Series
    readonly cpuUs: Series
  }
  /** Of the short-lived run, the requests within 250 ms of a renewal and the others. */
  readonly near: { readonly p50Us: Series; readonly p99Us: Series; readonly maxUs: Series }
  readonly far: { readonly p50Us: Series; readonly p99Us: Series; readonly maxUs: Series }
}

export interface Compared {
  readonly date: string
  readonly command: string
  readonly machine: Record<string, string>
  readonly versions: Record<string, string>
  readonly cores: string
  readonly seconds: number
  readonly rounds: number
  readonly skipped: Record<string, string>
  /** By contender id. */
  readonly contenders: Record<string, Measured>
  /** Without any proxy. */
  direct?: { single?: Latency; fixed?: Latency }
  fixedRate?: number
  largeMb?: number
  expiry?: Expiry
}
