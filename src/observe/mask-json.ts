// Masks values with suspicious names in JSON that may be cut off anywhere. Nothing after a syntax error is shown.

/** What is done to the names and values of the JSON, which are passed unescaped; `cut` means cut off there. */
export interface JsonMasks {
  readonly isSecretName: (name: string) => boolean
  readonly maskName: (name: string, cut: boolean) => string
  readonly maskValue: (value: string, cut: boolean) => string
}

export interface MaskedJson {
  readonly text: string
  /** The text is not JSON, so the rest became `*`. */
  readonly broken: boolean
}

/**
 * One or several JSON texts, with `"*"` for each value with a suspicious name. `true`, `false` and `null` stay,
 * because they reveal nothing. `cut` means that the end of the text is missing.
 */
export function maskJson(text: string, cut: boolean, masks: JsonMasks): MaskedJson {
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

  read(): MaskedJson {
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
    if (expects === 'name') return this.#name()
    if (char !== expects) return false
    this.#show(char)
    this.#expects = expects === ',' && this.#closers.at(-1) === '}' ? 'name' : 'value'
    return true
  }

  #name(): boolean {
    const name = this.#string(this.#masks.maskName)
    this.#isSecret = name !== undefined && this.#masks.isSecretName(name)
    this.#expects = ':'
    return name !== undefined
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
