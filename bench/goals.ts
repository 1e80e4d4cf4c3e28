// The goals, and whether a result meets them; pure.
import type { Compared, Measured } from './result.ts'
import { difference, type Rounds, ratio, type Summary, summary } from './statistics.ts'

export interface Judged {
  readonly goal: string
  readonly limit: number
  readonly atLeast: boolean
  readonly unit: string
  readonly measured: Summary | undefined
  /** Undefined: not measured. */
  readonly met: boolean | undefined
}

interface Goal {
  readonly goal: string
  readonly limit: number
  /** What is measured must be no less than the limit; else no more. */
  readonly atLeast?: true
  readonly unit?: string
  measure(result: Compared): Summary | undefined
}

type Pick<T> = (measured: Measured) => T | undefined

function own<T>(result: Compared, pick: Pick<T>): T | undefined {
  return of(result, 'procore-proxy', pick)
}

function of<T>({ contenders }: Compared, id: string, pick: Pick<T>): T | undefined {
  const measured = contenders[id]
  return measured === undefined ? undefined : pick(measured)
}

function against(id: string, pick: Pick<Rounds>): Goal['measure'] {
  return (result) => ratio(own(result, pick), of(result, id, pick))
}

const plainCpu: Pick<Rounds> = ({ plain }) => plain?.cpuUs
const tlsCpu: Pick<Rounds> = ({ tls }) => tls?.cpuUs

/** What issue 7 asks for, all features on. */
export const GOALS: readonly Goal[] = [
  {
    goal: 'CPU a request, to @fastify/http-proxy (plain)',
    limit: 0.6,
    measure: against('fastify-http-proxy', plainCpu),
  },
  {
    goal: 'CPU a request, to @fastify/http-proxy (TLS)',
    limit: 0.6,
    measure: against('fastify-http-proxy', tlsCpu),
  },
  {
    goal: 'CPU a request, to http-proxy-middleware (plain)',
    limit: 0.5,
    measure: against('http-proxy-middleware', plainCpu),
  },
  {
    goal: 'CPU a request, to http-proxy-middleware (TLS)',
    limit: 0.5,
    measure: against('http-proxy-middleware', tlsCpu),
  },
  {
    goal: "CPU a request, to nginx's default proxy_pass (TLS)",
    limit: 0.8,
    measure: against('nginx-default', tlsCpu),
  },
  { goal: 'CPU a request, to Caddy (TLS)', limit: 1.2, measure: against('caddy', tlsCpu) },
  {
    goal: 'added p50 at one connection, to tuned nginx',
    limit: 1.5,
    measure: (result) => {
      const direct = result.direct?.single?.p50Us
      const added = (rounds: Rounds | undefined) => difference(rounds, direct)
      const p50: Pick<Rounds> = ({ single }) => single?.p50Us
      return ratio(added(own(result, p50)), added(of(result, 'nginx', p50)))
    },
  },
  {
    goal: 'MB/s of a large download, to Caddy',
    limit: 0.8,
    atLeast: true,
    measure: against('caddy', ({ download }) => download?.mbPerSecond),
  },
  {
    goal: 'MB/s of a large upload, to Caddy',
    limit: 0.8,
    atLeast: true,
    measure: against('caddy', ({ upload }) => upload?.mbPerSecond),
  },
  {
    goal: 'peak memory of a large download, to Caddy',
    limit: 1,
    measure: against('caddy', ({ download }) => download?.peakMb),
  },
  {
    goal: 'peak memory of a large upload, to Caddy',
    limit: 1,
    measure: against('caddy', ({ upload }) => upload?.peakMb),
  },
  {
    goal: 'CPU a request, features on to features off (plain)',
    limit: 1.25,
    measure: against('procore-proxy-off', plainCpu),
  },
  {
    goal: 'CPU a request, features on to features off (TLS)',
    limit: 1.25,
    measure: against('procore-proxy-off', tlsCpu),
  },
  // "Indistinguishable": within what two runs of the same differ by.
  {
    goal: 'p50 with tokens that end all the time, to long-lived ones',
    limit: 1.1,
    measure: ({ expiry }) => ratio(expiry?.short.p50Us, expiry?.long.p50Us),
  },
  {
    goal: 'p99 within 250 ms of a renewal, to the rest',
    limit: 1.25,
    measure: ({ expiry }) => ratio(expiry?.near.p99Us, expiry?.far.p99Us),
  },
  {
    goal: 'start to first proxied answer',
    limit: 300,
    unit: 'ms',
    measure: (result) => summary(own(result, ({ startMs }) => startMs)),
  },
  {
    goal: 'start to first proxied answer, to @fastify/http-proxy',
    limit: 0.5,
    measure: against('fastify-http-proxy', ({ startMs }) => startMs),
  },
  {
    goal: 'idle memory',
    limit: 60,
    unit: 'MB',
    measure: (result) => summary(own(result, ({ idleMb }) => idleMb)),
  },
]

/** Judged by the median, which is what the tables show first. */
export function judge(result: Compared, goals: readonly Goal[] = GOALS): Judged[] {
  return goals.map(({ goal, limit, atLeast = false, unit = '', measure }) => {
    const measured = measure(result)
    const met =
      measured === undefined ? undefined : atLeast ? measured.median >= limit : measured.median <= limit
    return { goal, limit, atLeast, unit, measured, met }
  })
}
