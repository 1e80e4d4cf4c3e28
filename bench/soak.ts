// `soak`: a fixed rate for a long time, with renewals, large bodies and callers that go away; what is left of it at the end.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { launch, load, type Running, type Stage } from './bench.ts'
import { ALL_ON, CALLER_HEADERS, launchProcoreProxy } from './contenders.ts'
import { quantiles, timeRequests } from './latency.ts'
import { startLogin } from './login.ts'
import type { Head, Held, Soaked } from './result.ts'
import { transfer } from './transfer.ts'
import { LARGE } from './upstream.ts'

const RATE = 300
const TOKEN_SECONDS = 20
const BODY_MB = 8
/** Between two samples; in each of these times bodies move and callers go away. */
const STEP_MS = 5_000
const LEAVERS_A_STEP = 5
/** Until idle connections to the upstream are closed: the proxy keeps them for 15 s. */
const SETTLE_MS = 20_000

export async function soak(stage: Stage, head: Head): Promise<Soaked> {
  const { options, upstream, say } = stage
  const { seconds } = options
  const login = await startLogin(TOKEN_SECONDS)
  const report = join(upstream.folder, 'handles.json')
  const contender: Running['contender'] = {
    id: 'procore-proxy',
    launch: (setting) => {
      const { command } = launchProcoreProxy(setting, ALL_ON)
      const [node = '', ...rest] = command
      const watch = join(import.meta.dirname, 'load', 'handles.mjs')
      return {
        command: [node, '--expose-gc', '--import', watch, ...rest],
        env: { BENCH_HANDLES: report },
      }
    },
  }
  const running = await launch(stage, contender, upstream.plain, { login: login.url })
  const { child, url } = running
  const held = async (): Promise<Held> => {
    rmSync(report, { force: true })
    process.kill(child.pid, 'SIGWINCH')
    while (!existsSync(report)) await sleep(20)
    const { handles, heapMb } = JSON.parse(readFileSync(report, 'utf8')) as Pick<Held, 'handles' | 'heapMb'>
    return { handles, heapMb, files: child.openFiles(), rssMb: child.memoryMb('VmRSS') }
  }
  await load(stage, running, { seconds: options.quick ? 2 : 10 })
  await move(stage, url)
  await leave(url)
  await sleep(SETTLE_MS)
  const begin = await held()
  const samples: Soaked['samples'] = []
  let transfers = 0
  let leavers = 0
  const timed = timeRequests(stage, url, { rate: RATE, seconds, tolerant: true })
  let over = false
  const ended = timed.finally(() => {
    over = true
  })
  // Awaited below; until then a failure must not count as nobody's.
  ended.catch(() => {})
  const began = performance.now()
  while (!over) {
    const second = Math.round((performance.now() - began) / 1000)
    samples.push({ second, rssMb: child.memoryMb('VmRSS'), files: child.openFiles() })
    say(`${second} s: ${samples.at(-1)?.rssMb.toFixed(1)} MB, ${samples.at(-1)?.files} files open`)
    const step = sleep(STEP_MS)
    await move(stage, url)
    transfers += 2
    for (let nth = 0; nth < LEAVERS_A_STEP; nth++) await leave(url)
    leavers += LEAVERS_A_STEP
    await Promise.race([step, ended.catch(() => {})])
  }
  const { us, failed } = await ended
  await sleep(SETTLE_MS)
  const end = await held()
  await child.stop()
  login.close()
  const { p50Us, p99Us } = quantiles(us)
  return {
    ...head,
    seconds,
    rate: RATE,
    requests: us.length,
    failed,
    renewals: login.asked.length - 1,
    transfers,
    bodyMb: BODY_MB,
    leavers,
    p50Us,
    p99Us,
    begin,
    end,
    samples,
  }
}

async function move(stage: Stage, url: string): Promise<void> {
  const bytes = BODY_MB * 2 ** 20
  stage.upstream.offer(bytes)
  await transfer(stage, url, { direction: 'download', bytes, path: `/rest/v1.0/bytes/${bytes}` })
  await transfer(stage, url, { direction: 'upload', bytes })
}

/** Asks for the large file and goes away with its first bytes. */
function leave(url: string): Promise<void> {
  const { port, host } = new URL(url)
  return new Promise((resolve, reject) => {
    const lines = Object.entries(CALLER_HEADERS).map(([name, value]) => `${name}: ${value}`)
    const socket = connect(Number(port), '127.0.0.1')
    socket.write(`GET ${LARGE} HTTP/1.1\r\nHost: ${host}\r\n${lines.join('\r\n')}\r\n\r\n`)
    socket.once('data', () => socket.destroy())
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
}
