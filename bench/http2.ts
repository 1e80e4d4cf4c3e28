// `http2`: HTTP/1.1 and HTTP/2 to the API over TLS on a line with latency, in undici by itself and in procore-proxy if it has a key for it.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { launch, load, type Running, type Stage } from './bench.ts'
import { type Child, freePort, run, start } from './children.ts'
import { ALL_ON, CALLER_HEADERS, launchProcoreProxy } from './contenders.ts'
import type { CallersOrder, CallersReport } from './load/undici-callers.ts'
import { root, versionIn } from './machine.ts'
import { get, waitForPort } from './requests.ts'
import type { Head, ProtocolRow, Protocols } from './result.ts'
import { SMALL } from './upstream.ts'

const CALLERS = 64
/** There and back. */
const LATENCY_MS = 50

interface Way {
  readonly title: string
  measure(seconds: number): Promise<CallersReport & { sockets: number }>
}

export async function http2(stage: Stage, head: Head): Promise<Protocols> {
  const { options, upstream, cores, say } = stage
  const [apiPort, linePort] = [await freePort(), await freePort()]
  const program = (name: string) => join(import.meta.dirname, 'load', name)
  const children: Child[] = [
    start([process.execPath, program('both-protocols.ts'), String(apiPort), upstream.folder], {
      core: cores.upstream,
    }),
    start([process.execPath, program('line.ts'), `${linePort}`, `${apiPort}`, `${LATENCY_MS / 2}`], {
      core: cores.upstream,
    }),
  ]
  await waitForPort(apiPort, children[0]!)
  await waitForPort(linePort, children[1]!)
  const origin = `https://127.0.0.1:${linePort}`

  const undici = (title: string, allowH2: boolean, connections: number): Way => ({
    title,
    measure: async (seconds) => {
      const { caFile } = upstream
      const order: CallersOrder = {
        origin,
        path: SMALL,
        caFile,
        allowH2,
        connections,
        callers: CALLERS,
        warmUpSeconds: options.quick ? 1 : 5,
        seconds,
      }
      const called = run([process.execPath, program('undici-callers.ts'), JSON.stringify(order)], {
        core: cores.contender,
      })
      let sockets = 0
      const watch = setInterval(() => {
        sockets = Math.max(sockets, socketsTo(linePort))
      }, 200)
      const report = JSON.parse(await called.finally(() => clearInterval(watch))) as CallersReport
      return { ...report, sockets }
    },
  })
  const proxy = (title: string, setting: Record<string, unknown>): Way => ({
    title,
    measure: async (seconds) => {
      const settings = { ...ALL_ON, upstream: { ...(ALL_ON['upstream'] as object), ...setting } }
      const contender: Running['contender'] = {
        id: 'procore-proxy',
        launch: (each) => launchProcoreProxy(each, settings),
      }
      const running = await launch(stage, contender, origin)
      const began = performance.now()
      await Promise.all(Array.from({ length: CALLERS }, () => get(running.url + SMALL, CALLER_HEADERS)))
      const coldMs = performance.now() - began
      await load(stage, running, { seconds: options.quick ? 1 : 10, connections: CALLERS })
      let sockets = 0
      setTimeout(() => {
        sockets = socketsTo(linePort)
      }, seconds * 500)
      const loaded = await load(stage, running, { seconds, connections: CALLERS })
      await running.child.stop()
      const { requestsPerSecond, cpuUs, p50Us, p99Us } = loaded
      return { requestsPerSecond, cpuUs, p50Ms: p50Us / 1000, p99Ms: p99Us / 1000, coldMs, sockets }
    },
  })
  const ways: Way[] = [
    undici('undici, HTTP/1.1, 64 sockets', false, 64),
    undici('undici, HTTP/1.1, 16 sockets', false, 16),
    undici('undici, HTTP/2, 1 socket', true, 1),
    undici('undici, HTTP/2, 4 sockets', true, 4),
    ...proxySettings().map(([title, setting]) => proxy(title, setting)),
  ]
  const rows: ProtocolRow[] = ways.map(({ title }) => ({
    title,
    requestsPerSecond: [],
    cpuUs: [],
    p50Ms: [],
    p99Ms: [],
    coldMs: [],
    sockets: [],
  }))
  for (let round = 1; round <= options.rounds; round++) {
    for (const [nth, { title, measure }] of ways.entries()) {
      const measured = await measure(Math.max(options.seconds, 2))
      const { title: _, ...series } = rows[nth]!
      for (const key of Object.keys(series) as (keyof typeof series)[]) series[key].push(measured[key])
      say(
        `${title}: ${measured.requestsPerSecond.toFixed(0)} requests/s, ${measured.cpuUs.toFixed(0)} µs CPU, p50 ${measured.p50Ms.toFixed(1)} ms, ${measured.sockets} sockets`,
      )
    }
  }
  for (const child of children) await child.stop()
  const version = versionIn(join(import.meta.dirname, 'node_modules', 'undici'))
  return { ...head, callers: CALLERS, latencyMs: LATENCY_MS, undici: version, rows }
}

/** Whatever the program's own schema lets `upstream.http2` be; HTTP/1.1 alone where there is no such key. */
function proxySettings(): [string, Record<string, unknown>][] {
  const main = join(root, 'dist', 'bin', 'procore-proxy.cjs')
  const schema = JSON.parse(execFileSync(process.execPath, [main, 'schema'], { encoding: 'utf8' })) as {
    properties: { upstream: { properties: Record<string, { enum?: unknown[]; type?: string }> } }
  }
  const key = schema.properties.upstream.properties['http2']
  if (key === undefined) return [['procore-proxy (HTTP/1.1)', {}]]
  const values = key.enum ?? [false, true]
  return values.map((value) => [`procore-proxy, http2: ${value}`, { http2: value }])
}

/** Established connections of this machine to a port of its own. */
function socketsTo(port: number): number {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , to, state]) => to?.endsWith(remote) && state === '01').length
}
