// Builds the request that `explain` judges from its arguments, and finds the listener that would receive it.
import { METHODS } from 'node:http'
import { isIP } from 'node:net'
import { listenText, localHost } from '../config/addresses.ts'
import { BUILT_IN_ENVIRONMENTS, type Config, type ListenAddress } from '../config/config.ts'
import type { JudgedRequest } from '../server/judge.ts'
import type { Listener } from '../server/listeners.ts'
import { usageError } from './exit.ts'

/** A request that is judged and never sent. */
export interface ImaginedRequest {
  readonly raw: JudgedRequest & { readonly method: string }
  /** The raw target. */
  readonly target: string
  readonly listener: Listener
  /** What was assumed. */
  readonly notes: readonly string[]
}

/** Builds the request. The target stays byte for byte as written; a URL parser would normalize it. */
export function imagineRequest(
  config: Config,
  { method, url, headerLines }: { method: string; url: string; headerLines: readonly string[] },
): ImaginedRequest {
  const verb = method.toUpperCase()
  if (!METHODS.includes(verb)) throw usageError(`${method} is not an HTTP method`)
  const headers = headerLines.flatMap(readHeader)
  const place = placeOf(config, url)
  const list = readList(place.target)
  const ip = place.host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  const hasHost = headers.some((each, index) => index % 2 === 0 && each.toLowerCase() === 'host')
  return {
    raw: {
      method: verb,
      httpVersion: '1.1',
      rawHeaders: hasHost ? headers : ['Host', place.host, ...headers],
      socket: { localAddress: isIP(ip) === 0 ? undefined : ip },
    },
    target: list.target,
    listener: place.listener,
    notes: [...place.notes, ...list.notes],
  }
}

type Place = Pick<ImaginedRequest, 'target' | 'listener' | 'notes'> & { readonly host: string }

/** A path and an address of the API are judged as if they were sent to the first address. */
function placeOf(config: Config, url: string): Place {
  const listeners = listenersOf(config)
  const first = listeners[0]!
  const host = authorityOf(first.address)
  if (url.startsWith('/')) return { host, target: url, listener: first, notes: [] }
  const [, scheme = '', authority = '', rest = ''] = /^(https?):\/\/([^/?#]+)([^#]*)/i.exec(url) ?? []
  const target = rest.startsWith('/') ? rest : `/${rest}`
  const origin = `${scheme}://${authority}`.toLowerCase()
  if (apiOrigins(config).includes(origin)) {
    const note = `${origin} is the API itself: judged as if sent to http://${host} instead, with the company that path, query and headers name`
    return { host, target, listener: first, notes: [note] }
  }
  if (scheme.toLowerCase() !== 'http') {
    throw usageError(
      `${url} is neither a path such as /rest/v1.0/me, nor an http:// address of the proxy, nor an address of Procore's API`,
    )
  }
  return onListener(listeners, authority.replace(/^.*@/, ''), target)
}

function onListener(listeners: readonly Listener[], host: string, target: string): Place {
  const port = Number(/:(\d+)$/.exec(host)?.[1] ?? 80)
  const found = listeners.find(({ address }) => address.kind === 'tcp' && address.port === port)
  const listener = found ?? listeners[0]!
  const anyPort = listeners.some(({ address }) => address.kind === 'tcp' && address.port === 0)
  const note = `nothing listens on port ${port}; judged as if sent to ${authorityOf(listener.address)}`
  return { host, target, listener, notes: found !== undefined || anyPort ? [] : [note] }
}

function apiOrigins({ accounts, companies }: Config): string[] {
  const used = [...accounts, ...companies.map(({ account }) => account)].map(({ environment }) => environment)
  return [...BUILT_IN_ENVIRONMENTS, ...used].map(({ apiUrl }) => apiUrl)
}

/** A whole list (docs/lists.md) is judged page by page, as a request for the list itself. */
function readList(target: string): { target: string; notes: string[] } {
  const [, prefix = '', format = '', path, query = ''] =
    /^(\/[^/?]+)?\/_proxy\/(csv|ndjson|json)(\/[^?]*)(?:\?(.*))?$/.exec(target) ?? []
  if (path === undefined) return { target, notes: [] }
  const parameters = query.split('&').filter((each) => each !== '' && !each.startsWith('_'))
  const notes = [
    `the proxy asks for the pages of this list one after another and answers with ${format.toUpperCase()}`,
  ]
  if (target.includes('*', prefix.length)) {
    notes.push('* stands for each project of the company, one after another')
  }
  return { target: prefix + path + (parameters.length > 0 ? `?${parameters.join('&')}` : ''), notes }
}

function readHeader(line: string): [string, string] {
  const [, name, value = ''] = /^([^:]+):(.*)$/s.exec(line) ?? []
  if (name === undefined) throw usageError(`${JSON.stringify(line)} is not a header; write 'Name: value'`)
  return [name, value.trim()]
}

function listenersOf({ listen, companies }: Config): Listener[] {
  const own = companies.flatMap(({ name, listen }) => (listen ? [{ address: listen, company: name }] : []))
  return [...listen.map((address) => ({ address, company: undefined })), ...own]
}

/** What a caller of this address sends as Host. */
function authorityOf(address: ListenAddress): string {
  if (address.kind === 'unix') return 'localhost'
  return listenText({ ...address, host: localHost(address.host) }).replace(/:0$/, '')
}
