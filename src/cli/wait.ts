// The command `wait`, and how a proxy on this machine is found, asked, and told from other servers.
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { urlToHttpOptions } from 'node:url'
import { listenText, localHost } from '../config/addresses.ts'
import { errorCode } from '../network/connection-error.ts'
import { readBounded } from '../network/response.ts'
import type { Options } from './commands.ts'
import { readConfig } from './config.ts'
import { CommandError, usageError } from './exit.ts'

const INTERVAL_MS = 100
const MOST_BYTES = 16 * 1024 * 1024

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
    if (health === 'up') return
    // The last attempt may only have timed out. The reason before it says more.
    if (health === 'down') last = 'it is up, but not ready'
    else if (performance.now() < deadline || last === undefined) last = health.found
    await sleep(Math.min(INTERVAL_MS, Math.max(0, deadline - performance.now())))
  }
}

/** `http://HOST:PORT` or `unix:/path`: from the flag, else the configuration's first address without port 0. */
export async function localUrl({ url, config: file }: Options): Promise<string> {
  if (url !== undefined) return checkedUrl(url)
  const { listen } = await readConfig({ config: file }, { resolveSecrets: false })
  const address = listen.find((each) => each.kind === 'unix' || each.port !== 0)
  if (address === undefined)
    throw usageError('the configuration takes any free port (port 0): name the one in use with --url')
  if (address.kind === 'unix') return listenText(address)
  return `http://${listenText({ ...address, host: localHost(address.host) })}`
}

function checkedUrl(url: string): string {
  if (/^unix:\/./.test(url)) return url
  const parsed = URL.parse(url)
  if (/^https?:\/\//i.test(url) && parsed?.href === `${parsed?.origin}/`) return parsed.origin
  throw usageError(`--url ${url}: write http://HOST:PORT or unix:/PATH`)
}

/** GETs a path of the server at `url`; throws if it does not respond within `timeoutMs`. */
export async function askLocal(
  url: string,
  { path, timeoutMs, headers = {} }: { path: string; timeoutMs: number; headers?: Record<string, string> },
) {
  // Health checks run this every few seconds, and loading undici takes longer than the request.
  const { request } = await import(url.startsWith('https:') ? 'node:https' : 'node:http')
  const place = url.startsWith('unix:') ? { socketPath: url.slice(5) } : urlToHttpOptions(new URL(url))
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs))
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ ...place, path, headers, agent: false, signal }, resolve)
        .on('error', reject)
        .end()
    })
    const body = await readBounded(response, MOST_BYTES)
    if (body === undefined) throw new Error('the response does not end')
    return { status: response.statusCode!, headers: response.headers, body: body.toString() }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
}

/**
 * Asks a health address without any key. A proxy is known by its exact answer; nothing secret goes to anything else.
 * If another server answers or none does, `found` completes "at URL: …".
 */
export async function askHealth(
  url: string,
  check: 'live' | 'ready',
  timeoutMs: number,
): Promise<'up' | 'down' | { readonly found: string }> {
  try {
    const { status, body, headers } = await askLocal(url, { path: `/_proxy/health/${check}`, timeoutMs })
    if (headers['cache-control'] === 'no-store') {
      if (status === 200 && body === 'up\n') return 'up'
      if (status === 503 && body === 'down\n') return 'down'
    }
    const name = headers['server']?.slice(0, 60)
    const answer = `HTTP ${status}${name ? `, ${name}` : ''}`
    return { found: `another server answers there (${answer}), not procore-proxy` }
  } catch (error) {
    return { found: whyNot(error) }
  }
}

/** Why {@link askLocal} failed. */
export function whyNot(error: unknown): string {
  const code = errorCode(error)
  if (code === undefined) return 'it does not answer in time'
  return code.startsWith('HPE_') ? 'what answers there does not speak HTTP' : `it cannot be reached (${code})`
}
