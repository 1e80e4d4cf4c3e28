// Shows how much of Procore's rate budget greedy callers get through the proxy: `npm run simulate`, an hour on a fake clock.
import { type Simulation, simulate } from '../test/fixtures/budget-simulation.ts'

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

/** What has to be reached; the rest is shown to know it. */
interface Goal {
  readonly used: number
  readonly seen: number
}
const goal: Goal = { used: 0.95, seen: 0 }

/** Long enough to know what does not have to be reached. */
const minutes = { seconds: 600, hourly: 1e9 }

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

const columns = [36, 9, 9, 8, 16, 21, 10] as const
const row = (...cells: string[]) =>
  console.log(
    cells.map((cell, at) => (at === 0 ? cell.padEnd(36) : cell.padStart(columns[at] ?? 10))).join(''),
  )

console.log(`${hours} h of 3,600 requests an hour and 25 in 10 s, unless it says otherwise\n`)
row('', 'carried', 'allowed', 'used', '429 by Procore', '429 seen by callers', '  goal')
let missed = 0
for (const [name, over, wanted] of runs) {
  const { sent, allowed, refused, seen } = await simulate({ ...usual, ...over })
  const reached = wanted === undefined || (sent / allowed >= wanted.used && seen <= wanted.seen)
  if (!reached) missed++
  const verdict = wanted === undefined ? '' : reached ? 'reached' : 'MISSED'
  const used = `${((100 * sent) / allowed).toFixed(1)} %`
  row(name, String(sent), String(allowed), used, String(refused), String(seen), verdict)
}
process.exitCode = missed === 0 ? 0 : 1
