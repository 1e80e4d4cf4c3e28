// Large bodies: MB/s, CPU and peak memory, each in a process that did nothing else before.
import { join } from 'node:path'
import { run } from './children.ts'
import { type Bench, launch } from './compare.ts'
import { CALLER_HEADERS } from './contenders.ts'
import type { TransferOrder, TransferReport } from './load/transfer.ts'
import { LARGE, UPLOAD } from './upstream.ts'

const MB = 2 ** 20

/** Moves one body; throws where less of it arrived. */
export async function transfer(
  { cores }: Pick<Bench, 'cores'>,
  url: string,
  direction: TransferOrder['direction'],
  bytes: number,
): Promise<TransferReport> {
  const port = Number(new URL(url).port)
  const path = direction === 'download' ? LARGE : UPLOAD
  const order: TransferOrder = { port, path, headers: CALLER_HEADERS, direction, bytes }
  const program = join(import.meta.dirname, 'load', 'transfer.ts')
  const output = await run([process.execPath, program, JSON.stringify(order)], { core: cores.load })
  const report = JSON.parse(output) as TransferReport
  if (report.status !== 200 || report.bytes < bytes) {
    throw new Error(`${direction} at ${url}: status ${report.status}, ${report.bytes} of ${bytes} bytes`)
  }
  return report
}

export async function measureTransfers(bench: Bench): Promise<void> {
  const { options, upstream, contenders, results, say } = bench
  for (let round = 1; round <= options.rounds; round++) {
    for (const contender of contenders) {
      if (contender.throughputOnly) continue
      for (const direction of ['download', 'upload'] as const) {
        const { child, url } = await launch(
          bench,
          contender,
          direction === 'download' ? upstream.plain : upstream.sink,
        )
        const before = child.cpuMs()
        const { ms } = await transfer(bench, url, direction, upstream.largeBytes)
        const cpuMs = child.cpuMs() - before
        const peakMb = child.memoryMb('VmHWM')
        await child.stop()
        const measured = results[contender.id]!
        measured[direction] ??= { mbPerSecond: [], cpuMsPerGb: [], peakMb: [] }
        const mb = upstream.largeBytes / MB
        measured[direction].mbPerSecond.push((mb / ms) * 1000)
        measured[direction].cpuMsPerGb.push((cpuMs / mb) * 1024)
        measured[direction].peakMb.push(peakMb)
        say(
          `${direction} ${round} ${contender.id}: ${((mb / ms) * 1000).toFixed(0)} MB/s, peak ${peakMb.toFixed(0)} MB`,
        )
      }
    }
  }
}
