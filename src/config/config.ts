// The resolved configuration, which the rest of the program reads. load.ts makes it; it is frozen and never changes.
import { timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'
import type { AccessSettings, Settings } from './schema.ts'

/** A pair of Procore origins. Origins have no path and no trailing slash: `https://api.procore.com`. */
export interface Environment {
  readonly name: string
  readonly loginUrl: string
  readonly apiUrl: string
  /** The domain whose hosts serve files, e.g. `procore.com`. */
  readonly fileDomain: string
  /** The hosts that serve files: names in lower case, `*.` for all hosts below one. Absent: all hosts of `fileDomain`. */
  readonly fileHosts?: readonly string[]
}

/** A client id and secret in one environment (client credentials grant, RFC 6749 section 4.4). */
export interface ServiceAccount {
  /** Its name under `serviceAccounts`, or the name of its company if it is written there. No two have one name. */
  readonly name: string
  /** The key path at which it is written: `serviceAccounts.app`. */
  readonly place: string
  readonly environment: Environment
  readonly clientId: string
  readonly clientSecret: Secret
  /** Equal for two accounts exactly if login origin, client id and secret are equal; reveals nothing about the secret. */
  readonly key: string
  /** A sentence about what is probably wrong with the client id or secret (spaces, quotes, …) that contains no part of it. */
  readonly secretFlaw?: string | undefined
}

/** Where the proxy listens. A unix socket's `mode` is its permission bits, e.g. `0o600`. */
export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number }

export type Access = NonNullable<AccessSettings['access']>

/** An access rule: the first one that matches a request decides. */
export interface AccessRule {
  readonly effect: 'allow' | 'deny'
  /** Upper case; undefined for every method. */
  readonly methods: readonly string[] | undefined
  /** `*` matches any characters within a segment, `**` any characters at all; all others match themselves. */
  readonly patterns: readonly string[]
  /** The same patterns in lower case. */
  readonly foldedPatterns: readonly string[]
}

/** A company that callers work in; `id` is a decimal string, never a number (ids exceed 2^53). */
export interface Company {
  readonly name: string
  readonly id: string
  readonly account: ServiceAccount
  readonly isDefault: boolean
  readonly listen: ListenAddress | undefined
  /** Like {@link Config.publicUrl}, for requests that arrive at `listen`. */
  readonly publicUrl?: string | undefined
  /** What applies if no rule matches. */
  readonly access: Access
  readonly rules: readonly AccessRule[]
  /** Whether file URLs in JSON responses are rewritten to the proxy's own `/_proxy/files/…`; absent means false. */
  readonly rewriteFileUrls?: boolean
}

/** The `"*"` entry, for ids that a request names and that no company has. */
export type AnyCompany = Omit<Company, 'name' | 'id' | 'isDefault' | 'listen'>

export interface UpstreamSettings
  extends Readonly<Pick<Settings['upstream'], 'connections' | 'maxQueued' | 'retries'>> {
  readonly connectTimeoutMs: number
  /** Until the first byte of the response, then between bytes. */
  readonly responseTimeoutMs: number
  /** `auto`: the proxy asks for gzip if the caller sends no Accept-Encoding, and unpacks it; absent means `off`. */
  readonly compression?: 'auto' | 'off'
}

/** An HTTP proxy between this machine and Procore. */
export interface OutboundProxy {
  /** `http://proxy.example.com:3128`, without credentials. */
  readonly origin: string
  /** The value of `Proxy-Authorization`. */
  readonly authorization: Secret | undefined
}

/** A host that is reached without the outbound proxy. */
export interface NoProxyEntry {
  /** In lower case, including all hosts below it; `*` means every host. */
  readonly host: string
  /** Undefined for every port. */
  readonly port: number | undefined
}

/** How the login servers and the API are reached. */
export interface NetworkSettings {
  /** Undefined: directly. */
  readonly proxy: OutboundProxy | undefined
  readonly noProxy: readonly NoProxyEntry[]
  /** In PEM; trusted in addition to those that Node trusts. */
  readonly certificates: readonly string[]
  /** Equal for two exactly if all settings are equal, including the proxy's credentials; reveals nothing about them. */
  readonly key: string
}

export interface RateLimitSettings extends Readonly<Omit<Settings['rateLimit'], 'maxWait'>> {
  readonly maxWaitMs: number
}

/** Hosts are lower case, without port or trailing dot; origins are serialized: `https://app.example`. */
export interface GuardSettings extends Readonly<Omit<Settings['guard'], 'clientKeys'>> {
  readonly clientKeys: readonly Secret[]
}

