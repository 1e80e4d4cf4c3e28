// Masks what looks secret in the text of a body that may be cut off: values with suspicious names, credentials, queries of URLs.
import { isSecretName, maskQuery, SECRET, SHORT_SECRET } from './mask.ts'

export interface BodyMask {
  /** The media type, in lower case and without parameters. */
  readonly type: string
  /** The text is only the beginning of the body. */
  readonly cut: boolean
  /** Keeps the queries of URLs, except values with suspicious names. */
  readonly showQueryValues: boolean
}

/** A word in a text that suggests that a secret follows. */
const ANNOUNCED = new RegExp(`${SECRET.source}|\\b${SHORT_SECRET}\\b`, 'i')
const TELLING_TAG = new RegExp(`<[^<>]*(?:${ANNOUNCED.source})`, 'i')

/**
 * The text with `*` for what looks secret. JSON and forms are parsed at any depth, even if they are cut off. After a
 * syntax error, the rest of JSON is `*`. Other text is shown up to the first word that suggests a secret.
 */
export function maskBody(text: string, mask: BodyMask): string {
  const json = looksLikeJson(text) || mask.type.endsWith('json') ? readJson(text, mask, NESTED) : undefined
  if (json !== undefined && !json.broken) return json.text
  if (mask.type === 'application/x-www-form-urlencoded') return maskForm(text, mask)
  if (json !== undefined && mask.type.endsWith('json')) return json.text
  return maskProse(text, mask)
}

/** How deep JSON within strings of JSON is parsed. */
const NESTED = 3

