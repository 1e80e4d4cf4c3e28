// The way out: the outbound proxy's URL, the hosts that are reached without it, and certificates to trust besides.
import { createHash, X509Certificate } from 'node:crypto'
import { resolve } from 'node:path'
import { isIPv6Address, parseHostName } from './addresses.ts'
import type { NetworkSettings, NoProxyEntry } from './config.ts'
import { readFileBytes } from './files.ts'
import { type Finding, keyOf, type Mistake, quoted } from './problems.ts'
import type { Settings } from './schema.ts'
import { Secret } from './secret.ts'

/** The value of `network.proxy` that means: no proxy, whatever HTTPS_PROXY says. */
export const NO_PROXY_AT_ALL = 'none'

const URL_FIX =
  'Write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with characters such as @ : / # ? % of the password as %40 %3A %2F %23 %3F %25'

/** Reads a proxy's URL; a missing scheme is http, as for curl. What is said of it holds nothing of it: it may be secret. */
export function parseProxyUrl(
  text: string,
): { readonly origin: string; readonly authorization: string | undefined } | Mistake {
  const scheme = /^\s*([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme !== undefined && !/^https?$/.test(scheme)) {
    return {
      message: `a proxy of the kind ${quoted(scheme)} is not supported`,
      fix: 'Name an HTTP proxy (http:// or https://), or write none',
    }
  }
  const url = URL.parse(scheme === undefined ? `http://${text.trim()}` : text)
  if (url === null || url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    return { message: "it is not a proxy's URL", fix: URL_FIX }
  }
  const { username, password, origin } = url
  if (username === '' && password === '') return { origin, authorization: undefined }
  const [user, word] = [username, password].map(decoded)
  // RFC 7617 section 2: no control characters, and no colon in the name.
  if (user === undefined || word === undefined || /[\x00-\x1f\x7f]/.test(user + word) || user.includes(':')) {
    return { message: "the user name or password in it can't be sent", fix: URL_FIX }
  }
  return { origin, authorization: `Basic ${Buffer.from(`${user}:${word}`).toString('base64')}` }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Whether text that was written as a proxy's URL holds a user name or password; said of broken URLs too. */
export function holdsCredentials(proxyUrl: string): boolean {
  return proxyUrl.includes('@')
}

/** Reads an entry as NO_PROXY has them: `*`, `host`, `.host` and `*.host` (all three the same), each with a port or without. */
export function parseNoProxy(text: string): NoProxyEntry | Mistake {
  if (text === '*') return { host: '*', port: undefined }
  const bare = text.replace(/^\*?\./, '')
  const [, name = bare, port] = isIPv6Address(bare) ? [] : (/^(.*):(\d{1,5})$/s.exec(bare) ?? [])
  const host = parseHostName(name)
  if (typeof host === 'string') return { host, port: port === undefined ? undefined : Number(port) }
  return {
    message: `${quoted(text)} is neither a host name nor an IP address`,
    fix: 'Write a name, such as example.com (its subdomains count too), an address, or "*"; a port may follow; ranges of addresses are not known',
  }
}

/** The entries of a NO_PROXY variable; what is none (such as a range of addresses) is left out: other programs use it too. */
export function noProxyEntries(variable: string): string[] {
  return variable.split(/[,\s]+/).filter((entry) => entry !== '' && 'host' in parseNoProxy(entry))
}

/** Far beyond any bundle: that of a whole operating system has a quarter. */
const MAX_CA_BYTES = 1024 * 1024
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** What `network.caFile` came to. */
export interface CaCertificates {
  /** PEM. */
  readonly certificates: readonly string[]
  readonly findings: readonly Finding[]
  /** The file, if there is one. */
  readonly files: readonly string[]
}

/** Reads the file, from `folder` on; one that was judged already is left alone. */
export async function readCaFile(
  { network }: Settings,
  wrong: ReadonlySet<string>,
  folder: string,
): Promise<CaCertificates> {
  const path = ['network', 'caFile']
  if (network.caFile === undefined || wrong.has(keyOf(path))) {
    return { certificates: [], findings: [], files: [] }
  }
  const file = resolve(folder, network.caFile)
  const certificates = await readCertificates(file)
  if ('message' in certificates) {
    return { certificates: [], findings: [{ path, ...certificates }], files: [file] }
  }
  return { certificates, findings: [], files: [file] }
}

async function readCertificates(file: string): Promise<readonly string[] | Mistake> {
  const read = await readFileBytes(file, MAX_CA_BYTES)
  if ('message' in read) return read
  const blocks = read.bytes.toString('latin1').match(CERTIFICATE)
  try {
    // Without PEM in it, it may be DER, which Windows saves by default.
    return (blocks ?? [read.bytes]).map((one) => new X509Certificate(one).toString())
  } catch {
    return {
      message: blocks === null ? `${file} holds no certificate` : `${file} holds a broken certificate`,
      fix: 'Save the CA certificate in it as PEM (Base-64 encoded X.509, -----BEGIN CERTIFICATE-----)',
    }
  }
}

/** The settings as the rest of the program reads them; `proxyUrl` is empty for none. */
export function networkSettings(
  { noProxy = [] }: Settings['network'],
  proxyUrl: string,
  certificates: readonly string[],
): NetworkSettings {
  const parsed = proxyUrl === '' || proxyUrl === NO_PROXY_AT_ALL ? undefined : parseProxyUrl(proxyUrl)
  const { origin, authorization } =
    parsed === undefined || 'message' in parsed ? { origin: undefined, authorization: undefined } : parsed
  const text = JSON.stringify([origin, authorization, noProxy, certificates])
  return {
    proxy:
      origin === undefined
        ? undefined
        : { origin, authorization: authorization ? new Secret(authorization) : undefined },
    noProxy,
    certificates,
    key: createHash('sha256').update(text).digest('base64url'),
  }
}
