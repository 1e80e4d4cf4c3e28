// The words of `explain` → the request that a caller would send, and the listener that would take it.
import { METHODS } from 'node:http'
import { isIP } from 'node:net'
import type { Config, ListenAddress } from '../config/config.ts'
import type { JudgedRequest } from '../server/judge.ts'
import type { Listener } from '../server/listeners.ts'
import { CommandError, EXIT } from './exit.ts'

/** A request that nobody sent. */
export interface ImaginedRequest {
  readonly raw: JudgedRequest & { readonly method: string }
  /** The raw target. */
  readonly target: string
  readonly listener: Listener
  /** What had to be assumed. */
  readonly notes: readonly string[]
}

/** The bytes of the target stay as they are written: no URL parser may tidy them up before they are judged. */
export function imagineRequest(
  config: Config,
  method: string,
  url: string,
  headerLines: readonly string[],
): ImaginedRequest {
  const verb = method.toUpperCase()
  if (!METHODS.includes(verb)) throw usage(`${method} is no HTTP method`)
  const { authority, target } = split(url)
  const headers = headerLines.flatMap(readHeader)
  const listeners = listenersOf(config)
  const host = authority ?? authorityOf(listeners[0]?.address)
  const [, name = '', digits = '80'] = /^(.*?)(?::(\d+))?$/s.exec(host)!
  const found = listeners.find(({ address }) => address.kind === 'tcp' && address.port === Number(digits))
  const listener = (authority === undefined ? undefined : found) ?? listeners[0]!
  const isFree = listeners.some(({ address }) => address.kind === 'tcp' && address.port === 0)
  const notes =
    authority === undefined || found !== undefined || isFree
      ? []
      : [`nothing listens on port ${digits}; judged as if sent to ${authorityOf(listener.address)}`]
  const ip = name.replace(/^\[|\]$/g, '')
  const hasHost = headers.some((each, index) => index % 2 === 0 && each.toLowerCase() === 'host')
  return {
    raw: {
      method: verb,
      httpVersion: '1.1',
      rawHeaders: hasHost ? headers : ['Host', host, ...headers],
      socket: { localAddress: isIP(ip) === 0 ? undefined : ip },
    },
    target,
    listener,
    notes,
  }
}

function split(url: string): { authority: string | undefined; target: string } {
  if (url.startsWith('/')) return { authority: undefined, target: url }
  const [, authority, rest = ''] = /^http:\/\/([^/?#]+)([^#]*)/i.exec(url) ?? []
  if (authority === undefined) {
    throw usage(`${url} is neither a path such as /rest/v1.0/me nor a URL that starts with http://`)
  }
  return { authority: authority.replace(/^.*@/, ''), target: rest.startsWith('/') ? rest : `/${rest}` }
}

function readHeader(line: string): [string, string] {
  const [, name, value = ''] = /^([^:]+):(.*)$/s.exec(line) ?? []
  if (name === undefined) throw usage(`${JSON.stringify(line)} is no header; write 'Name: value'`)
  return [name, value.trim()]
}

function listenersOf(config: Config): Listener[] {
  const own = config.companies.flatMap(({ name, listen }) =>
    listen === undefined ? [] : [{ address: listen, company: name }],
  )
  return [...config.listen.map((address) => ({ address, company: undefined })), ...own]
}

/** What a caller of this address sends as Host. */
function authorityOf(address: ListenAddress | undefined): string {
  if (address === undefined || address.kind === 'unix') return 'localhost'
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host
  const name = host.includes(':') ? `[${host}]` : host
  return address.port === 0 ? name : `${name}:${address.port}`
}

function usage(message: string): CommandError {
  return new CommandError(message, EXIT.badConfig)
}
