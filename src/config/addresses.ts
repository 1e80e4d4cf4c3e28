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
  const fix = 'Write unix: and a path that starts with /, such as unix:/run/procore-proxy.sock'
  if (!path.startsWith('/')) return bad(`${quoted(path)} is not an absolute path`, fix)
  const example = 'Write the path of the socket, such as /run/procore-proxy.sock'
  if (path.includes('\0') || path.endsWith('/'))
    return bad(`${quoted(path)} is not the path of a file`, example)
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
  const match = /^(?:\[([^\]]*)\]|([^:[\]]+)):(\d{1,5})$/s.exec(text)
  if (match === null) return noListenAddress(text)
  const [, bracketed, plain = '', digits] = match
  const port = Number(digits)
  if (port > 65535) return badPort(String(digits))
  if (bracketed !== undefined) {
    if (isIPv6Address(bracketed)) return { kind: 'tcp', host: canonicalIPv6(bracketed), port }
    return bad(`[${bracketed}] is not an IPv6 address`, 'Write one in brackets, such as "[::1]:8377"')
  }
  const host = plain.toLowerCase()
  if (isPlainHost(host)) return { kind: 'tcp', host, port }
  if (host === '*') return bad('"*" is not a host', everyNetwork(port))
  const message = `${quoted(plain)} is neither a host name nor an IP address`
  return bad(message, `Write one, such as 127.0.0.1:${port}`)
}

const everyNetwork = (port: number | string) =>
  `Write 127.0.0.1:${port} for this machine only, or 0.0.0.0:${port} for every network`
const badPort = (port: string) =>
  bad(`${quoted(port)} is not a port`, 'Use a number from 0 (any free port) to 65535')

/** Explains what is wrong with a text that is not a listen address. */
function noListenAddress(text: string): Mistake {
  const shown = quoted(text)
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    return bad(`${shown} is a URL, not an address`, `Write only the host and the port: ${authorityOf(text)}`)
  if (text.startsWith('/')) return bad(`${shown} is a path`, `For a unix socket, write unix:${text}`)
  if (/^\d+$/.test(text)) return bad(`${shown} is a port without a host`, `Write 127.0.0.1:${text}`)
  if (/^:\d+$/.test(text)) return bad(`${shown} has no host`, everyNetwork(text.slice(1)))
  if (isIPv6Address(text))
    return bad(`${shown} is an IPv6 address without brackets`, `Write "[${text}]:8377" (in quotes)`)
  const [, host, port] = /^(\[[^\]]*\]|[^:[\]]+)(?::(.*))?$/s.exec(text) ?? []
  if (port !== undefined) return badPort(port)
  if (host !== undefined)
    return bad(`${shown} has no port`, `Add one: ${host}:8377, or ${host}:0 for any free port`)
  const fix = 'Write host:port, "[IPv6]:port" or unix:/path, such as 127.0.0.1:8377'
  return bad(`${shown} is not a listen address`, fix)
}

/** The host and port of a URL, without a user name. */
function authorityOf(text: string): string {
  const [authority = ''] = text.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '').split(/[/?#]/, 1)
  return authority.replace(/^.*@/s, '')
}

/** Reads an http(s) origin and nothing else; returns its serialized form, `https://api.example`. */
export function parseOrigin(text: string): string | Mistake {
  const url = /^https?:\/\/[^/\\]/i.test(text) ? URL.parse(text) : null
  const example = 'Write a scheme and a host, such as https://api.example.com'
  if (url === null) return bad(`${quoted(text)} is not an http or https origin`, example)
  if (/^https?:\/\/[^/\\?#@\s]+\/?$/i.test(text)) return url.origin
  const fix = `Leave out the path, query, fragment and user name: ${url.origin}`
  return bad(`${quoted(text)} is more than an origin`, fix)
}

/** Reads a Procore origin: like {@link parseOrigin}, but plain http only to this machine. */
export function parseUpstreamOrigin(text: string): string | Mistake {
  const origin = parseOrigin(text)
  // Users copy the suggested fix, so it must not contain another mistake.
  if (isMistake(origin))
    return { ...origin, fix: origin.fix.replace(/http:(?!\/\/(localhost|127\.|\[::1\]))/, 'https:') }
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

  const stripped = authorityOf(host).replace(/^(\*?\.)+/, '')
  const name = URL.parse(`http://${stripped}`)?.hostname.replace(/\.$/, '') ?? ''
  const fix = HOST_NAME.test(name) ? `Write ${name}` : 'Write a host name, such as proxy.example.com'
  if (text.includes('*')) return bad(`${quoted(text)} is a wildcard, but names are compared exactly`, fix)
  return bad(`${quoted(text)} is not a host name without scheme and port`, fix)
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
  const example = 'List each origin, such as https://app.example.com'
  if (text === '*' || text === 'null') return bad(`${quoted(text)} would let any web page in`, example)
  const origin = parseOrigin(text)
  if (isMistake(origin)) return origin
  if (origin.includes('*'))
    return bad(`${quoted(text)} is a wildcard, but origins are compared exactly`, example)
  if (origin === text) return undefined
  return bad(`${quoted(text)} is not how browsers write this origin`, `Write ${origin}`)
}
