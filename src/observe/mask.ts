// Makes text safe to show: masks what may be secret (query values, header values, known secrets), and escapes what affects a terminal.
import type { Config } from '../config/config.ts'

/** The target with `*` in place of a user name and password, which only a target that is refused can have. */
export function maskUser(target: string): string {
  return target.startsWith('/') ? target : target.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/?#]*@/i, '$1*@')
}

/** The same, with `*` also in place of every query value, because values may be signatures or personal data. */
export function maskQuery(target: string): string {
  target = maskUser(target)
  const mark = target.indexOf('?')
  if (mark === -1) return target
  const pairs = target.slice(mark + 1).split('&')
  const masked = pairs.map((pair) => (pair.includes('=') ? `${pair.slice(0, pair.indexOf('='))}=*` : '*'))
  return `${target.slice(0, mark)}?${masked.join('&')}`
}

/** Anywhere in a name, or in a text. */
export const SECRET =
  /pass[^a-z0-9]?(?:w(?:or)?d|phrase|code)|pwd|secret|token|(?:api|access|private|client)[^a-z0-9]?key|authorization|credential|signature|cookie|jwt|assertion|session[^a-z0-9]?id/i
/** Too short for that: as the last word of a name. */
export const SHORT_SECRET = '(?:auth|bearer|sig|sid|pin|otp|ssn|cvv|cvc)'
const ENDS_IN_SHORT_SECRET = new RegExp(`(?:^|[^a-z0-9])${SHORT_SECRET}[^a-z0-9]*$`, 'i')

/** Whether the value with this name (of a header, JSON member or form field) is likely to be secret. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name) || ENDS_IN_SHORT_SECRET.test(name)
}

/**
 * A header's value with secrets masked: queries of URLs, and the whole value if the header's name suggests a secret.
 */
export function maskHeader(name: string, value: string): string {
  if (isSecretName(name)) return '*'
  if (!value.includes('?')) return value
  if (!value.includes('://') && !/link|location|refresh/i.test(name)) return value
  return value.replace(/\?[^\s<>"',;]*/g, maskQuery)
}

/** Control characters but line feeds, including those of Latin-1, and characters that change the writing direction. */
const STEERS_A_TERMINAL = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** The text with an escape for each character that could affect a terminal. */
export function printable(text: string): string {
  return printableLines(text).replaceAll('\n', '\\u000a')
}

/** The same for a text of several lines. JSON keeps its meaning, because there such characters are in strings only. */
export function printableLines(text: string): string {
  return text.replace(STEERS_A_TERMINAL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A shorter secret would hide too much other text. This much of each, its end, is what a text is searched for. */
const SHORTEST = 8
/** How many tokens are remembered, the newest ones, and how many secrets of earlier configurations. */
const MOST_TOKENS = 256
const MOST_EARLIER = 256

/** The secrets that this process knows: those of its configurations, and the newest tokens that it was issued. */
export class KnownSecrets {
  readonly #configured = new Set<string>()
  readonly #tokens = new Set<string>()
  /** Undefined until it is needed. */
  #search: Search | undefined
  #withBase64: Search | undefined

  /** Adds the secrets of a configuration. Those of earlier ones may still be valid, and come back from Procore. */
  configure(config: Config): void {
    const secrets = secretsOf(config)
    this.#remember(this.#configured, secrets, new Set(secrets).size + MOST_EARLIER)
  }

  /** Remembers an access token. */
  issued(token: string): void {
    this.#remember(this.#tokens, [token], MOST_TOKENS)
  }

  #remember(known: Set<string>, secrets: readonly string[], most: number): void {
    for (const secret of secrets) {
      known.delete(secret)
      known.add(secret)
    }
    for (const oldest of [...known].slice(0, Math.max(0, known.size - most))) known.delete(oldest)
    this.#search = undefined
    this.#withBase64 = undefined
  }

  /** True if the text contains a known secret: unchanged, percent-encoded, escaped as in JSON or in Base64. */
  isIn(text: string): boolean {
    this.#withBase64 ??= searchFor(this.#all(), base64Forms)
    return !placesIn(text, this.#withBase64).next().done
  }

  /** The text with `*` for each known secret. */
  readonly conceal = (text: string): string => {
    this.#search ??= searchFor(this.#all())
    if (!this.#search.ends.test(text)) return text
    const places: { start: number; end: number }[] = []
    for (const { start, end } of placesIn(text, this.#search)) {
      let first = start
      // One secret may be the beginning of another, or overlap it.
      while ((places.at(-1)?.end ?? 0) > start) first = Math.min(first, places.pop()?.start as number)
      places.push({ start: first, end })
    }
    let shown = ''
    let at = 0
    for (const { start, end } of places) {
      shown += `${text.slice(at, start)}*`
      at = end
    }
    return shown + text.slice(at)
  }

  #all(): readonly string[] {
    return [...this.#configured, ...this.#tokens]
  }
}

/** What the Base64 or base64url of any text with this secret contains: it depends on the place in a group of 3 bytes. */
function base64Forms(secret: string): string[] {
  return [0, 1, 2].flatMap((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)])
    // The characters at both ends depend on the text around it too.
    const own = (coding: BufferEncoding) =>
      bytes.toString(coding).slice(Math.ceil((before * 8) / 6), Math.floor((bytes.length * 8) / 6))
    return [own('base64'), encodeURIComponent(own('base64')), own('base64url')]
  })
}

/**
 * The forms of secrets, in lower case, by their last characters, and a pattern of these. They tell long tokens apart, which
 * often begin alike. A pattern of whole tokens would take V8 a millisecond for each.
 */
interface Search {
  readonly ends: RegExp
  /** The longest first. */
  readonly forms: ReadonlyMap<string, readonly string[]>
}

function searchFor(secrets: readonly string[], more: typeof base64Forms = () => []): Search {
  const forms = secrets
    .filter(({ length }) => length >= SHORTEST)
    .flatMap((secret) => [
      ...[secret, encodeURIComponent(secret.toWellFormed()), JSON.stringify(secret).slice(1, -1)],
      ...more(secret),
    ])
    .map((form) => form.toLowerCase())
    .sort((a, b) => b.length - a.length)
  const byEnd = Map.groupBy(new Set(forms), (form) => form.slice(-SHORTEST))
  // Without a secret it matches nothing.
  return { ends: new RegExp([...byEnd.keys()].map(RegExp.escape).join('|') || '(?!)', 'i'), forms: byEnd }
}

/** Where the text contains a secret, by the end of each place. */
function* placesIn(text: string, { ends, forms }: Search): Generator<{ start: number; end: number }, void> {
  const all = new RegExp(ends, 'gi')
  for (let found = all.exec(text); found !== null; found = all.exec(text)) {
    const end = found.index + SHORTEST
    all.lastIndex = found.index + 1
    const isAt = (form: string) => text.slice(Math.max(0, end - form.length), end).toLowerCase() === form
    const form = forms.get(found[0].toLowerCase())?.find(isAt)
    if (form !== undefined) yield { start: end - form.length, end }
  }
}

function secretsOf({ accounts, guard, callers, network, shared }: Config): string[] {
  const authorization = network.proxy?.authorization?.reveal()
  const password = shared && new URL(shared.url.reveal()).password
  return [
    ...accounts.map(({ clientSecret }) => clientSecret.reveal()),
    ...guard.clientKeys.map((key) => key.reveal()),
    ...callers.flatMap(({ keys }) => keys.map((key) => key.reveal())),
    ...(authorization === undefined ? [] : [authorization, authorization.replace(/^\S+ /, '')]),
    ...(password ? [password, decodeURIComponent(password)] : []),
  ]
}
