// Whether callers notice that tokens end: procore-proxy with tokens of seconds beside one with tokens of hours, at a fixed rate.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, launch, load } from './compare.ts'
import { CONTENDERS } from './contenders.ts'
import { FIXED_RATE, type Quantiles, quantiles, timeRequests } from './latency.ts'
import type { Expiry, Series } from './result.ts'

/** Renewed after three quarters of it. */
const TOKEN_SECONDS = 5
/** Of the login server, as Procore's takes them. */
const LOGIN_MS = 200
/** After a renewal what it left behind still counts as its doing. */
const AFTERWARDS_MS = 250

interface Login {
  readonly url: string
  /** When each token was asked for, ms of the wall clock. */
  readonly asked: number[]
  close(): void
}

async function startLogin(expiresIn: number): Promise<Login> {
  const asked: number[] = []
  const server = createServer((request, response) => {
    asked.push(Date.now())
    request.resume()
    const token = { access_token: `bench-${asked.length}`, token_type: 'Bearer', expires_in: expiresIn }
    setTimeout(() => {
      response.writeHead(200, { 'Content-Type': 'application/json' })
      response.end(JSON.stringify(token))
    }, LOGIN_MS)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, asked, close: () => void server.close() }
}

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

export async function measureExpiry(bench: Bench): Promise<Expiry> {
  const { options, say, upstream } = bench
  const contender = CONTENDERS[0]!
  const rounds = Math.min(options.rounds, 3)
  const seconds = options.quick ? 6 : 8
  const logins = { short: await startLogin(TOKEN_SECONDS), long: await startLogin(5400) }
  const expiry = {
    tokenSeconds: TOKEN_SECONDS,
    renewals: 0,
    short: { ...times(), cpuUs: [] as Series },
    long: { ...times(), cpuUs: [] as Series },
    near: times(),
    far: times(),
  }
  const running = {
    short: await launch(bench, contender, upstream.plain, logins.short.url),
    long: await launch(bench, contender, upstream.plain, logins.long.url),
  }
  for (const each of Object.values(running)) await load(bench, each, options.quick ? 1 : 3)
  await sleep(500)
  for (let round = 1; round <= rounds; round++) {
    for (const kind of ['short', 'long'] as const) {
      const { child, url } = running[kind]
      const { asked } = logins[kind]
      const askedBefore = asked.length
      const cpuBefore = child.cpuMs()
      const { us, sentAt } = await timeRequests(bench, url, { rate: FIXED_RATE, seconds, samples: true })
      expiry[kind].cpuUs.push(((child.cpuMs() - cpuBefore) * 1000) / us.length)
      add(expiry[kind], quantiles(us))
      if (kind === 'long') continue
      const renewals = asked.slice(askedBefore)
      expiry.renewals += renewals.length
      const isNear = (at: number) =>
        renewals.some((renewal) => at >= renewal - 10 && at <= renewal + LOGIN_MS + AFTERWARDS_MS)
      add(expiry.near, quantiles(us.filter((_, nth) => isNear(sentAt[nth]!))))
      add(expiry.far, quantiles(us.filter((_, nth) => !isNear(sentAt[nth]!))))
      say(`expiry ${round}: ${renewals.length} renewals`)
    }
  }
  for (const { child } of Object.values(running)) await child.stop()
  for (const login of Object.values(logins)) login.close()
  return expiry
}