export type LogSettings = Readonly<Settings['log']>
/** What the status page remembers: how many requests, and whether with values of queries and beginnings of bodies. */
export type InspectorSettings = Readonly<Settings['inspector']>
/** Where the audit log is written (`audit:`); an absolute path. */
export type AuditSettings = Readonly<NonNullable<Settings['audit']>>
/** Whole lists in one request (`lists:`). */
export type ListSettings = Readonly<Settings['lists']>
/** Recorded calls: the names of members of JSON bodies whose values are masked (`recordings:`). */
export type RecordingSettings = Readonly<Settings['recordings']>

/** A caller with a name and permissions of its own (`callers:`). */
export interface Caller {
  readonly name: string
  /** One, or several while a key is replaced. */
  readonly keys: readonly Secret[]
  /** Names of companies; undefined for all. */
  readonly companies: readonly string[] | undefined
  /** The most that it may do; the company's own access applies too. */
  readonly access: Access
  readonly rules: readonly AccessRule[]
  /** Project ids, as text; undefined for all. */
  readonly projects: readonly string[] | undefined
  /** The largest part (0 to 1) of a rate window that it may use while others wait or have called within it. */
  readonly share: number | undefined
}

/** Responses that are served again without asking Procore (`cache:`). All off by default. */
export interface CacheSettings extends Readonly<Pick<Settings['cache'], 'coalesce'>> {
  readonly keep: readonly CacheKeepRule[]
  /** How long Procore's 403 and 404 are served again; 0 means not at all. */
  readonly refusalsMs: number
  /** Of all that is kept. */
  readonly sizeBytes: number
}

export interface CacheKeepRule {
  /** As in {@link AccessRule}. */
  readonly patterns: readonly string[]
  readonly forMs: number
  /** The greatest age while the budget is used up; 0 means no older than `forMs`. */
  readonly whenExhaustedMs: number
}

/** Redis or Valkey, by which replicas share one budget and one token (`shared:`). */
export interface SharedSettings
  extends Readonly<Pick<NonNullable<Settings['shared']>, 'prefix' | 'whenDown'>> {
  /** `redis://` or `rediss://`, with user and password if needed. */
  readonly url: Secret
  /** The longest time that a request waits for it. */
  readonly timeoutMs: number
}

export interface Config {
  /** The absolute path of its file; undefined if variables and flags were enough. */
  readonly file: string | undefined
  readonly listen: readonly ListenAddress[]
  /** The URL at which callers reach the proxy through a server in front of it: http(s), without a trailing slash. */
  readonly publicUrl?: string | undefined
  /** Every service account, shared ones first, even if no company uses it. */
  readonly accounts: readonly ServiceAccount[]
  /** In the order of the file, but names that are whole numbers come first. */
  readonly companies: readonly Company[]
  readonly anyCompany: AnyCompany | undefined
  readonly upstream: UpstreamSettings
  readonly network: NetworkSettings
  readonly rateLimit: RateLimitSettings
  readonly guard: GuardSettings
  readonly log: LogSettings
  readonly inspector: InspectorSettings
  readonly callers: readonly Caller[]
  readonly audit?: AuditSettings | undefined
  readonly lists: ListSettings
  readonly cache: CacheSettings
  readonly recordings: RecordingSettings
  readonly shared?: SharedSettings | undefined
  /** An address that serves health and metrics and nothing else (`metrics.listen`). */
  readonly metricsListen?: ListenAddress | undefined
  readonly shutdownTimeoutMs: number
  /** Sentences for the log about settings that are allowed but unwise. */
  readonly warnings: readonly string[]
  /** Absolute paths of the files whose changes reload the configuration: its file, every secret's file, `network.caFile`. */
  readonly watchedFiles: readonly string[]
}

/** Procore's own environments, which need no configuration; `production` includes On-Demand Sandboxes. */
export const BUILT_IN_ENVIRONMENTS: readonly Environment[] = [
  ['production', 'login.procore.com', 'api.procore.com', 'procore.com'] as const,
  ['sandbox', 'login-sandbox.procore.com', 'sandbox.procore.com', 'procore.com'] as const,
  ['monthly-sandbox', 'login-sandbox-monthly.procore.com', 'api-monthly.procore.com', 'procore.com'] as const,
  ['federal', 'login.procoregov.com', 'api.procoregov.com', 'procoregov.com'] as const,
].map(([name, login, api, fileDomain]) => {
  return { name, loginUrl: `https://${login}`, apiUrl: `https://${api}`, fileDomain }
})

/** A client secret or a key. Every way to turn it into text gives `[secret]`; only {@link Secret.reveal} gives the value. */
export class Secret {
  readonly #value: string
  #bytes: Buffer | undefined

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself, for the one place that has to send it. */
  reveal(): string {
    return this.#value
  }

  /** Compares in a time that depends neither on where the two differ nor on the secret's length. */
  equals(other: string): boolean {
    this.#bytes ??= Buffer.from(this.#value)
    const presented = Buffer.from(other)
    const sameLength = presented.length === this.#bytes.length
    return timingSafeEqual(this.#bytes, sameLength ? presented : this.#bytes) && sameLength
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}
