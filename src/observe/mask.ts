// Makes text safe to show: masks what may be secret (query values, header values, known secrets), and escapes what affects a terminal.
import type { Config } from '../config/config.ts'

/** The target with every query value replaced by `*`, because values may be signatures or personal data. */
export function maskQuery(target: string): string {
  const mark = target.indexOf('?')
  if (mark === -1) return target
  const pairs = target.slice(mark + 1).split('&')
  const masked = pairs.map((pair) => (pair.includes('=') ? `${pair.slice(0, pair.indexOf('='))}=*` : '*'))
  return `${target.slice(0, mark)}?${masked.join('&')}`
}

/**
 * A header's value with secrets masked: queries of URLs, and the whole value if the header's name suggests a secret.
 */
export function maskHeader(name: string, value: string): string {
  if (/cookie|token|authorization|secret|api-?key/i.test(name)) return '*'
  if (!value.includes('?')) return value
  if (!value.includes('://') && !/link|location|refresh/i.test(name)) return value
  return value.replace(/\?[^\s<>"',;]*/g, maskQuery)
}

/** Control characters, including those of Latin-1, and characters that change the writing direction. */
const STEERS_A_TERMINAL = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g

/** The text with an escape for each character that could affect a terminal. */
export function printable(text: string): string {
  return text.replace(STEERS_A_TERMINAL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A shorter secret would hide too much other text. */
const SHORTEST = 8
/** How many tokens are remembered, newest first. */
const MOST_TOKENS = 256

/** The secrets that this process knows: those of its configuration, and the newest tokens that it was issued. */
export class KnownSecrets {
  #configured: readonly string[] = []
  readonly #tokens = new Set<string>()
  /** Undefined until it is needed; null if there is nothing to hide. */
  #pattern: RegExp | null | undefined

  /** Replaces the secrets of the previous configuration. */
  configure(config: Config): void {
    this.#configured = secretsOf(config)
    this.#pattern = undefined
  }

  /** Remembers an access token. */
  issued(token: string): void {
    this.#tokens.delete(token)
    this.#tokens.add(token)
    const [oldest] = this.#tokens
    if (this.#tokens.size > MOST_TOKENS) this.#tokens.delete(oldest as string)
    this.#pattern = undefined
  }

  /** True if the text contains a known secret: unchanged, percent-encoded or escaped as in JSON. */
  isIn(text: string): boolean {
    return this.#current()?.test(text) ?? false
  }

  /** The text with `*` for each known secret. */
  readonly conceal = (text: string): string => {
    const pattern = this.#current()
    return pattern?.test(text) ? text.replace(new RegExp(pattern, 'gi'), '*') : text
  }

  #current(): RegExp | null {
    this.#pattern ??= patternOf([...this.#configured, ...this.#tokens])
    return this.#pattern
  }
}

function patternOf(secrets: readonly string[]): RegExp | null {
  const forms = secrets
    .filter(({ length }) => length >= SHORTEST)
    .flatMap((secret) => [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)])
    // If one secret is the beginning of another, the longer one has to be found first.
    .sort((a, b) => b.length - a.length)
  return forms.length === 0 ? null : new RegExp([...new Set(forms)].map(RegExp.escape).join('|'), 'i')
}

function secretsOf({ accounts, guard, callers, network, shared }: Config): string[] {
  const authorization = network.proxy?.authorization?.reveal()
  const password = shared === undefined ? undefined : new URL(shared.url.reveal()).password
  return [
    ...accounts.map(({ clientSecret }) => clientSecret.reveal()),
    ...guard.clientKeys.map((key) => key.reveal()),
    ...callers.flatMap(({ keys }) => keys.map((key) => key.reveal())),
    ...(authorization === undefined ? [] : [authorization, authorization.replace(/^\S+ /, '')]),
    ...(password ? [password, decodeURIComponent(password)] : []),
  ]
}
