// Where a proxy on this machine answers, and how to ask it.
import type { IncomingMessage } from 'node:http'
import { urlToHttpOptions } from 'node:url'
import type { Config } from '../config/config.ts'
import type { Flags } from '../config/overrides.ts'
import { readBounded } from '../network/bounded-body.ts'
import { readConfig } from './config-options.ts'
import { CommandError, EXIT } from './exit.ts'

/** `http://HOST:PORT` or `unix:/path`: of the flag, else of the configuration's first address, else the default. */
export async function localUrl(url: string | undefined, flags: Flags): Promise<string> {
  if (url !== undefined) return checkedUrl(url)
  const config = await readConfig(flags, { resolveSecrets: false })
  return addressUrl(config)
}

/** Nothing but a socket's path or an origin: whatever else was meant, asking there would only time out. */
function checkedUrl(url: string): string {
  if (/^unix:\/./.test(url)) return url
  const origin = /^https?:\/\//i.test(url) ? URL.parse(url)?.origin : undefined
  if (origin !== undefined && URL.parse(url)?.href === `${origin}/`) return origin
  throw new CommandError(`--url ${url}: write http://HOST:PORT or unix:/PATH`, EXIT.badConfig)
}

function addressUrl(config: Config): string {
  const [address] = config.listen
  if (address === undefined) return 'http://127.0.0.1:8377'
  if (address.kind === 'unix') return `unix:${address.path}`
  if (address.port === 0) {
    const message = 'the configuration takes any free port (port 0): name the one in use with --url'
    throw new CommandError(message, EXIT.badConfig)
  }
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host
  return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

const MOST_BYTES = 16 * 1024 * 1024

export interface LocalAnswer {
  readonly status: number
  readonly body: string
}

/** GETs a path of the proxy at `url`; throws where nobody answers within `timeoutMs`. */
export async function askLocal(
  url: string,
  path: string,
  timeoutMs: number,
  headers: Record<string, string> = {},
): Promise<LocalAnswer> {
  // Not by undici: probes run this every few seconds, and loading it takes longer than asking.
  const { request } = await import(url.startsWith('https:') ? 'node:https' : 'node:http')
  const place = url.startsWith('unix:') ? { socketPath: url.slice(5) } : urlToHttpOptions(new URL(url))
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs))
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ ...place, path, headers, agent: false, signal }, resolve)
        .on('error', reject)
        .end()
    })
    const body = await readBounded(answer, MOST_BYTES)
    if (body === undefined) throw new Error('it answers without end: that is no procore-proxy')
    return { status: answer.statusCode!, body: body.toString() }
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
}
