// Large bodies: MB/s, CPU and peak memory, each in a process that did nothing else before.
import { join } from 'node:path'
import { attempt, type Bench, launch, type Stage } from './bench.ts'
import { run } from './children.ts'
import { CALLER_HEADERS, type Contender } from './contenders.ts'
import type { TransferOrder, TransferReport } from './load/transfer.ts'
import { LARGE, UPLOAD } from './upstream.ts'

const MB = 2 ** 20

export interface TransferOptions {
  readonly direction: TransferOrder['direction']
  readonly bytes: number
  /** One after the other on one connection; 1 where left out. */
  readonly times?: number
  /** Of the download, if not that of the large file. */
  readonly path?: string
  readonly headers?: Record<string, string>
}

/** Moves bodies; throws where less of one arrived. */
export async function transfer(
  { cores }: Pick<Stage, 'cores'>,
  url: string,
  { direction, bytes, times = 1, ...options }: TransferOptions,
): Promise<TransferReport> {
  const port = Number(new URL(url).port)
  const path = options.path ?? (direction === 'download' ? LARGE : UPLOAD)
  const headers = options.headers ?? CALLER_HEADERS
  const order: TransferOrder = { port, path, headers, direction, bytes, times }
  const program = join(import.meta.dirname, 'load', 'transfer.ts')
  const output = await run([process.execPath, program, JSON.stringify(order)], { core: cores.load })
  const report = JSON.parse(output) as TransferReport
  if (report.failed !== '') throw new Error(`${direction} of ${bytes} bytes at ${url}: ${report.failed}`)
  return report
}

export async function measureTransfers(bench: Bench): Promise<void> {
  const { options, upstream, contenders, results, say } = bench
  for (let round = 1; round <= options.rounds; round++) {
    for (const contender of contenders) {
      if (contender.throughputOnly) continue
      for (const direction of ['download', 'upload'] as const) {
        const what = `${direction} ${round} ${contender.id}`
        const moved = await attempt(say, what, () => moveOne(bench, contender, direction))
        const measured = results[contender.id]!
        measured[direction] ??= { mbPerSecond: [], cpuMsPerGb: [], peakMb: [], grownMb: [] }
        const mb = upstream.largeBytes / MB
        measured[direction].mbPerSecond.push(moved ? (mb / moved.ms) * 1000 : null)
        measured[direction].cpuMsPerGb.push(moved ? (moved.cpuMs / mb) * 1024 : null)
        measured[direction].peakMb.push(moved?.peakMb ?? null)
        measured[direction].grownMb.push(moved?.grownMb ?? null)
        if (moved === undefined) continue
        say(`${what}: ${((mb / moved.ms) * 1000).toFixed(0)} MB/s, peak ${moved.peakMb.toFixed(0)} MB`)
      }
    }
  }
}

async function moveOne(
  bench: Bench,
  contender: Contender,
  direction: TransferOrder['direction'],
): Promise<{ ms: number; cpuMs: number; peakMb: number; grownMb: number }> {
  const { upstream } = bench
  const api = direction === 'download' ? upstream.plain : upstream.sink
  const { child, url } = await launch(bench, contender, api)
  try {
    const cpuMs = child.cpuMs()
    const rssMb = child.memoryMb('VmRSS')
    const { ms } = await transfer(bench, url, { direction, bytes: upstream.largeBytes })
    const peakMb = child.memoryMb('VmHWM')
    return { ms, cpuMs: child.cpuMs() - cpuMs, peakMb, grownMb: peakMb - rssMb }
  } finally {
    await child.stop()
  }
}
