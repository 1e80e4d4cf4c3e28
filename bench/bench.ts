// What every command of the benchmark works with: an upstream, contenders in front of it, and wrk.
import { join } from 'node:path'
import { type Child, freePort, run, start } from './children.ts'
import { CALLER_HEADERS, CONTENDERS, type Contender, folderFor } from './contenders.ts'
import type { Cores } from './cores.ts'
import type { Options } from './options.ts'
import { waitFor } from './requests.ts'
import { type Latency, type Measured, WARM_REQUESTS } from './result.ts'
import { SMALL, type Upstream } from './upstream.ts'

/** Concurrent connections for throughput. */
export const CONNECTIONS = 32

/** What programs are started in. */
export interface Stage {
  readonly options: Pick<Options, 'only' | 'rounds' | 'quick'> & { readonly seconds: number }
  readonly cores: Cores
  readonly upstream: Upstream
  say(text: string): void
}

/** What `compare` measures, and where it puts the results. */
export interface Bench extends Stage {
  readonly contenders: readonly Contender[]
  readonly results: Record<string, Measured>
  /** Without any proxy. */
  readonly direct: { single?: Latency; fixed?: Latency }
}

export interface Running {
  readonly contender: Pick<Contender, 'id' | 'launch' | 'throughputOnly' | 'warmsUp'>
  readonly child: Child
  readonly url: string
  /** From the start of its process to its first proxied answer, ms. */
  readonly startMs: number
}

export interface LaunchOptions {
  /** Origin of the login server, if not the upstream's. */
  readonly login?: string
  /** Cores as taskset wants them, if not the contender's own. */
  readonly core?: number | string
  readonly port?: number
  readonly env?: Record<string, string>
  /** Of the first request. */
  readonly headers?: Record<string, string>
}

let started = 0

/** Starts a contender in front of `api` and waits for its first answer. */
export async function launch(
  { upstream, cores }: Pick<Stage, 'upstream' | 'cores'>,
  contender: Running['contender'],
  api: string,
  options: LaunchOptions = {},
): Promise<Running> {
  const port = options.port ?? (await freePort())
  const folder = folderFor(upstream.folder, `contender-${++started}`)
  const login = options.login ?? upstream.login
  const { command, env } = contender.launch({ port, api, login, caFile: upstream.caFile, folder })
  const began = performance.now()
  const child = start(command, {
    core: options.core ?? cores.contender,
    env: { ...env, ...options.env },
    cwd: folder,
  })
  const url = `http://127.0.0.1:${port}`
  try {
    await waitFor(url + SMALL, child, options.headers ?? CALLER_HEADERS)
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

/** One figure that can't be had must not cost all the others: undefined, and a word on why. */
export async function attempt<T>(
  say: Stage['say'],
  what: string,
  measure: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await measure()
  } catch (error) {
    say(`FAILED: ${what}: ${(error as Error).message}`)
    return undefined
  }
}

const LONGEST_WARM_UP_S = 14

/**
 * By requests, not by time: on a busy machine compilers see fewer of them in the same time, and the figures would be those
 * of cold code. Gives how many there were, which is less where they took too long.
 */
export async function warmUp(
  stage: Pick<Stage, 'cores' | 'options'>,
  target: Loadable,
  companies = 0,
): Promise<number> {
  if (stage.options.quick) return (await load(stage, target, { seconds: 2, companies })).requests
  let requests = 0
  for (let passed = 0; requests < WARM_REQUESTS && passed < LONGEST_WARM_UP_S; passed += 2) {
    requests += (await load(stage, target, { seconds: 2, companies })).requests
  }
  return requests
}

export interface LoadOptions {
  readonly seconds: number
  readonly connections?: number
  readonly core?: number | string
  /** Companies that callers take turns with, by ids from {@link FIRST_COMPANY} on; one where left out. */
  readonly companies?: number
}

/** Id of the first of many companies; the others follow it. */
export const FIRST_COMPANY = 700_000

/** One process or several, as far as load is concerned. */
export interface Loadable {
  readonly child: Pick<Child, 'cpuMs' | 'output'>
  readonly url: string
}

export interface Loaded {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly cpuUs: number
  readonly p50Us: number
  readonly p99Us: number
}

/** wrk for so many seconds; throws where any request failed. */
export async function load(
  { cores }: Pick<Stage, 'cores'>,
  { child, url }: Loadable,
  { seconds, connections = CONNECTIONS, core = cores.load, companies = 0 }: LoadOptions,
): Promise<Loaded> {
  const headers = Object.entries(CALLER_HEADERS).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const script = join(import.meta.dirname, 'load', companies > 0 ? 'companies.lua' : 'wrk.lua')
  const before = child.cpuMs()
  const output = await run(
    [
      'wrk',
      '-t1',
      `-c${connections}`,
      `-d${seconds}s`,
      '--timeout',
      '20s',
      '-s',
      script,
      ...headers,
      url + SMALL,
    ],
    { core, env: { BENCH_COMPANIES: String(companies), BENCH_FIRST: String(FIRST_COMPANY) } },
  )
  const cpuMs = child.cpuMs() - before
  const counted = JSON.parse(/^\{.*\}$/m.exec(output)![0]) as Record<string, number>
  const { requests = 0, durationUs = 0, failed = 0, p50Us = 0, p99Us = 0 } = counted
  if (failed > 0 || requests === 0) {
    throw new Error(`${failed} of ${requests} requests failed:\n${output}\n${child.output()}`)
  }
  return {
    requests,
    requestsPerSecond: (requests / durationUs) * 1e6,
    cpuUs: (cpuMs * 1000) / requests,
    p50Us,
    p99Us,
  }
}
