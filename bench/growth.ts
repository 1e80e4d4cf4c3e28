// `growth`: what a request costs and what memory it takes when there are more callers, companies, tokens or larger bodies.
import { FIRST_COMPANY, launch, load, type Running, type Stage, warmUp } from './bench.ts'
import { ALL_ON, CALLER_HEADERS, launchProcoreProxy, type Settings } from './contenders.ts'
import type { Grown, GrowthPoint, Head } from './result.ts'
import { transfer } from './transfer.ts'
import { BYTES } from './upstream.ts'

const AMOUNTS = [1, 10, 100, 1_000]
const BODIES = [0, 1, 2 ** 10, 64 * 2 ** 10, 2 ** 20, 64 * 2 ** 20, 2 ** 30]
/** Bytes to move for one figure, however many bodies that is. */
const ENOUGH_BYTES = 2 ** 30
const MOST_TIMES = 2_000

/** So many companies, with one account for all or one for each. */
function manyCompanies(count: number, ownAccounts: boolean): Settings {
  const account = (nth: number) => ({ clientId: `bench-${nth}`, clientSecret: 'bench-secret' })
  const companies = Array.from({ length: count }, (_, nth) => [
    `company-${nth}`,
    { id: String(FIRST_COMPANY + nth), serviceAccount: ownAccounts ? account(nth) : 'app' },
  ])
  return {
    ...ALL_ON,
    ...(!ownAccounts && { serviceAccounts: { app: account(0) } }),
    companies: Object.fromEntries(companies),
  }
}

function withSettings(settings: Settings): Running['contender'] {
  return { id: 'procore-proxy', launch: (setting) => launchProcoreProxy(setting, settings) }
}

const point = (amount: number): GrowthPoint => ({ amount, cpuUs: [], requestsPerSecond: [], rssMb: [] })

export async function growth(stage: Stage, head: Head): Promise<Grown> {
  const { options, upstream, say } = stage
  const rounds = Math.min(options.rounds, 2)
  const seconds = Math.min(options.seconds, 3)
  const result: Grown = {
    ...head,
    callers: AMOUNTS.map(point),
    companies: AMOUNTS.map(point),
    tokens: AMOUNTS.map(point),
    download: BODIES.map(point),
    upload: BODIES.map(point),
  }
  const note = (kind: string, { amount, cpuUs, rssMb }: GrowthPoint) =>
    say(`${kind} ${amount}: ${cpuUs.at(-1)?.toFixed(1)} µs CPU a request, ${rssMb.at(-1)?.toFixed(0)} MB`)

  for (let round = 0; round < rounds; round++) {
    const { child, url } = await launch(stage, withSettings(ALL_ON), upstream.plain)
    await warmUp(stage, { child, url })
    for (const each of result.callers) {
      const { cpuUs, requestsPerSecond } = await load(
        stage,
        { child, url },
        { seconds, connections: each.amount },
      )
      each.cpuUs.push(cpuUs)
      each.requestsPerSecond.push(requestsPerSecond)
      each.rssMb.push(child.memoryMb('VmRSS'))
      note('callers', each)
    }
    await child.stop()

    for (const kind of ['companies', 'tokens'] as const) {
      for (const each of result[kind]) {
        const headers = { ...CALLER_HEADERS, 'Procore-Company-Id': String(FIRST_COMPANY) }
        const settings = manyCompanies(each.amount, kind === 'tokens')
        const { child, url } = await launch(stage, withSettings(settings), upstream.plain, { headers })
        await warmUp(stage, { child, url }, each.amount)
        const loaded = await load(stage, { child, url }, { seconds, companies: each.amount })
        each.cpuUs.push(loaded.cpuUs)
        each.requestsPerSecond.push(loaded.requestsPerSecond)
        each.rssMb.push(child.memoryMb('VmRSS'))
        note(kind, each)
        await child.stop()
      }
    }

    for (const direction of ['download', 'upload'] as const) {
      const api = direction === 'download' ? upstream.plain : upstream.sink
      const { child, url } = await launch(stage, withSettings(ALL_ON), api)
      await warmUp(stage, { child, url })
      for (const each of result[direction]) {
        const bytes = each.amount
        if (direction === 'download') upstream.offer(bytes)
        const enough = Math.min(MOST_TIMES, Math.ceil(ENOUGH_BYTES / Math.max(bytes, 1)))
        const times = options.quick ? Math.ceil(enough / 4) : enough
        const before = child.cpuMs()
        const { ms } = await transfer(stage, url, { direction, bytes, times, path: pathOf(direction, bytes) })
        each.cpuUs.push(((child.cpuMs() - before) * 1000) / times)
        each.requestsPerSecond.push((times / ms) * 1000)
        each.rssMb.push(child.memoryMb('VmRSS'))
        note(direction, each)
      }
      await child.stop()
    }
  }
  return result
}

function pathOf(direction: 'download' | 'upload', bytes: number): string {
  return direction === 'download' ? BYTES + bytes : '/rest/v1.0/uploads'
}
