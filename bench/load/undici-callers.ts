// So many callers of one undici Pool, each with one request after the other: what a protocol costs without any proxy.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { percentile } from '../statistics.ts'

/** What this program is told, as JSON in its one argument. */
export interface CallersOrder {
  readonly origin: string
  readonly path: string
  readonly caFile: string
  readonly allowH2: boolean
  readonly connections: number
  readonly callers: number
  readonly warmUpSeconds: number
  readonly seconds: number
}

/** What it prints. */
export interface CallersReport {
  readonly requestsPerSecond: number
  readonly cpuUs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly coldMs: number
}

const order = JSON.parse(process.argv[2] ?? '{}') as CallersOrder
const { origin, path, allowH2, connections, callers, seconds } = order
const pool = new Pool(origin, {
  allowH2,
  connections,
  // Of streams on one connection; HTTP/1.1 is never pipelined here.
  ...(allowH2 && { pipelining: callers }),
  connect: { ca: readFileSync(order.caFile) },
})

async function call(): Promise<number> {
  const began = performance.now()
  const { statusCode, body } = await pool.request({ path, method: 'GET' })
  await body.dump()
  if (statusCode !== 200) throw new Error(`status ${statusCode}`)
  return performance.now() - began
}

const cold = await Promise.all(Array.from({ length: callers }, call))
const times: number[] = []
let counts = false
let over = false
const load = Array.from({ length: callers }, async () => {
  while (!over) {
    const ms = await call()
    if (counts) times.push(ms)
  }
})
await sleep(order.warmUpSeconds * 1000)
counts = true
const began = performance.now()
const cpu = process.cpuUsage()
await sleep(seconds * 1000)
counts = false
const { user, system } = process.cpuUsage(cpu)
const elapsed = performance.now() - began
over = true
await Promise.all(load)
const sorted = times.sort((a, b) => a - b)
const report: CallersReport = {
  requestsPerSecond: (times.length / elapsed) * 1000,
  cpuUs: (user + system) / times.length,
  p50Ms: percentile(sorted, 0.5),
  p99Ms: percentile(sorted, 0.99),
  coldMs: Math.max(...cold),
}
process.stdout.write(JSON.stringify(report), () => process.exit(0))
