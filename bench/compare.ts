// Measures all contenders, taking turns over several rounds, so that what else the machine does hits all alike.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Child, freePort, run, start } from './children.ts'
import { CALLER_HEADERS, CONTENDERS, type Contender, folderFor } from './contenders.ts'
import { measureLatency } from './latency.ts'
import type { Cores } from './machine.ts'
import type { Options } from './options.ts'
import { waitFor } from './requests.ts'
import type { Latency, Measured } from './result.ts'
import { SMALL, type Upstream } from './upstream.ts'

/** Concurrent connections for throughput. */
export const CONNECTIONS = 32

export interface Bench {
  readonly options: Options
  readonly cores: Cores
  readonly upstream: Upstream
  readonly contenders: readonly Contender[]
  readonly results: Record<string, Measured>
  /** Without any proxy. */
  readonly direct: { single?: Latency; fixed?: Latency }
  say(text: string): void
}

export interface Running {
  readonly contender: Pick<Contender, 'id' | 'launch' | 'throughputOnly'>
  readonly child: Child
  readonly url: string
  /** From the start of its process to its first proxied answer, ms. */
  readonly startMs: number
}

let started = 0

/** Starts a contender in front of `api` and waits for its first answer. */
export async function launch(
  bench: Pick<Bench, 'upstream' | 'cores'>,
  contender: Pick<Contender, 'id' | 'launch'>,
  api: string,
  login = bench.upstream.login,
): Promise<Running> {
  const { upstream, cores } = bench
  const port = await freePort()
  const folder = folderFor(upstream.folder, `contender-${++started}`)
  const { caFile } = upstream
  const { command, env } = contender.launch({ port, api, login, caFile, folder })
  const began = performance.now()
  const child = start(command, { core: cores.contender, env, cwd: folder })
  const url = `http://127.0.0.1:${port}`
  try {
    await waitFor(url + SMALL, child, CALLER_HEADERS)
  } catch (error) {
    await child.stop('SIGKILL')
    throw error
  }
  return { contender, child, url, startMs: performance.now() - began }
}

/** Which contenders are measured, and why the others are not. */
export function choose(only: readonly string[] | undefined): {
  contenders: Contender[]
  skipped: Record<string, string>
} {
  const unknown = (only ?? []).filter((id) => !CONTENDERS.some((contender) => contender.id === id))
  if (unknown.length > 0) {
    throw new Error(
      `no such contender: ${unknown.join(', ')}; there are: ${CONTENDERS.map(({ id }) => id).join(', ')}`,
    )
  }
  const skipped: Record<string, string> = {}
  const contenders = CONTENDERS.filter((contender) => {
    const why = only?.includes(contender.id) === false ? 'not asked for' : contender.missing()
    if (why !== undefined) skipped[contender.id] = why
    return why === undefined
  })
  return { contenders, skipped }
}

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
    for (const running of all) await load(bench, running, options.quick ? 1 : 3)
    for (let round = 1; round <= options.rounds; round++) {
      for (const running of all) {
        const { requestsPerSecond, cpuUs } = await load(bench, running, options.seconds)
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

interface Loaded {
  readonly requestsPerSecond: number
  readonly cpuUs: number
}

/** wrk for so many seconds; throws where any request failed. */
export async function load(
  bench: Pick<Bench, 'cores'>,
  { child, url }: Pick<Running, 'child' | 'url'>,
  seconds: number,
  connections = CONNECTIONS,
): Promise<Loaded> {
  const headers = Object.entries(CALLER_HEADERS).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const before = child.cpuMs()
  const script = join(import.meta.dirname, 'load', 'wrk.lua')
  const output = await run(
    ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, ...headers, url + SMALL],
    { core: bench.cores.load },
  )
  const cpuMs = child.cpuMs() - before
  const counted = JSON.parse(/^\{.*\}$/m.exec(output)![0]) as Record<string, number>
  const { requests = 0, durationUs = 0, failed = 0 } = counted
  if (failed > 0 || requests === 0)
    throw new Error(`${failed} of ${requests} requests failed:\n${output}\n${child.output()}`)
  return { requestsPerSecond: (requests / durationUs) * 1e6, cpuUs: (cpuMs * 1000) / requests }
}

function add(bench: Bench, { id }: Pick<Contender, 'id'>, key: 'startMs' | 'idleMb', value: number): void {
  const measured = bench.results[id]!
  measured[key] ??= []
  measured[key].push(value)
}
