// Whether callers notice that tokens end: procore-proxy with tokens of seconds beside one with tokens of hours, at a fixed rate.
import { setTimeout as sleep } from 'node:timers/promises'
import { launch, type Stage, warmUp } from './bench.ts'
import { CONTENDERS } from './contenders.ts'
import { type Quantiles, quantiles, timeRequests } from './latency.ts'
import { LOGIN_MS, startLogin } from './login.ts'
import type { Expiry, Series } from './result.ts'

/** Requests a second to each of the two. */
const EXPIRY_RATE = 500
/** Renewed after three quarters of it. */
const TOKEN_SECONDS = 5
/** After a renewal what it left behind still counts as its doing. */
const AFTERWARDS_MS = 250

interface Times {
  readonly p50Us: Series
  readonly p99Us: Series
  readonly maxUs: Series
}

const times = (): Times => ({ p50Us: [], p99Us: [], maxUs: [] })

function add(to: Times, { p50Us, p99Us, maxUs }: Quantiles): void {
  to.p50Us.push(p50Us)
  to.p99Us.push(p99Us)
  to.maxUs.push(maxUs)
}

export async function measureExpiry(stage: Stage): Promise<Expiry> {
  const { options, say, upstream } = stage
  const contender = CONTENDERS[0]!
  const rounds = Math.min(options.rounds, 3)
  const seconds = options.quick ? 6 : 10
  const logins = { short: await startLogin(TOKEN_SECONDS), long: await startLogin(5400) }
  const expiry = {
    rate: EXPIRY_RATE,
    tokenSeconds: TOKEN_SECONDS,
    renewals: 0,
    short: { ...times(), cpuUs: [] as Series },
    long: { ...times(), cpuUs: [] as Series },
    near: times(),
    far: times(),
  }
  const running = {
    short: await launch(stage, contender, upstream.plain, { login: logins.short.url }),
    long: await launch(stage, contender, upstream.plain, { login: logins.long.url }),
  }
  for (const each of Object.values(running)) await warmUp(stage, each)
  await sleep(500)
  for (let round = 1; round <= rounds; round++) {
    const askedBefore = logins.short.asked.length
    const time = async (kind: 'short' | 'long') => {
      const { child, url } = running[kind]
      const cpuBefore = child.cpuMs()
      const report = await timeRequests(stage, url, { rate: EXPIRY_RATE, seconds, samples: true })
      expiry[kind].cpuUs.push(((child.cpuMs() - cpuBefore) * 1000) / report.us.length)
      add(expiry[kind], quantiles(report.us))
      return report
    }
    // Both at once: whatever else the machine does hits both alike.
    const [{ us, sentAt }] = await Promise.all([time('short'), time('long')])
    const renewals = logins.short.asked.slice(askedBefore)
    expiry.renewals += renewals.length
    const isNear = (at: number) =>
      renewals.some((renewal) => at >= renewal - 10 && at <= renewal + LOGIN_MS + AFTERWARDS_MS)
    add(expiry.near, quantiles(us.filter((_, nth) => isNear(sentAt[nth]!))))
    add(expiry.far, quantiles(us.filter((_, nth) => !isNear(sentAt[nth]!))))
    say(`expiry ${round}: ${renewals.length} renewals`)
  }
  for (const { child } of Object.values(running)) await child.stop()
  for (const login of Object.values(logins)) login.close()
  return expiry
}
