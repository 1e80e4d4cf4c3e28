// `processes`: one process and two, each with callers of its own or behind one port, on all cores of the machine.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CONNECTIONS, type Loadable, launch, load, type Running, type Stage, warmUp } from './bench.ts'
import { type Child, freePort, start } from './children.ts'
import { ALL_ON, CALLER_HEADERS, launchProcoreProxy } from './contenders.ts'
import { find } from './machine.ts'
import { waitFor } from './requests.ts'
import type { Head, ProcessesRow, Several } from './result.ts'
import { SMALL } from './upstream.ts'

interface Arrangement {
  readonly title: string
  readonly proxies: readonly Running[]
  readonly front?: Child
  /** Where callers go; those of several addresses are shared out between them. */
  readonly urls: readonly string[]
}

const contender: Running['contender'] = {
  id: 'procore-proxy',
  launch: (setting) => launchProcoreProxy(setting, ALL_ON),
}

/** Listens with SO_REUSEPORT, which the program itself does not do. */
const reusing: Running['contender'] = {
  id: 'procore-proxy',
  launch: (setting) => {
    const [node = '', ...rest] = launchProcoreProxy(setting, ALL_ON).command
    return { command: [node, '--import', join(import.meta.dirname, 'load', 'reuse-port.mjs'), ...rest] }
  },
}

export async function processes(stage: Stage, head: Head): Promise<Several> {
  const { options, cores, upstream, say } = stage
  const core = cores.all
  const go = (port?: number) =>
    launch(stage, port === undefined ? contender : reusing, upstream.plain, {
      core,
      ...(port !== undefined && { port }),
    })
  const single = await go()
  const pair = [await go(), await go()]
  const port = await freePort()
  const sharing = [await go(port), await go(port)]
  // The second may not listen yet: its first answer may have been the other's.
  await sleep(2_000)
  const arrangements: Arrangement[] = [
    { title: 'one process', proxies: [single], urls: [single.url] },
    {
      title: 'two processes, each with callers of its own (a sidecar per app)',
      proxies: pair,
      urls: pair.map(({ url }) => url),
    },
    {
      title: 'two processes on one port (SO_REUSEPORT, by a patch)',
      proxies: sharing,
      urls: [sharing[0]!.url],
    },
  ]
  if (find('haproxy') === undefined) say('skipped: two processes behind HAProxy (apt-get install haproxy)')
  else {
    const { front, url } = await startFront(stage, pair)
    arrangements.push({ title: 'two processes behind HAProxy', proxies: pair, front, urls: [url] })
  }
  const rows: ProcessesRow[] = arrangements.map(({ title }) => ({
    title,
    requestsPerSecond: [],
    cpuUs: [],
    frontCpuUs: [],
    rssMb: [],
  }))
  // By their own addresses: those behind HAProxy are warm then too.
  for (const { proxies } of arrangements.slice(0, 3)) for (const each of proxies) await warmUp(stage, each)
  for (let round = 0; round < options.rounds; round++) {
    for (const [nth, each] of arrangements.entries()) {
      const measured = await loadAll(stage, each, options.seconds)
      const row = rows[nth]!
      row.requestsPerSecond.push(measured.requestsPerSecond)
      row.cpuUs.push(measured.cpuUs)
      row.frontCpuUs.push(measured.frontCpuUs)
      row.rssMb.push(measured.rssMb)
      say(
        `${each.title}: ${measured.requestsPerSecond.toFixed(0)} requests/s, ${measured.cpuUs.toFixed(1)} µs CPU a request`,
      )
    }
  }
  for (const { proxies, front } of arrangements) {
    for (const { child } of proxies) await child.stop()
    await front?.stop()
  }
  return { ...head, cores: `all on cores ${cores.all} but the upstream, on ${cores.upstream}`, rows }
}

async function loadAll(
  stage: Stage,
  { proxies, front, urls }: Arrangement,
  seconds: number,
): Promise<{ requestsPerSecond: number; cpuUs: number; frontCpuUs: number; rssMb: number }> {
  const all = [...proxies.map(({ child }) => child), ...(front ? [front] : [])]
  const cpu = () => proxies.reduce((total, { child }) => total + child.cpuMs(), 0)
  const [before, frontBefore] = [cpu(), front?.cpuMs() ?? 0]
  const loaded = await Promise.all(
    urls.map((url) => {
      const target: Loadable = { child: proxies[0]!.child, url }
      const connections = CONNECTIONS / urls.length
      return load(stage, target, { seconds, connections, core: stage.cores.all })
    }),
  )
  const requestsPerSecond = loaded.reduce((total, each) => total + each.requestsPerSecond, 0)
  const requests = requestsPerSecond * seconds
  return {
    requestsPerSecond,
    cpuUs: ((cpu() - before) * 1000) / requests,
    frontCpuUs: (((front?.cpuMs() ?? 0) - frontBefore) * 1000) / requests,
    rssMb: all.reduce((total, child) => total + child.memoryMb('VmRSS'), 0),
  }
}

async function startFront(
  { upstream, cores }: Stage,
  pair: readonly Running[],
): Promise<{ front: Child; url: string }> {
  const port = await freePort()
  const file = join(upstream.folder, 'front.cfg')
  const servers = pair.map(({ url }, nth) => `  server proxy${nth} ${new URL(url).host}`)
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend proxies
backend proxies
  balance leastconn
${servers.join('\n')}
`,
  )
  const front = start([find('haproxy')!, '-db', '-f', file], { core: cores.all })
  const url = `http://127.0.0.1:${port}`
  await waitFor(url + SMALL, front, CALLER_HEADERS)
  return { front, url }
}
