// Decides which hosts serve an environment's files, and which of their paths may be fetched.
import { isIP } from 'node:net'
import type { Environment } from '../config/config.ts'
import { BUILT_IN_ENVIRONMENTS } from '../config/environments.ts'
import { ProxyError } from '../errors.ts'
import { quote } from '../routing/quote.ts'
import { readingsOf, readTarget } from '../routing/raw-request.ts'

/** The path before HOST in the proxy's form of a file URL. A company prefix may precede it. */
export const FILES_PATH = '/_proxy/files/'

/** A file to fetch. */
export interface FileTarget {
  /** `https://storage.procore.com`. */
  readonly origin: string
  /** In lower case. */
  readonly host: string
  /** Raw, as sent; `/` if there is none. */
  readonly path: string
}

/** Labels only: no port, user name, escape, trailing dot or bracket. */
const NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/

/** The first segments of the API, the login and the web application. None of these is a file. */
const NOT_A_FILE = /^\/*(?:rest|vapid|oauth|webclients|[0-9]+)(?:\/|$)/

/** The login and API hosts of every environment. Calls to these have their own rules and are never file downloads. */
const BUILT_IN_HOSTS: ReadonlySet<string> = new Set(
  BUILT_IN_ENVIRONMENTS.flatMap(({ apiUrl, loginUrl }) => [new URL(apiUrl).host, new URL(loginUrl).host]),
)

/**
 * The origin to fetch this host's files from; undefined if it serves none. A file host is in the environment's
 * `fileHosts` (by default its file domain and all names below it), is neither an API nor a login server, and is
 * reached by HTTPS. Only if the API itself is plain HTTP on this machine, `localhost` and `localhost:PORT` are
 * reached by plain HTTP, for tests.
 */
// Invariant: the token goes to no host outside the environment's file hosts, and never unencrypted to another
// machine.
export function fileOrigin(authority: string, environment: Environment): string | undefined {
  const { apiUrl, loginUrl, fileDomain } = environment
  const host = authority.toLowerCase()
  const [, local, port = '0'] = /^(localhost)(?::([1-9][0-9]{0,4}))?$/.exec(host) ?? []
  const isPlain = local !== undefined && apiUrl.startsWith('http:')
  const name = isPlain ? local : host
  if (!NAME.test(name) || isIP(fileDomain) !== 0 || (isPlain && Number(port) > 65535)) return undefined
  const fileHosts = environment.fileHosts ?? [fileDomain, `*.${fileDomain}`]
  if (!fileHosts.some((pattern) => isFileHost(name, pattern))) return undefined
  const origin = `${isPlain ? 'http' : 'https'}://${host}`
  return origin === apiUrl || origin === loginUrl || BUILT_IN_HOSTS.has(host) ? undefined : origin
}

/** `*.` at the start of a pattern matches any number of labels. */
function isFileHost(name: string, pattern: string): boolean {
  return pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) : name === pattern
}

/**
 * Reads `/_proxy/files/HOST/PATH`, raw and without the company prefix. Throws `request_invalid` for a host that
 * serves no files of this environment and for ambiguous paths, and `access_denied` for paths of the API.
 */
export function readFileTarget(path: string, environment: Environment): FileTarget {
  const rest = path.slice(FILES_PATH.length)
  const slash = rest.indexOf('/')
  const authority = slash === -1 ? rest : rest.slice(0, slash)
  const origin = fileOrigin(authority, environment)
  if (origin === undefined) {
    throw new ProxyError(
      'request_invalid',
      `${quote(authority)} is no host that serves files of ${quote(environment.name)}.`,
      {
        help: `Write /_proxy/files/HOST/PATH with a host name in ${environment.fileHosts?.join(', ') ?? environment.fileDomain}, without port and user name, that is neither the API nor the login server.`,
      },
    )
  }
  // The path is judged again by itself, because a doubled slash may be at its start only now.
  const inner = readTarget(slash === -1 ? '/' : rest.slice(slash), '').path
  const readings = readingsOf(inner)
  if (readings === undefined) {
    throw new ProxyError('request_invalid', 'The path of the file is too long, or escaped too often.')
  }
  // Invariant: no caller can get around the rules for the API by another host name. Hosts of the web application
  // serve the API too.
  if (readings.some((reading) => NOT_A_FILE.test(reading))) {
    throw new ProxyError('access_denied', 'Paths of the API and of the web application are not files.', {
      help: 'Call /rest/… and /vapid/… of the proxy itself.',
    })
  }
  return { origin, host: authority.toLowerCase(), path: inner }
}
