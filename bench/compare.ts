// `compare`: procore-proxy beside the plain alternatives, measured in one run.
import { type Bench, choose, type Stage } from './bench.ts'
import { measureExpiry } from './expiry.ts'
import { FIXED_RATE } from './latency.ts'
import type { Compared, Head } from './result.ts'
import { measureStart, measureThroughput } from './throughput.ts'
import { measureTransfers } from './transfer.ts'

export async function compare(stage: Stage, head: Head): Promise<Compared> {
  const { options, upstream, say } = stage
  const { contenders, skipped } = choose(options.only)
  for (const [id, why] of Object.entries(skipped)) say(`skipped: ${id} (${why})`)
  const direct: Bench['direct'] = {}
  const result: Compared = {
    ...head,
    seconds: options.seconds,
    rounds: options.rounds,
    skipped,
    contenders: Object.fromEntries(contenders.map(({ id, title }) => [id, { title }])),
    direct,
    fixedRate: FIXED_RATE,
    largeMb: upstream.largeBytes / 2 ** 20,
  }
  const bench: Bench = { ...stage, contenders, results: result.contenders, direct }
  await measureStart(bench, options.quick ? 2 : 5)
  await measureThroughput(bench)
  await measureTransfers(bench)
  if (contenders.some(({ id }) => id === 'procore-proxy')) result.expiry = await measureExpiry(stage)
  return result
}