function looksLikeJson(text: string): boolean {
  return /^\s*[{[]/.test(text)
}

function readJson(text: string, mask: BodyMask, nested: number) {
  return maskJson(text, mask.cut, {
    isSecretName,
    maskName: (name, cut) => maskInline(name, { ...mask, cut }),
    maskValue: (value, cut) => maskValue(value, { ...mask, cut }, nested),
  })
}

/** A string of JSON or a form's value, decoded. */
function maskValue(text: string, mask: BodyMask, nested: number): string {
  if (!looksLikeJson(text)) return maskInline(text, mask)
  if (nested === 0) return ANNOUNCED.test(text) ? '*' : maskInline(text, mask)
  const json = readJson(text, mask, nested - 1)
  return json.broken ? maskInline(text, mask) : json.text
}

function maskProse(text: string, mask: BodyMask): string {
  const announced = ANNOUNCED.exec(text)
  if (announced === null) return maskCredentials(text, mask)
  const end = announced.index + announced[0].length
  return maskCredentials(text.slice(0, end), { ...mask, cut: false }) + (text.length > end ? '*' : '')
}

// --- within a text -----------------------------------------------------------------------------------------------------

const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g
const JWT = /\beyJ[\w-]+\.[\w-]*(?:\.[\w-]*)?/g
/**
 * A suspicious name, a separator, and a value: in quotes, in brackets (then everything that follows), or up to a
 * space.
 */
const PAIR = new RegExp(
  `((?:${ANNOUNCED.source})[\\w.%[\\]-]*\\\\*["']?\\s*(?:=>|[:=]|%3[da])\\s*)` +
    `(?:\\\\*"(?:[^"\\\\]|\\\\[\\s\\S])*"?|'[^']*'?|[[{][\\s\\S]*|(?:(?:bearer|basic|digest|token)\\s+)?[^\\s&,;"'<>)}\\]]+)`,
  'gi',
)

function maskInline(text: string, mask: BodyMask): string {
  // Markup has too many ways to write a value next to its name.
  return TELLING_TAG.test(text) ? maskProse(text, mask) : maskCredentials(text, mask)
}

function maskCredentials(text: string, mask: BodyMask): string {
  return maskUrls(text, mask)
    .replace(PRIVATE_KEY, '*')
    .replace(/\b(bearer)\s+[^\s"'<>,;]+/gi, '$1 *')
    .replace(JWT, '*')
    .replace(PAIR, '$1*')
}

function maskUrls(text: string, { cut, showQueryValues }: BodyMask): string {
  if (!text.includes('//') && !text.startsWith('/')) return text
  let masked = text.replace(/(:\/\/)[^\s/?#<>"'@]*@/g, '$1*@')
  // If the text is cut off before the @, a password looks like a port.
  if (cut) masked = masked.replace(/(:\/\/)[^\s/?#<>"'@:]*:[^\s/?#<>"'@]*$/, '$1*')
  return showQueryValues ? masked : masked.replace(/\?[^\s<>"]+/g, maskQuery)
}

// --- forms -------------------------------------------------------------------------------------------------------------

function maskForm(text: string, mask: BodyMask): string {
  return text
    .split('&')
    .map((pair, index, { length }) => {
      const equals = pair.indexOf('=')
      if (equals === -1) return pair.trim() === '' ? pair : '*'
      const name = pair.slice(0, equals)
      const value = unescaped(pair.slice(equals + 1))
      const cut = mask.cut && index === length - 1
      const isShown = !isSecretName(unescaped(name)) && maskValue(value, { ...mask, cut }, NESTED) === value
      return isShown || value === '' ? pair : `${name}=*`
    })
    .join('&')
}

/** Decodes ASCII only, which is enough to recognize names. Anything else stays unchanged. */
function unescaped(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/%([0-7][0-9a-f])/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}

/** What is done to the names and values of the JSON, which are passed unescaped; `cut` means cut off there. */
export interface JsonMasks {
  readonly isSecretName: (name: string) => boolean
  readonly maskName: (name: string, cut: boolean) => string
  readonly maskValue: (value: string, cut: boolean) => string
}

/**
 * One or several JSON texts, with `"*"` for each value with a suspicious name. `true`, `false` and `null` stay,
 * because they reveal nothing. `cut` means that the end of the text is missing. If the text is `broken`, that is, not
 * JSON, the rest became `*`.
 */
export function maskJson(text: string, cut: boolean, masks: JsonMasks) {
  return new Reader(text, cut, masks).read()
}

const BLANK = /[ \t\n\r]+/y
const SCALAR = /[-+.\w]+/y
const NUMBER = /^-?\d+(?:\.\d+)?(?:e[-+]?\d+)?$/i
const LITERALS = ['true', 'false', 'null', 'NaN', 'Infinity', '-Infinity']

class Reader {
  readonly #text: string
  readonly #cut: boolean
  readonly #masks: JsonMasks
  #at = 0
  #shown = ''
  /** The signs that will close what is open. */
  readonly #closers: string[] = []
  #expects: 'value' | 'name' | ':' | ',' = 'value'
  /** Just opened: it may be closed at once. */
  #isEmpty = false
  /** The last name was suspicious. */
  #isSecret = false
  /** How many are open around the hidden value; undefined if no value is hidden. */
  #hiddenIn: number | undefined

  constructor(text: string, cut: boolean, masks: JsonMasks) {
    this.#text = text
    this.#cut = cut
    this.#masks = masks
  }

  read(): { readonly text: string; readonly broken: boolean } {
    while (this.#at < this.#text.length) {
      const blank = this.#peek(BLANK)
      if (blank !== undefined) this.#show(blank)
      else if (!this.#next()) {
        return { text: this.#hiddenIn === undefined ? `${this.#shown}*` : this.#shown, broken: true }
      }
    }
    return { text: this.#shown, broken: false }
  }

  /** False if the grammar is broken. */
  #next(): boolean {
    const char = this.#text.charAt(this.#at)
    const expects = this.#expects
    const mayClose = this.#isEmpty || expects === ','
    this.#isEmpty = false
    if (mayClose && char === this.#closers.at(-1)) {
      this.#closers.pop()
      this.#show(char)
      this.#ended()
      return true
    }
    if (expects === 'value') return this.#value(char)
    if (expects === 'name') {
      const name = this.#string(this.#masks.maskName)
      this.#isSecret = name !== undefined && this.#masks.isSecretName(name)
      this.#expects = ':'
      return name !== undefined
    }
    if (char !== expects) return false
    this.#show(char)
    this.#expects = expects === ',' && this.#closers.at(-1) === '}' ? 'name' : 'value'
    return true
  }

  #value(char: string): boolean {
    const scalar = this.#peek(SCALAR)
    if (this.#isSecret && this.#hiddenIn === undefined && !LITERALS.includes(scalar ?? '')) {
      this.#shown += '"*"'
      this.#hiddenIn = this.#closers.length
    }
    this.#isSecret = false
    if (char === '{' || char === '[') {
      this.#show(char)
      this.#closers.push(char === '{' ? '}' : ']')
      this.#isEmpty = true
      this.#expects = char === '{' ? 'name' : 'value'
      return true
    }
    if (scalar !== undefined && this.#isScalar(scalar)) this.#show(scalar)
    else if (this.#string(this.#masks.maskValue) === undefined) return false
    this.#ended()
    return true
  }

  #isScalar(text: string): boolean {
    if (NUMBER.test(text) || LITERALS.includes(text)) return true
    if (!this.#cut || this.#at + text.length < this.#text.length) return false
    return /^-?[\d.e+-]*$/i.test(text) || LITERALS.some((literal) => literal.startsWith(text))
  }

  /** A value ended. */
  #ended(): void {
    if (this.#closers.length === this.#hiddenIn) this.#hiddenIn = undefined
    this.#expects = this.#closers.length === 0 ? 'value' : ','
  }

  /** Skips the text at that place, and shows it, or shows `shown` instead. */
  #show(raw: string, shown = raw): void {
    this.#at += raw.length
    if (this.#hiddenIn === undefined) this.#shown += shown
  }

  #peek(sticky: RegExp): string | undefined {
    sticky.lastIndex = this.#at
    return sticky.exec(this.#text)?.[0]
  }

  /** Shows the string at that place, masked, and returns it as it was; undefined if it is not valid JSON. */
  #string(mask: JsonMasks['maskValue']): string | undefined {
    const text = this.#text
    const start = this.#at
    if (text[start] !== '"') return undefined
    let end = start + 1
    while (end < text.length && text[end] !== '"') {
      let length = 1
      if (text[end] === '\\') length = text[end + 1] === 'u' ? 6 : 2
      // Cut off within an escape.
      if (end + length > text.length) break
      end += length
    }
    const isClosed = text[end] === '"'
    let value: string
    try {
      value = JSON.parse(`"${text.slice(start + 1, end)}"`) as string
    } catch {
      return undefined
    }
    const masked = mask(value, !isClosed)
    const raw = isClosed ? text.slice(start, end + 1) : text.slice(start)
    const written = JSON.stringify(masked)
    this.#show(raw, masked === value ? raw : written.slice(0, isClosed ? undefined : -1))
    return value
  }
}
