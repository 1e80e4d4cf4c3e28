// The counters, gauges and histograms of prom-client, made from the table of definitions. Imported only once it is needed.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import {
  DURATION_BUCKETS,
  METRICS,
  type MetricDefinition,
  type MetricKey,
  type Sample,
} from './metric-definitions.ts'

type Entries = [MetricKey, MetricDefinition][]

/** The metrics whose values are read when somebody asks for them. */
export type Readings = Partial<Record<MetricKey, () => Iterable<Sample>>>

export class MetricsRegistry {
  readonly #registry = new Registry()
  readonly #counters = new Map<MetricKey, Counter>()
  readonly #histograms = new Map<MetricKey, Histogram>()
  /** Companies of the histograms that have a series. */
  readonly #seen = new Set<string>()

  constructor(readings: Readings) {
    for (const [key, { name, help, type, labels: labelNames }] of Object.entries(METRICS) as Entries) {
      const options = { name, help, labelNames, registers: [this.#registry] }
      const read = readings[key]
      if (type === 'histogram') {
        this.#histograms.set(key, new Histogram({ ...options, buckets: DURATION_BUCKETS }))
      } else if (type === 'gauge') {
        new Gauge({
          ...options,
          collect() {
            this.reset()
            for (const [labels, value] of read?.() ?? []) {
              if (value !== undefined) this.set(labels, value)
              // Without labels it would be 0 where nothing is known.
              else if (labelNames.length === 0) this.remove()
            }
          },
        })
      } else if (read !== undefined) {
        new Counter({
          ...options,
          collect() {
            this.reset()
            for (const [labels, value = 0] of read()) this.inc(labels, value)
          },
        })
      } else this.#counters.set(key, new Counter(options))
    }
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  add(key: MetricKey, labels: Record<string, string>, value = 1): void {
    this.#counters.get(key)?.inc(labels, value)
  }

  observe(key: MetricKey, labels: { company: string }, seconds: number): void {
    this.#seen.add(`${key} ${labels.company}`)
    this.#histograms.get(key)?.observe(labels, seconds)
  }

  /** Makes a histogram show a company that had no observation yet. */
  startAtZero(key: MetricKey, labels: { company: string }): void {
    // Invariant: never of a series that exists, since that would set it back.
    if (this.#seen.has(`${key} ${labels.company}`)) return
    this.#seen.add(`${key} ${labels.company}`)
    this.#histograms.get(key)?.zero(labels)
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
