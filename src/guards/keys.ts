// Identifies the caller: finds its key in one of three headers and compares it with every configured key.
import type { Caller, Config, GuardSettings } from '../config/config.ts'
import type { Secret } from '../config/secret.ts'
import { ProxyError } from '../errors.ts'
import { headerValues, type RawHeaders } from '../routing/raw-headers.ts'

/** Who a request is from, as far as keys show. */
export interface Identity {
  /** Undefined for a key of `guard.clientKeys`, and if no keys are required. */
  readonly caller: Caller | undefined
  /** Distinguishes callers in queues and shares; contains no key. Empty if no keys are required. */
  readonly queueKey: string
}

/** The part of the configuration that concerns keys. */
export interface KeySettings extends Partial<Pick<Config, 'callers'>> {
  readonly guard: Pick<GuardSettings, 'clientKeys'>
}

/** The request has a key that is not configured, so it may be a guess. `KeyThrottle` delays the responses to these. */
export class WrongKeyError extends ProxyError {}

const ANYONE: Identity = { caller: undefined, queueKey: '' }

/** Throws `header_required` if `guard.requireHeader` is on and the header is missing. */
export function judgeRequiredHeader(
  guard: Pick<GuardSettings, 'requireHeader'>,
  rawHeaders: RawHeaders,
): void {
  if (!guard.requireHeader) return
  const values = headerValues(rawHeaders, 'procore-proxy-request')
  if (values.length === 1 && values[0] === 'true') return
  throw new ProxyError('header_required', 'The header "Procore-Proxy-Request: true" is missing.')
}

/** Whether callers must send a key: `callers` or `guard.clientKeys` is set. */
export function asksForKeys({ callers, guard }: KeySettings): boolean {
  return guard.clientKeys.length > 0 || (callers?.length ?? 0) > 0
}

/** Whether a header may hold a key; a login and a revocation may have it in their body instead. */
export function hasKeyHeader(rawHeaders: RawHeaders): boolean {
  return ['procore-proxy-key', 'authorization'].some((name) => headerValues(rawHeaders, name).length > 0)
}

/**
 * The caller by its key, which comes in `Procore-Proxy-Key`, as `Authorization: Bearer KEY`, or as the password of
 * `Authorization: Basic` (RFC 7617). A key beside a made-up bearer counts. Throws `key_required` if there is no key, if
 * keys of two callers are sent, and (as a {@link WrongKeyError}) if a key is wrong.
 */
export function identifyCaller(settings: KeySettings, rawHeaders: RawHeaders): Identity {
  if (!asksForKeys(settings)) return ANYONE
  const own = headerValues(rawHeaders, 'procore-proxy-key')
  const authorizations = headerValues(rawHeaders, 'authorization')
  if (own.length > 1) throw keyRequired('The header Procore-Proxy-Key was sent twice.')
  if (authorizations.length > 1) throw keyRequired('The header Authorization was sent twice.')
  const [key] = own
  const inAuthorization = authorizations.flatMap(credentialsIn)
  const byOwn = key === undefined ? [] : identitiesOf(settings, [key])
  if (key !== undefined && byOwn.length === 0)
    throw wrongKey('The key in Procore-Proxy-Key is not configured.')
  const all = [...byOwn, ...identitiesOf(settings, inAuthorization)]
  const [first] = all
  if (first === undefined) {
    if (inAuthorization.length === 0) throw keyRequired('The request has no key.')
    throw wrongKey('The key in Authorization is not configured.')
  }
  if (all.some(({ queueKey }) => queueKey !== first.queueKey)) {
    throw keyRequired('The request holds the keys of two callers.')
  }
  return first
}

/** The identity whose key this secret is, such as the `client_secret` of a login; undefined if it is no key. */
export function identifyKey(settings: KeySettings, secrets: readonly string[]): Identity | undefined {
  return identitiesOf(settings, secrets)[0]
}

// Invariant: every key is compared with everything that was sent, so that timing does not reveal which one matched.
function identitiesOf(settings: KeySettings, sent: readonly string[]): Identity[] {
  const found: Identity[] = []
  for (const { secret, identity } of keysOf(settings)) {
    for (const each of sent) if (secret.equals(each) && each !== '') found.push(identity)
  }
  return found
}

interface Key {
  readonly secret: Secret
  readonly identity: Identity
}

/** Made once for each configuration. */
const keyLists = new WeakMap<KeySettings, readonly Key[]>()

function keysOf(settings: KeySettings): readonly Key[] {
  const known = keyLists.get(settings)
  if (known !== undefined) return known
  const { callers = [], guard } = settings
  const ofCallers = callers.flatMap((caller) =>
    caller.keys.map((secret) => ({ secret, identity: { caller, queueKey: caller.name } })),
  )
  // A caller's name contains no space, so the two cannot be confused.
  const unnamed = guard.clientKeys.map((secret, place) => ({
    secret,
    identity: { caller: undefined, queueKey: `key ${place}` },
  }))
  const keys = [...ofCallers, ...unnamed]
  keyLists.set(settings, keys)
  return keys
}

/** The possible keys in an Authorization header; none for schemes other than Bearer and Basic. */
export function credentialsIn(authorization: string): readonly string[] {
  const [, scheme = '', credentials = ''] = /^\s*(bearer|basic)\s+(\S+)\s*$/i.exec(authorization) ?? []
  if (scheme === '') return []
  if (scheme.toLowerCase() === 'bearer') return [credentials]
  const text = Buffer.from(credentials, 'base64').toString()
  const colon = text.indexOf(':')
  return colon === -1 ? [] : [text.slice(colon + 1)].filter((password) => password !== '')
}

function keyRequired(detail: string): ProxyError {
  return new ProxyError('key_required', detail)
}

function wrongKey(detail: string): ProxyError {
  return new WrongKeyError('key_required', detail)
}
