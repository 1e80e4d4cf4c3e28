// `wait`: returns when a proxy is ready; for start-up scripts and container health checks.
import { type Command, InvalidArgumentError } from 'commander'
import ms, { type StringValue } from 'ms'
import type { Flags } from '../config/overrides.ts'
import { errorCode } from '../network/connection-error.ts'
import { CommandError } from './exit.ts'
import { askLocal, localUrl } from './local-url.ts'

const INTERVAL_MS = 100
const UNTRIED = 'nothing was tried'

export function addWait(program: Command): void {
  program
    .command('wait')
    .description('return when a proxy is ready')
    .option(
      '--url <url>',
      'where the proxy listens: http://127.0.0.1:8377 or unix:/path (default: of the configuration)',
    )
    .option('-c, --config <file>', 'configuration file to take the address from')
    .option('--live', 'do not wait until it is ready, only until it answers at all: for liveness probes')
    .option('--timeout <duration>', 'give up after this time, e.g. 30s', duration, 30_000)
    .action((options: WaitOptions) => wait(options))
}

interface WaitOptions extends Flags {
  url?: string
  live?: boolean
  timeout: number
}

async function wait(options: WaitOptions): Promise<void> {
  const { setTimeout: sleep } = await import('node:timers/promises')
  const path = options.live === true ? '/_proxy/health/live' : '/_proxy/health/ready'
  const url = await localUrl(options.url, { config: options.config })
  const deadline = performance.now() + options.timeout
  let last = UNTRIED
  for (;;) {
    const left = deadline - performance.now()
    if (left <= 0) throw new CommandError(`no proxy is ready at ${url}: ${last}`)
    try {
      const { status } = await askLocal(url, path, left)
      if (status === 200) return
      last = 'it is up, but not ready'
    } catch (error) {
      const code = errorCode(error)
      if (code !== undefined) last = `it can't be reached (${code})`
      else if (last === UNTRIED) last = 'it does not answer'
    }
    await sleep(Math.min(INTERVAL_MS, Math.max(0, deadline - performance.now())))
  }
}

/** Milliseconds of `30s`, `500ms`, `2m`. */
function duration(text: string): number {
  const value = /^\d+(\.\d+)?(ms|s|m|h)$/.test(text) ? ms(text as StringValue) : undefined
  if (value === undefined) throw new InvalidArgumentError('Write a duration such as 30s or 500ms.')
  return value
}
