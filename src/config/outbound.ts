// Reads the network settings: the outbound proxy, hosts that are reached without it, and CA certificates.
import { hash, X509Certificate } from 'node:crypto'
import { resolve } from 'node:path'
import { isIPv6Address, parseHostName } from './addresses.ts'
import { type NetworkSettings, type NoProxyEntry, Secret } from './config.ts'
import { readFileBytes } from './files.ts'
import { isMistake, type Mistake, quoted } from './problems.ts'
import type { Settings } from './schema.ts'

/** The value of `network.proxy` that means no proxy, whatever HTTPS_PROXY says. */
export const NO_PROXY_AT_ALL = 'none'

const URL_FIX =
  'Write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with characters such as @ : / # ? % of the password as %40 %3A %2F %23 %3F %25'

/**
 * Reads a proxy's URL. A missing scheme means http, as in curl. Messages contain no part of it, because it may
 * contain a password.
 */
export function parseProxyUrl(text: string): { origin: string; authorization: string | undefined } | Mistake {
  const scheme = /^\s*([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme !== undefined && !/^https?$/.test(scheme)) {
    const message = `proxies with the scheme ${quoted(scheme)} are not supported`
    return { message, fix: 'Name an HTTP proxy (http:// or https://), or write none' }
  }
  const url = URL.parse(scheme === undefined ? `http://${text.trim()}` : text)
  if (url === null || url.pathname !== '/' || url.search !== '' || url.hash !== '')
    return { message: 'it is not the URL of a proxy', fix: URL_FIX }
  const { username, password, origin } = url
  if (username === '' && password === '') return { origin, authorization: undefined }
  const [user, word] = [username, password].map(decoded)
  // RFC 7617 section 2: no control characters, and no colon in the name.
  if (user === undefined || word === undefined || /[\x00-\x1f\x7f]/.test(user + word) || user.includes(':'))
    return { message: "its user name or password can't be sent", fix: URL_FIX }
  return { origin, authorization: `Basic ${Buffer.from(`${user}:${word}`).toString('base64')}` }
}

/** The text without percent-encoding; undefined if it is malformed. */
export function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Whether a URL has a user name or password; works for malformed URLs too. */
export function holdsCredentials(url: string): boolean {
  return url.includes('@')
}

/** Reads an entry of NO_PROXY: `*`, or `host`, `.host` or `*.host` (which mean the same), with or without a port. */
export function parseNoProxy(text: string): NoProxyEntry | Mistake {
  if (text === '*') return { host: '*', port: undefined }
  const bare = text.replace(/^\*?\./, '')
  const [, name = bare, port] = isIPv6Address(bare) ? [] : (/^(.*):(\d{1,5})$/s.exec(bare) ?? [])
  const host = parseHostName(name)
  if (typeof host === 'string') return { host, port: port === undefined ? undefined : Number(port) }
  return {
    message: `${quoted(text)} is neither a host name nor an IP address`,
    fix: 'Write a name, such as example.com (which includes its subdomains), an address, or "*"; a port may follow. Ranges of addresses are not supported',
  }
}

/** The entries of a NO_PROXY variable. Others, such as ranges of addresses, are skipped, as other programs may use them. */
export function noProxyEntries(variable: string): string[] {
  return variable.split(/[,\s]+/).filter((entry) => 'host' in parseNoProxy(entry))
}

/** The bundle of an operating system has a quarter of this size. */
const MAX_CA_BYTES = 1024 * 1024
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Reads `network.caFile` (PEM), whose path is relative to `folder`. */
export async function readCaFile({ network }: Settings, folder: string) {
  const path = ['network', 'caFile']
  const nothing = { certificates: [], findings: [], files: [] }
  if (network.caFile === undefined) return nothing
  const file = resolve(folder, network.caFile)
  const certificates = await readCertificates(file)
  if ('message' in certificates) return { ...nothing, findings: [{ path, ...certificates }], files: [file] }
  return { ...nothing, certificates, files: [file] }
}

async function readCertificates(file: string): Promise<readonly string[] | Mistake> {
  const read = await readFileBytes(file, MAX_CA_BYTES)
  if ('message' in read) return read
  const blocks = read.bytes.toString('latin1').match(CERTIFICATE)
  try {
    // A file without PEM may be DER, which Windows saves by default.
    return (blocks ?? [read.bytes]).map((one) => new X509Certificate(one).toString())
  } catch {
    const fix = 'Save the CA certificate as PEM (Base-64 encoded X.509, -----BEGIN CERTIFICATE-----)'
    return { message: `${file} has ${blocks === null ? 'no' : 'a broken'} certificate in it`, fix }
  }
}

/** The settings as the rest of the program reads them; an empty `proxyUrl` means none. */
export function networkSettings(
  { noProxy = [] }: Settings['network'],
  proxyUrl: string,
  certificates: readonly string[],
): NetworkSettings {
  const parsed = parseProxyUrl(proxyUrl)
  const { origin, authorization } = proxyUrl === NO_PROXY_AT_ALL || isMistake(parsed) ? {} : parsed
  const text = JSON.stringify([origin, authorization, noProxy, certificates])
  const secret = authorization === undefined ? undefined : new Secret(authorization)
  const proxy = origin === undefined ? undefined : { origin, authorization: secret }
  return { proxy, noProxy, certificates, key: hash('sha256', text, 'base64url') }
}
