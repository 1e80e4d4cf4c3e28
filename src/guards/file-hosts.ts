// Which hosts serve an environment's files, and which of their paths may be fetched.
import { isIP } from 'node:net'
import type { Environment } from '../config/config.ts'
import { BUILT_IN_ENVIRONMENTS } from '../config/environments.ts'
import { ProxyError } from '../errors.ts'
import { readingsOf } from '../routing/path-readings.ts'
import { quote } from '../routing/quote.ts'
import { readTarget } from '../routing/target.ts'

/** What stands before HOST in the proxy's own form of a file's URL; the company prefix comes before it. */
export const FILES_PATH = '/_proxy/files/'

/** A file that is to be fetched. */
export interface FileTarget {
  /** `https://storage.procore.com`. */
  readonly origin: string
  /** In lower case. */
  readonly host: string
  /** Raw, as sent; `/` where there is none. */
  readonly path: string
}

/** Labels and nothing else: no port, user name, escape, trailing dot or bracket. */
const NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/

/** First segments of the API, the login and the web application: what they serve is no file. */
const NOT_A_FILE = /^\/*(?:rest|vapid|oauth|webclients|[0-9]+)(?:\/|$)/

/** The login and API hosts of every environment: calls to them have their own rules and need no detour. */
const BUILT_IN_HOSTS: ReadonlySet<string> = new Set(
  BUILT_IN_ENVIRONMENTS.flatMap(({ apiUrl, loginUrl }) => [new URL(apiUrl).host, new URL(loginUrl).host]),
)

/**
 * The origin to fetch a file of this host from, or undefined if it serves none: a host name in the environment's
 * `fileHosts` (by default its file domain and all below it) that is no API and no login server, by https. Only if the API
 * itself is plain http on this machine, `localhost` and `localhost:PORT` are fetched by plain http, for tests.
 */
// Invariant: the bearer goes to no host outside the environment's file hosts, and never in the clear to another machine.
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

/** `*.` at the start of a pattern is any name below the rest, however deep. */
function isFileHost(name: string, pattern: string): boolean {
  return pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) : name === pattern
}

/**
 * Reads `/_proxy/files/HOST/PATH`, raw and with the company prefix cut. Throws `request_invalid` for a host that serves no
 * files of this environment and for paths that are not forwarded either, `access_denied` for paths of the API.
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
  // The path again for itself: a doubled slash is at its start only now.
  const inner = readTarget(slash === -1 ? '/' : rest.slice(slash), '').path
  const readings = readingsOf(inner)
  if (readings === undefined) {
    throw new ProxyError('request_invalid', 'The path of the file is too long, or escaped too often.')
  }
  // Invariant: no caller gets around the rules for the API by another name of it: hosts of the web application answer it too.
  if (readings.some((reading) => NOT_A_FILE.test(reading))) {
    throw new ProxyError('access_denied', 'Paths of the API and of the web application are not files.', {
      help: 'Call /rest/… and /vapid/… of the proxy itself.',
    })
  }
  return { origin, host: authority.toLowerCase(), path: inner }
}
