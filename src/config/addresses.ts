// Addresses in the configuration: where to listen, which origins and which host names.
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import type { ListenAddress } from './config.ts'
import { type Mistake, quoted } from './problems.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/

/** The longest path that fits a unix socket's address on every platform (macOS: 104 bytes with the ending NUL). */
const MAX_SOCKET_PATH_BYTES = 103

/** As Node has it; it takes some colons, and Node a while to make its pattern ready, which most configurations never need. */
export function isIPv6Address(text: string): boolean {
  return text.indexOf(':') !== text.lastIndexOf(':') && isIPv6(text)
}

/** Whether only programs on this machine can reach the host: `localhost`, 127.0.0.0/8, `::1` (brackets allowed). */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '')
  if (bare === 'localhost') return true
  if (isIPv4(bare)) return loopback.check(bare, 'ipv4')
  return isIPv6Address(bare) && loopback.check(bare, 'ipv6')
}

/** A listen address as the configuration writes it. */
export function listenText(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** One spelling for each IPv6 address, so that equal ones compare equal; a zone (`%eth0`) is kept. */
function canonicalIPv6(host: string): string {
  const [address = '', zone] = host.split('%')
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  return zone === undefined ? canonical : `${canonical}%${zone}`
}

function bad(message: string, mend: string): Mistake {
  return { message, mend }
}

/** Judges a unix socket's path. */
export function checkSocketPath(path: string): Mistake | undefined {
  if (!path.startsWith('/')) {
    return bad(
      `${quoted(path)} is not an absolute path`,
      'Write unix: and a path that starts with /, such as unix:/run/procore-proxy.sock',
    )
  }
  if (path.includes('\0') || path.endsWith('/')) {
    return bad(
      `${quoted(path)} is not the path of a file`,
      'Write the path of the socket, such as /run/procore-proxy.sock',
    )
  }
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    return bad(
      `the path has ${Buffer.byteLength(path)} bytes and a unix socket's path at most ${MAX_SOCKET_PATH_BYTES}`,
      'Choose a shorter path',
    )
  }
  return undefined
}

/** Reads `host:port`, `[v6]:port` or `unix:/path` (mode 600); says what is wrong where it is none. */
export function parseListen(text: string): ListenAddress | Mistake {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    return checkSocketPath(path) ?? { kind: 'unix', path, mode: 0o600 }
  }
  const shown = quoted(text)
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    const rest = text
      .replace(/^[^/]*\/\//, '')
      .replace(/[/?#].*$/s, '')
      .replace(/^.*@/s, '')
    return bad(`${shown} is a URL, not an address`, `Write the host and the port alone: ${rest}`)
  }
  if (text.startsWith('/')) return bad(`${shown} is a path`, `For a unix socket write unix:${text}`)
  if (/^\d+$/.test(text)) return bad(`${shown} is a port without a host`, `Write 127.0.0.1:${text}`)
  if (/^:\d+$/.test(text)) {
    return bad(
      `${shown} names no host`,
      `Write 127.0.0.1${text} for this machine alone, 0.0.0.0${text} for every network`,
    )
  }
  if (isIPv6Address(text))
    return bad(`${shown} is an IPv6 address without brackets`, `Write "[${text}]:8377" (quoted)`)

  const match = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(.*))?$/s.exec(text)
  if (match === null) {
    return bad(
      `${shown} is no listen address`,
      'Write host:port, "[IPv6]:port" or unix:/path, such as 127.0.0.1:8377',
    )
  }
  const [, bracketed, plain = '', port] = match
  const wanted = bracketed === undefined ? plain : `[${bracketed}]`
  if (port === undefined)
    return bad(`${shown} names no port`, `Add one: ${wanted}:8377, or ${wanted}:0 for any free port`)
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) {
    return bad(`${quoted(port)} is not a port`, 'Use a number from 0 (any free port) to 65535')
  }
  if (bracketed !== undefined) {
    if (!isIPv6Address(bracketed))
      return bad(`${wanted} is not an IPv6 address`, 'Write one in brackets, such as "[::1]:8377"')
    return { kind: 'tcp', host: canonicalIPv6(bracketed), port: Number(port) }
  }
  const host = plain.toLowerCase()
  if (host === '*')
    return bad(
      '"*" is not a host',
      `Write 0.0.0.0:${port} for every network, 127.0.0.1:${port} for this machine alone`,
    )
  if (!isIPv4(host) && (!HOST_NAME.test(host) || /^[\d.]+$/.test(host))) {
    return bad(
      `${quoted(plain)} is neither a host name nor an IP address`,
      `Write one, such as 127.0.0.1:${port}`,
    )
  }
  return { kind: 'tcp', host, port: Number(port) }
}

