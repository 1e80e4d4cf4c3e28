// The shapes of what is measured, as they stand in bench/results.

/** After so many, compiled code is as good as it gets: procore-proxy still gets cheaper up to some 45,000. */
export const WARM_REQUESTS = 50_000

/** One measure, a value a round; null where a round failed. */
export type Series = (number | null)[]

export interface Throughput {
  readonly requestsPerSecond: Series
  /** CPU time of the contender's processes, µs a request. */
  readonly cpuUs: Series
  /** The same in the first seconds after a pause of half a minute or more; of what is compiled while it runs. */
  readonly afterPauseUs?: Series
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
  /** How much the peak is above what it had before. */
  readonly grownMb: Series
}

export interface Measured {
  readonly title: string
  /** Requests before the first that was measured, of what is compiled while it runs. */
  warmUp?: number
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
  /** Requests a second. */
  readonly rate: number
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

/** Of every result: when, where and with what. */
export interface Head {
  readonly date: string
  readonly command: string
  readonly machine: Record<string, string>
  readonly versions: Record<string, string>
  readonly cores: string
}

export interface Compared extends Head {
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

/** Cost and memory where there is so much of something. */
export interface GrowthPoint {
  readonly amount: number
  readonly cpuUs: Series
  readonly requestsPerSecond: Series
  /** After the load. */
  readonly rssMb: Series
}

export interface Grown extends Head {
  readonly callers: GrowthPoint[]
  readonly companies: GrowthPoint[]
  readonly tokens: GrowthPoint[]
  /** `amount` is bytes; one connection. */
  readonly download: GrowthPoint[]
  readonly upload: GrowthPoint[]
}

/** What a process has open at one moment. */
export interface Held {
  readonly files: number
  /** Resources that keep Node's loop alive, by kind. */
  readonly handles: Record<string, number>
  /** After a collection. */
  readonly heapMb: number
  readonly rssMb: number
}

export interface Soaked extends Head {
  readonly seconds: number
  readonly rate: number
  readonly requests: number
  readonly failed: number
  readonly renewals: number
  /** Bodies of `bodyMb`, each way. */
  readonly transfers: number
  readonly bodyMb: number
  /** Callers that went away in the middle of an answer. */
  readonly leavers: number
  readonly p50Us: number
  readonly p99Us: number
  readonly begin: Held
  readonly end: Held
  readonly samples: { readonly second: number; readonly rssMb: number; readonly files: number }[]
}

export interface ProtocolRow {
  readonly title: string
  readonly requestsPerSecond: Series
  readonly cpuUs: Series
  readonly p50Ms: Series
  readonly p99Ms: Series
  /** From the first request of all callers at once, nothing being connected yet, to the last answer. */
  readonly coldMs: Series
  /** To the API. */
  readonly sockets: Series
}

export interface Protocols extends Head {
  readonly callers: number
  readonly latencyMs: number
  readonly undici: string
  readonly rows: ProtocolRow[]
}

export interface ProcessesRow {
  readonly title: string
  readonly requestsPerSecond: Series
  /** Of the proxies alone. */
  readonly cpuUs: Series
  /** Of what stands before them. */
  readonly frontCpuUs: Series
  /** Of all, with what stands before them. */
  readonly rssMb: Series
}

export interface Several extends Head {
  readonly rows: ProcessesRow[]
}
