// Added latency: the same requests straight to the upstream and through each contender.
import { join } from 'node:path'
import { attempt, type Bench, type Running, type Stage } from './bench.ts'
import { run } from './children.ts'
import { CALLER_HEADERS } from './contenders.ts'
import type { LatencyOrder, LatencyReport } from './load/latency.ts'
import type { Latency } from './result.ts'
import { percentile } from './statistics.ts'
import { SMALL } from './upstream.ts'

/** Requests a second, far from what any contender can do. */
export const FIXED_RATE = 1_000

export interface TimeOptions extends Pick<LatencyOrder, 'rate' | 'seconds' | 'samples'> {
  /** Failures are only counted. */
  readonly tolerant?: boolean
}

/** Times of small requests; throws where one failed and that is not wanted. */
export async function timeRequests(
  { cores }: Pick<Stage, 'cores'>,
  url: string,
  { tolerant = false, ...order }: TimeOptions,
): Promise<LatencyReport> {
  const port = Number(new URL(url).port)
  const whole: LatencyOrder = { port, path: SMALL, headers: CALLER_HEADERS, ...order }
  const program = join(import.meta.dirname, 'load', 'latency.ts')
  const output = await run([process.execPath, program, JSON.stringify(whole)], { core: cores.load })
  const report = JSON.parse(output) as LatencyReport
  if ((report.failed > 0 && !tolerant) || report.us.length === 0) {
    throw new Error(`${report.failed} of ${report.us.length} timed requests to ${url} failed`)
  }
  return report
}

export interface Quantiles {
  readonly p50Us: number
  readonly p99Us: number
  readonly maxUs: number
}

export function quantiles(us: readonly number[]): Quantiles {
  const sorted = Float64Array.from(us).sort()
  return {
    p50Us: percentile(sorted, 0.5),
    p99Us: percentile(sorted, 0.99),
    maxUs: percentile(sorted, 1),
  }
}

/** Contenders that run and are warm already, and the way without any of them. */
export async function measureLatency(bench: Bench, all: readonly Running[]): Promise<void> {
  const { options, upstream, results, direct, say } = bench
  const seconds = Math.min(options.seconds, 2)
  const ways: [string, string, { single?: Latency; fixed?: Latency }][] = [
    ['direct', upstream.plain, direct],
    ...all
      .filter(({ contender }) => !contender.throughputOnly)
      .map(({ contender: { id }, url }): [string, string, (typeof results)[string]] => [
        id,
        url,
        results[id]!,
      ]),
  ]
  for (const kind of ['single', 'fixed'] as const) {
    const rate = kind === 'fixed' ? FIXED_RATE : undefined
    for (let round = 1; round <= Math.min(options.rounds, 3); round++) {
      for (const [id, url, into] of ways) {
        const what = `${kind} ${round} ${id}`
        const timed = await attempt(say, what, () => timeRequests(bench, url, { rate, seconds }))
        const measured = timed && quantiles(timed.us)
        into[kind] ??= { p50Us: [], p99Us: [] }
        into[kind].p50Us.push(measured?.p50Us ?? null)
        into[kind].p99Us.push(measured?.p99Us ?? null)
        if (measured === undefined) continue
        const { p50Us, p99Us } = measured
        say(`${what}: p50 ${p50Us.toFixed(0)} µs, p99 ${p99Us.toFixed(0)} µs`)
      }
    }
  }
}
