// Creates prom-client's counters, gauges and histograms from the table of definitions. Imported only when it is
// needed.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import {
  DURATION_BUCKETS,
  METRICS,
  type MetricDefinition,
  type MetricKey,
  type Sample,
} from './metric-definitions.ts'

/** The metrics whose values are read at a scrape. */
export type Readings = Partial<Record<MetricKey, () => Iterable<Sample>>>

export class MetricsRegistry {
  readonly #registry = new Registry()
  readonly #counters = new Map<MetricKey, Counter>()
  readonly #histograms = new Map<MetricKey, Histogram>()
  /** The companies that have a series in the histograms. */
  readonly #seen = new Set<string>()

  constructor(readings: Readings) {
    for (const [key, definition] of Object.entries(METRICS) as [MetricKey, MetricDefinition][]) {
      const { name, help, type } = definition
      const options = { name, help, labelNames: [...definition.labels], registers: [this.#registry] }
      const read = readings[key]
      if (type === 'histogram') {
        this.#histograms.set(key, new Histogram({ ...options, buckets: [...DURATION_BUCKETS] }))
      } else if (type === 'gauge') {
        new Gauge({
          ...options,
          collect() {
            this.reset()
            for (const [labels, value] of read?.() ?? []) {
              if (value !== undefined) this.set(labels, value)
              // Without labels, the value would be 0 even if nothing is known.
              else if (definition.labels.length === 0) this.remove()
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

  /** Makes a histogram show a company that has no observation yet. */
  startAtZero(key: MetricKey, labels: { company: string }): void {
    if (this.#seen.has(`${key} ${labels.company}`)) return
    this.#seen.add(`${key} ${labels.company}`)
    // Invariant: a counter never goes back. This must not be called for a series that exists, because it would reset
    // it.
    this.#histograms.get(key)?.zero(labels)
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
