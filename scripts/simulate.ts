// Shows how much of Procore's rate budget greedy callers get through the proxy: `npm run simulate`, an hour on a fake clock.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectRedis, type RedisConnection } from '../src/shared/redis-link.ts'
import { type Outcome, type Simulation, simulate } from '../test/fixtures/budget-simulation.ts'

/** Hours of simulated time. */
const hours = Number(process.env['SIMULATE_HOURS'] ?? 1)

const usual: Simulation = {
  seconds: hours * 3600,
  hourly: 3600,
  spike: 25,
  greed: 50,
  latencyMs: 200,
  skewMs: 0,
}

/** What has to be reached: part of the allowed requests, 429s seen by callers, difference between proxies. */
interface Goal {
  readonly used: number
  readonly seen: number
  readonly spread?: number
}
const goal: Goal = { used: 0.95, seen: 0 }
const sharedGoal: Goal = { ...goal, spread: 0.1 }

/** Long enough where no goal has to be reached. */
const minutes = { seconds: 600, hourly: 1e8 }

const runs: [string, Partial<Simulation>, Goal?][] = [
  ['greedy: 50 requests always wanted', {}, goal],
  ['very greedy: 500', { greed: 500 }, goal],
  ['slow API: 3 s', { latencyMs: 3_000 }, goal],
  ['fast API: 5 ms', { latencyMs: 5 }, goal],
  ["Procore's clock 2 min ahead", { skewMs: 120_000 }, goal],
  ["Procore's clock 2 h behind", { skewMs: -7_200_000 }, goal],
  ['Reset rounded up', { reset: 'ceil' }, goal],
  ['windows by the clock', { reset: 'clock' }, goal],
  ['600 an hour', { hourly: 600 }, goal],
  ['two proxies, one budget', { proxies: 2 }, goal],
  ['ten seconds alone: no hourly limit', minutes],
  ['ten seconds alone, Reset rounded up', { ...minutes, reset: 'ceil' }],
  ['ten seconds alone, two proxies', { ...minutes, proxies: 2 }],
  ['no Date header, clocks agree', { ...minutes, without: 'date' }],
  ['no Date header, clock 2 min behind', { ...minutes, without: 'date', skewMs: -120_000 }],
  ['no Reset header', { ...minutes, without: 'x-rate-limit-reset' }],
  ['maxWait 60 s (the default)', { maxWaitMs: 60_000 }],
]

/** Eight replicas, 20 greedy callers each. */
const eight = { proxies: 8, greed: 20 }
const outage = { from: 300, seconds: 60 }
const sharedRuns: typeof runs = [
  ['8 replicas, shared', eight, sharedGoal],
  ['8 replicas, shared, Redis away a minute', { ...eight, outage }, sharedGoal],
  ['the same, ten seconds alone', { ...eight, ...minutes }, sharedGoal],
  ['ten seconds alone, Redis away a minute', { ...eight, ...minutes, outage }, sharedGoal],
]
const aloneRuns: typeof runs = [['8 replicas, not shared', eight]]

const columns = [42, 9, 9, 9, 9, 7, 9, 8, 9, 9] as const
const row = (...cells: string[]) =>
  console.log(
    cells.map((cell, at) => (at === 0 ? cell.padEnd(42) : cell.padStart(columns[at] ?? 9))).join(''),
  )
const percent = (part: number) => `${(100 * part).toFixed(1)} %`

let missed = 0
async function show([name, over, wanted]: (typeof runs)[number], redis?: RedisConnection): Promise<void> {
  const outcome = await simulate({ ...usual, ...over, ...(redis && { redis }) })
  const used = outcome.sent / outcome.allowed
  const spread = spreadOf(outcome)
  const isReached =
    wanted === undefined ||
    (used >= wanted.used && outcome.seen <= wanted.seen && spread <= (wanted.spread ?? 1))
  if (!isReached) missed++
  const verdict = wanted === undefined ? '' : isReached ? 'reached' : 'MISSED'
  const { sent, allowed, refused, seen, tokenRequests, scripts } = outcome
  const counts = [sent, allowed].map(String)
  const rest = [percent(used), String(refused), String(seen), percent(spread), String(tokenRequests)]
  row(name, ...counts, ...rest, String(scripts), verdict)
}

function spreadOf({ perProxy }: Outcome): number {
  const most = Math.max(...perProxy)
  return most === 0 ? 0 : (most - Math.min(...perProxy)) / most
}

/** A Redis of our own; undefined if redis-server is not installed. */
async function withRedis(run: (redis: RedisConnection | undefined) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-simulate-'))
  const port = String(20_000 + (process.pid % 10_000))
  const options = ['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--save', '']
  const server = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] })
  const isRunning = await started(server)
  const connection = isRunning
    ? await connectRedis({ url: `redis://127.0.0.1:${port}`, certificates: [], timeoutMs: 5_000 })
    : undefined
  try {
    await run(connection)
  } finally {
    connection?.destroy()
    server.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function started(server: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    server.on('error', () => resolve(false))
    server.on('exit', () => resolve(false))
    server.stdout?.on('data', (text: Buffer) => String(text).includes('Ready to accept') && resolve(true))
  })
}

console.log(
  `${hours} h of 3,600 requests an hour and 25 in 10 s, unless it says otherwise. 429s: Procore's, and those callers saw.\n`,
)
row('', 'carried', 'allowed', 'used', '429', 'seen', 'spread', 'tokens', 'scripts', 'goal')
for (const each of runs) await show(each)
for (const each of aloneRuns) await show(each)
await withRedis(async (redis) => {
  if (redis === undefined) console.log('Shared budgets were left out, because redis-server is not installed.')
  else for (const each of sharedRuns) await show(each, redis)
})
process.exitCode = missed === 0 ? 0 : 1
