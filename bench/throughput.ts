// Time to start, memory when idle, requests a second and CPU a request; contenders take turns over several rounds.
import { setTimeout as sleep } from 'node:timers/promises'
import { attempt, type Bench, launch, load, type Running, warmUp } from './bench.ts'
import type { Contender } from './contenders.ts'
import { measureLatency } from './latency.ts'

/** After which nothing is left of the pause before it. */
const LEAD_IN_S = 3
/** After so long without a request, what is compiled while it runs has given back what its start has left lying. */
const IDLE_MS = 30_000

/** Time to start: processes that come and go, one at a time. */
export async function measureStart(bench: Bench, times: number): Promise<void> {
  const contenders = bench.contenders.filter(({ throughputOnly }) => !throughputOnly)
  for (let round = 0; round < times; round++) {
    for (const contender of contenders) {
      const running = await attempt(bench.say, `start of ${contender.id}`, () =>
        launch(bench, contender, bench.upstream.plain),
      )
      add(bench, contender, 'startMs', running?.startMs)
      await running?.child.stop()
    }
  }
}

/** Memory after the first answer, requests a second and CPU a request with plain and TLS upstream; and, while all are warm, latency. */
export async function measureThroughput(bench: Bench): Promise<void> {
  const { options, contenders, upstream, say } = bench
  for (const scheme of ['plain', 'tls'] as const) {
    const all: Running[] = []
    for (const contender of contenders) {
      if (scheme === 'tls' && contender.plainOnly) continue
      const running = await attempt(say, `${contender.id}, ${scheme}`, () =>
        launch(bench, contender, upstream[scheme]),
      )
      if (running !== undefined) all.push(running)
    }
    if (scheme === 'plain') {
      await sleep(options.quick ? 2_000 : IDLE_MS)
      for (const { contender, child } of all) {
        if (!contender.throughputOnly) add(bench, contender, 'idleMb', child.memoryMb('VmRSS'))
      }
    }
    for (const running of all) await warm(bench, running)
    for (let round = 1; round <= options.rounds; round++) {
      for (const running of all) {
        const { id } = running.contender
        const what = `${scheme} ${round}/${options.rounds} ${id}`
        // Taking turns means a pause before each turn, after which some cost more for a while: a figure of its own.
        const hasLeadIn = running.contender.warmsUp && !options.quick
        const first = hasLeadIn
          ? await attempt(say, `${what}, after a pause`, () => load(bench, running, { seconds: LEAD_IN_S }))
          : undefined
        const loaded = await attempt(say, what, () => load(bench, running, { seconds: options.seconds }))
        const measured = bench.results[id]!
        measured[scheme] ??= { requestsPerSecond: [], cpuUs: [], ...(hasLeadIn && { afterPauseUs: [] }) }
        measured[scheme].requestsPerSecond.push(loaded?.requestsPerSecond ?? null)
        measured[scheme].cpuUs.push(loaded?.cpuUs ?? null)
        measured[scheme].afterPauseUs?.push(first?.cpuUs ?? null)
        if (loaded === undefined) continue
        const { requestsPerSecond, cpuUs } = loaded
        say(`${what}: ${requestsPerSecond.toFixed(0)} requests/s, ${cpuUs.toFixed(1)} µs CPU a request`)
      }
    }
    if (scheme === 'plain') await measureLatency(bench, all)
    for (const { child } of all) await child.stop()
  }
}

/** What is not compiled while it runs has nothing to warm up but its connections. */
async function warm(bench: Bench, running: Running): Promise<void> {
  const { id, warmsUp } = running.contender
  const requests = await attempt(bench.say, `warming up ${id}`, async () =>
    warmsUp ? warmUp(bench, running) : (await load(bench, running, { seconds: 1 })).requests,
  )
  if (!warmsUp) return
  const measured = bench.results[id]!
  measured.warmUp = Math.min(requests ?? 0, measured.warmUp ?? Number.POSITIVE_INFINITY)
}

function add(
  bench: Bench,
  { id }: Pick<Contender, 'id'>,
  key: 'startMs' | 'idleMb',
  value: number | undefined,
): void {
  const measured = bench.results[id]!
  measured[key] ??= []
  measured[key].push(value ?? null)
}
