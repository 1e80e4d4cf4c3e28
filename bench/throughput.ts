// Time to start, memory when idle, requests a second and CPU a request; contenders take turns over several rounds.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, launch, load, type Running } from './bench.ts'
import type { Contender } from './contenders.ts'
import { measureLatency } from './latency.ts'

/** Time to start: processes that come and go, one at a time. */
export async function measureStart(bench: Bench, times: number): Promise<void> {
  const contenders = bench.contenders.filter(({ throughputOnly }) => !throughputOnly)
  for (let round = 0; round < times; round++) {
    for (const contender of contenders) {
      const running = await launch(bench, contender, bench.upstream.plain)
      add(bench, contender, 'startMs', running.startMs)
      await running.child.stop()
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
      all.push(await launch(bench, contender, upstream[scheme]))
    }
    if (scheme === 'plain') {
      await sleep(2_000)
      for (const { contender, child } of all) {
        if (!contender.throughputOnly) add(bench, contender, 'idleMb', child.memoryMb('VmRSS'))
      }
    }
    // Compilers need their second; interpreters of configurations lose nothing by it.
    for (const running of all) await load(bench, running, { seconds: options.quick ? 1 : 3 })
    for (let round = 1; round <= options.rounds; round++) {
      for (const running of all) {
        const { requestsPerSecond, cpuUs } = await load(bench, running, { seconds: options.seconds })
        const id = running.contender.id
        const measured = bench.results[id]!
        measured[scheme] ??= { requestsPerSecond: [], cpuUs: [] }
        measured[scheme].requestsPerSecond.push(requestsPerSecond)
        measured[scheme].cpuUs.push(cpuUs)
        say(
          `${scheme} ${round}/${options.rounds} ${id}: ${requestsPerSecond.toFixed(0)} requests/s, ${cpuUs.toFixed(1)} µs CPU a request`,
        )
      }
    }
    if (scheme === 'plain') await measureLatency(bench, all)
    for (const { child } of all) await child.stop()
  }
}

function add(bench: Bench, { id }: Pick<Contender, 'id'>, key: 'startMs' | 'idleMb', value: number): void {
  const measured = bench.results[id]!
  measured[key] ??= []
  measured[key].push(value)
}
