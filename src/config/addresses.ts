// Addresses in the configuration: where to listen, which origins and which host names.
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import type { ListenAddress } from './config.ts'
import { isMistake, type Mistake, quoted } from './problems.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/

/** The longest path that fits a unix socket's address on every platform (macOS: 104 bytes with the final NUL). */
const MAX_SOCKET_PATH_BYTES = 103

/** Whether text is an IPv6 address, without brackets. */
export function isIPv6Address(text: string): boolean {
  // Node takes a while to prepare its pattern; most configurations never need it.
  return text.indexOf(':') !== text.lastIndexOf(':') && isIPv6(text)
}

/** Whether only programs on this machine can reach the host: `localhost`, 127.0.0.0/8, `::1` (brackets allowed). */
export function isLoopbackHost(host: string): boolean {
  const bare = withoutBrackets(host)
  if (bare === 'localhost') return true
  if (isIPv4(bare)) return loopback.check(bare, 'ipv4')
  return isIPv6Address(bare) && loopback.check(bare, 'ipv6')
}

/** Whether the host stands for all addresses of this machine: `0.0.0.0` or `::` (brackets allowed). */
export function isWildcardAddress(host: string): boolean {
  return host === '0.0.0.0' || withoutBrackets(host) === '::'
}

/** The host with which programs on this machine reach a listen address. Wildcards become the loopback address. */
export function localHost(host: string): string {
  if (!isWildcardAddress(host)) return host
  return host === '0.0.0.0' ? '127.0.0.1' : '::1'
}

const withoutBrackets = (host: string) => host.replace(/^\[|\]$/g, '')

/** A listen address as the configuration writes it. */
export function listenText(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** Whether a connection to an http(s) origin would obviously arrive at a listen address. */
export function leadsTo(origin: string, address: ListenAddress): boolean {
  if (address.kind === 'unix' || address.port === 0) return false
  const { hostname, port, protocol } = new URL(origin)
  if (Number(port || (protocol === 'https:' ? 443 : 80)) !== address.port) return false
  const host = withoutBrackets(hostname)
  if (host === address.host) return true
  if (isWildcardAddress(address.host) || isWildcardAddress(host))
    return [host, address.host].every((one) => isLoopbackHost(one) || isWildcardAddress(one))
  const isDefaultLoopback = (one: string) => ['localhost', '127.0.0.1', '::1'].includes(one)
  return [host, address.host].includes('localhost') && [host, address.host].every(isDefaultLoopback)
}

/** Whether it is an IPv4 address or a host name, in lower case. */
const isPlainHost = (host: string) => isIPv4(host) || (HOST_NAME.test(host) && !/^[\d.]+$/.test(host))

/** Normalizes an IPv6 address, so that equal addresses have equal text. A zone (`%eth0`) is kept. */
function canonicalIPv6(host: string): string {
  const [address = '', zone] = host.split('%')
  const canonical = withoutBrackets(new URL(`http://[${address}]`).hostname)
  return zone === undefined ? canonical : `${canonical}%${zone}`
}

const bad = (message: string, fix: string): Mistake => ({ message, fix })

/** Checks the path of a unix socket. */
export function checkSocketPath(path: string): Mistake | undefined {
  const fix = 'Write all of its path, such as unix:/run/procore-proxy.sock or {path: /run/procore-proxy.sock}'
  if (!path.startsWith('/') || path.includes('\0') || path.endsWith('/'))
    return bad(`${quoted(path)} is not the absolute path of a file`, fix)
  const bytes = Buffer.byteLength(path)
  if (bytes <= MAX_SOCKET_PATH_BYTES) return undefined
  const limit = `a unix socket's path can have ${MAX_SOCKET_PATH_BYTES} at most`
  return bad(`the path has ${bytes} bytes, and ${limit}`, 'Choose a shorter path')
}

/** Reads `host:port`, `[v6]:port` or `unix:/path` (mode 600); otherwise says what is wrong. */
export function parseListen(text: string): ListenAddress | Mistake {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    return checkSocketPath(path) ?? { kind: 'unix', path, mode: 0o600 }
  }
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:[\]]+)):(\d{1,5})$/s.exec(text) ?? []
  const port = Number(digits)
  const host = plain.toLowerCase()
  if (port <= 65535 && isPlainHost(host)) return { kind: 'tcp', host, port }
  if (port <= 65535 && bracketed !== undefined && isIPv6Address(bracketed))
    return { kind: 'tcp', host: canonicalIPv6(bracketed), port }
  const fix =
    'Write 127.0.0.1:8377, or another host:port, "[IPv6]:port" or unix:/path; port 0 is any free one'
  return bad(`${quoted(text)} is not a listen address`, fix)
}