/** Reads an http(s) origin that carries nothing else; gives its serialised form, `https://api.example`. */
export function parseOrigin(text: string): string | Mistake {
  const shown = quoted(text)
  const example = 'such as https://api.example.com'
  const url = /^https?:\/\/[^/\\]/i.test(text) ? URL.parse(text) : null
  if (url === null)
    return bad(`${shown} is not an http or https origin`, `Write a scheme and a host, ${example}`)
  if (!/^https?:\/\/[^/\\?#@\s]+\/?$/i.test(text)) {
    return bad(
      `${shown} holds more than an origin`,
      `Leave out path, query, fragment and user name: ${url.origin}`,
    )
  }
  return url.origin
}

/** Reads a Procore origin: like {@link parseOrigin}, and plain http only to this machine. */
export function parseUpstreamOrigin(text: string): string | Mistake {
  const origin = parseOrigin(text)
  // The mend of a mistake is the next thing that is typed: it must not be one more mistake.
  if (typeof origin !== 'string') {
    return { ...origin, mend: origin.mend.replace(/http:(?!\/\/(localhost|127\.|\[::1\]))/, 'https:') }
  }
  const { protocol, hostname } = new URL(origin)
  if (protocol === 'http:' && !isLoopbackHost(hostname)) {
    return bad(
      `${quoted(text)} would send secrets unencrypted`,
      `Write ${origin.replace('http:', 'https:')}; plain http is for localhost, 127.0.0.0/8 and [::1] alone`,
    )
  }
  return origin
}

/** Reads an http(s) URL of a host and perhaps a path, and nothing else; gives it without a slash at its end. */
export function parsePublicUrl(text: string): string | Mistake {
  const shown = quoted(text)
  const [, start = '', path = ''] =
    /^(https?:\/\/[^/\\?#@\s]+)((?:\/[A-Za-z0-9._~-]+)*)\/?$/i.exec(text) ?? []
  const url = URL.parse(start)
  if (url === null || /\/\.{1,2}(?:\/|$)/.test(path)) {
    const mend = 'Write a scheme, a host and at most a plain path, such as https://example.com/procore'
    return bad(`${shown} is not the URL of a proxy`, mend)
  }
  return url.origin + path
}

/** Reads a host name or IP address without scheme, port or wildcard; gives lower case, no trailing dot, `[v6]`. */
export function parseHostName(text: string): string | Mistake {
  const host = text.toLowerCase().replace(/\.$/, '')
  if (isIPv4(host) || (HOST_NAME.test(host) && !/^[\d.]+$/.test(host))) return host
  const bare = host.replace(/^\[(.*)\]$/s, '$1')
  if (isIPv6Address(bare) && !bare.includes('%')) return `[${canonicalIPv6(bare)}]`

  const shown = quoted(text)
  const stripped = host
    .replace(/^[a-z][a-z0-9+.-]*:\/\//, '')
    .replace(/[/?#].*$/s, '')
    .replace(/^.*@/s, '')
  const name = URL.parse(`http://${stripped.replace(/^(\*?\.)+/, '')}`)?.hostname.replace(/\.$/, '')
  const mend =
    name === undefined || !HOST_NAME.test(name)
      ? 'Write a host name, such as proxy.example.com'
      : `Write ${name}`
  if (text.includes('*')) return bad(`${shown} is a wildcard; names are compared exactly`, mend)
  return bad(`${shown} is not a host name without scheme and port`, mend)
}

/** Reads a serialised http(s) origin as browsers send it, exactly: `https://app.example`. */
export function checkSerializedOrigin(text: string): Mistake | undefined {
  if (text === '*' || text === 'null') {
    return bad(
      `${quoted(text)} would let any web page in`,
      'List each origin, such as https://app.example.com',
    )
  }
  const origin = parseOrigin(text)
  if (typeof origin !== 'string') return origin
  if (origin.includes('*'))
    return bad(
      `${quoted(text)} is a wildcard; origins are compared exactly`,
      'List each origin, such as https://app.example.com',
    )
  if (origin !== text) return bad(`${quoted(text)} is not how browsers write this origin`, `Write ${origin}`)
  return undefined
}
