// Decides which hosts serve an environment's files and which of their paths may be fetched, and limits the look-ups of those hosts.
import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import { BUILT_IN_ENVIRONMENTS, type Environment } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { quote, readingsOf, readTarget } from '../routing/raw-request.ts'

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
  if (!NAME.test(name) || isIP(fileDomain) !== 0 || Number(port) > 65535) return undefined
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
      `${quote(authority)} is not a file host of ${quote(environment.name)}.`,
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

/** How many new hosts may be looked up at the same time. The other threads stay free for the API. */
const MOST_UNDER_WAY = 2
/** How many requests may wait for that. */
const MOST_WAITING = 64
/** How many new hosts one caller may ask for within the window. */
const MOST_OF_CALLER = 20
const WINDOW_MS = 60_000
/** How many hosts, and how many callers, are remembered. */
const MOST_KNOWN = 256

/** Reports the result of the first request to a host: `true` once its response has begun. */
export type Leave = (hasAnswered: boolean) => void

/** Lets requests to known hosts through immediately, and requests to new hosts a few at a time. */
export class FileHostLimiter {
  readonly #known = new LRUCache<string, true>({ max: MOST_KNOWN })
  readonly #underWay = new Map<string, Promise<void>>()
  /** When each caller asked for new hosts. */
  readonly #asked = new LRUCache<string, readonly number[]>({ max: MOST_KNOWN })
  #waiting = 0

  /**
   * Resolves when a request to `host` (lower case) may be sent for this caller. Call the returned function once, when
   * the response has begun or the request has failed. Throws `overloaded`, or the signal's reason once the caller has left.
   */
  async enter(host: string, queueKey: string, departure: { readonly signal: AbortSignal }): Promise<Leave> {
    while (this.#known.get(host) === undefined) {
      const before = this.#underWay.get(host)
      if (before === undefined && this.#underWay.size < MOST_UNDER_WAY) {
        this.#count(queueKey)
        return this.#start(host)
      }
      await this.#wait(before ?? Promise.race(this.#underWay.values()), departure.signal)
    }
    return () => {}
  }

  #start(host: string): Leave {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#underWay.set(host, promise)
    return (hasAnswered) => {
      if (hasAnswered) this.#known.set(host, true)
      this.#underWay.delete(host)
      resolve()
    }
  }

  #count(queueKey: string): void {
    const now = performance.now()
    const recent = (this.#asked.get(queueKey) ?? []).filter((at) => now - at < WINDOW_MS)
    const [oldest = now] = recent
    if (recent.length >= MOST_OF_CALLER) {
      const waitMs = oldest + WINDOW_MS - now
      throw overloaded('This caller asks for too many new file hosts.', Math.ceil(waitMs / 1000))
    }
    this.#asked.set(queueKey, [...recent, now])
  }

  async #wait(turn: Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.#waiting >= MOST_WAITING) {
      throw overloaded('Too many requests wait for file hosts that are new.', 1)
    }
    signal.throwIfAborted()
    const { promise: left, reject } = Promise.withResolvers<never>()
    const onLeave = () => reject(signal.reason)
    signal.addEventListener('abort', onLeave)
    this.#waiting++
    try {
      await Promise.race([turn, left])
    } finally {
      this.#waiting--
      // A request may wait many times, and its signal lives as long as its caller.
      signal.removeEventListener('abort', onLeave)
    }
  }
}

function overloaded(detail: string, retryAfterSeconds: number): ProxyError {
  return new ProxyError('overloaded', detail, {
    retryAfterSeconds,
    help: 'Try again after Retry-After seconds.',
  })
}