/** Reads an http(s) origin and nothing else; returns its serialized form, `https://api.example`. */
export function parseOrigin(text: string): string | Mistake {
  const url = /^https?:\/\/[^/\\?#@\s]+\/?$/i.test(text) ? URL.parse(text) : null
  const fix = 'Write only a scheme, a host and perhaps a port, such as https://api.example.com'
  return url?.origin ?? bad(`${quoted(text)} is not an http or https origin`, fix)
}

/** Reads a Procore origin: like {@link parseOrigin}, but plain http only to this machine. */
export function parseUpstreamOrigin(text: string): string | Mistake {
  const origin = parseOrigin(text)
  if (isMistake(origin)) return origin
  const { protocol, hostname } = new URL(origin)
  if (protocol === 'https:' || isLoopbackHost(hostname)) return origin
  const fix = `Write ${origin.replace('http:', 'https:')}; plain http is allowed to localhost, 127.0.0.0/8 and [::1] only`
  return bad(`${quoted(text)} would send secrets unencrypted`, fix)
}

/** Reads an http(s) URL of a host and perhaps a path; returns it without a slash at its end. */
export function parsePublicUrl(text: string): string | Mistake {
  const [, start = '', path = ''] =
    /^(https?:\/\/[^/\\?#@\s]+)((?:\/[A-Za-z0-9._~-]+)*)\/?$/i.exec(text) ?? []
  const url = URL.parse(start)
  if (url !== null && !/\/\.{1,2}(?:\/|$)/.test(path)) return url.origin + path
  const fix = 'Write a scheme, a host and at most a plain path, such as https://example.com/procore'
  return bad(`${quoted(text)} is not the URL of a proxy`, fix)
}

/** Reads a host name or IP address without scheme, port or wildcard; returns lower case, no trailing dot, `[v6]`. */
export function parseHostName(text: string): string | Mistake {
  const host = text.toLowerCase().replace(/\.$/, '')
  if (isPlainHost(host)) return host
  const bare = withoutBrackets(host)
  if (isIPv6Address(bare) && !bare.includes('%')) return `[${canonicalIPv6(bare)}]`
  const fix = 'Write a name without scheme, port and wildcard, such as proxy.example.com'
  return bad(`${quoted(text)} is not a host name`, fix)
}

/** Reads the name of a file host, or `*.` and the name that all hosts are below; returns lower case. */
export function parseFileHost(text: string): string | Mistake {
  const name = text.startsWith('*.') ? text.slice(2) : text
  const host = parseHostName(name)
  if (isMistake(host)) return host
  const isWildcard = name !== text
  const isTooWide = isWildcard && (!host.includes('.') || isIPv4(host))
  const fix = 'Write a host name, such as storage.example.com, or "*.example.com" for all hosts below it'
  if (isTooWide || host.startsWith('['))
    return bad(`${quoted(text)} is not a host that can be sent access tokens`, fix)
  return isWildcard ? `*.${host}` : host
}

/** Checks a serialized http(s) origin, which must be exactly as browsers send it: `https://app.example`. */
export function checkSerializedOrigin(text: string): Mistake | undefined {
  const origin = parseOrigin(text)
  if (isMistake(origin)) return origin
  const example = 'List each origin, such as https://app.example.com'
  if (origin.includes('*'))
    return bad(`${quoted(text)} is a wildcard, but origins are compared exactly`, example)
  if (origin === text) return undefined
  return bad(`${quoted(text)} is not how browsers write this origin`, `Write ${origin}`)
}
