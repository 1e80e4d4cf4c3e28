// The command `wait`: returns when a proxy is ready; for start-up scripts and container health checks.
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError } from './exit.ts'
import { askHealth, localUrl } from './local.ts'
import type { Options } from './options.ts'

const INTERVAL_MS = 100

export async function wait(options: Options): Promise<void> {
  const { timeout = 0, live } = options
  const url = await localUrl(options)
  const deadline = performance.now() + timeout
  let last: string | undefined
  for (;;) {
    const leftMs = deadline - performance.now()
    if (leftMs <= 0)
      throw new CommandError(`no proxy is ready at ${url}: ${last ?? 'there was no time to ask'}`)
    const health = await askHealth(url, live ? 'live' : 'ready', leftMs)
    if (health.kind === 'up') return
    // The last attempt may only have timed out. The reason before it says more.
    if (health.kind === 'down') last = 'it is up, but not ready'
    else if (performance.now() < deadline || last === undefined) last = health.found
    await sleep(Math.min(INTERVAL_MS, Math.max(0, deadline - performance.now())))
  }
}
