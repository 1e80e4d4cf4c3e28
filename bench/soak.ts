// `soak`: requests at a fixed rate for ten minutes, with large bodies and callers that leave; reports what stays at the end.
import { setTimeout as sleep } from 'node:timers/promises'
import { launchProgram } from './contenders.ts'
import { shown, table } from './figures.ts'
import { type Stage, say } from './stage.ts'

const RATE = 300
const BODY_BYTES = 8 * 2 ** 20
/** After this time idle connections to the API are closed. */
const SETTLE_MS = 20_000

export async function soak(stage: Stage): Promise<string> {
  const seconds = stage.quick ? 30 : 600
  const running = await stage.launch((setting) => launchProgram(setting), stage.plain)
  const { program } = running
  await stage.load(running, { seconds: stage.quick ? 2 : 10 })
  await sleep(SETTLE_MS)
  const state = () => [shown(program.memoryMb('VmRSS')), String(program.openFiles())]
  const before = state()
  const load = stage.load(running, { seconds, rate: RATE })
  let isOver = false
  const ended = load.finally(() => {
    isOver = true
  })
  let transfers = 0
  while (!isOver) {
    await stage.transfer(running, 'download', BODY_BYTES)
    await stage.transfer(running, 'upload', BODY_BYTES)
    await stage.transfer(running, 'download', BODY_BYTES, true)
    transfers += 3
    const [memory, files] = state()
    say(`${memory} MB, ${files} open files`)
    await Promise.race([sleep(stage.quick ? 1_000 : 5_000), ended])
  }
  const { requests, failed, p50Us, p99Us } = await ended
  await sleep(SETTLE_MS)
  const after = state()
  await program.stop()
  return [
    table([
      ['', 'memory, MB', 'open files'],
      ['before', ...before],
      ['after', ...after],
    ]),
    '',
    `${requests} requests at ${RATE} a second: ${failed} failed, p50 ${shown(p50Us)} µs, p99 ${shown(p99Us)} µs; ${transfers} transfers.`,
  ].join('\n')
}
