// Masks values with suspicious names in JSON that may be cut off anywhere. Nothing after a syntax error is shown.

/** What is done to the names and values of the JSON, which are passed unescaped; `cut` means cut off there. */
export interface JsonMasks {
  isSecretName(name: string): boolean
  maskName(name: string, cut: boolean): string
  maskValue(value: string, cut: boolean): string
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
  /** `{` and `[` that are open. */
  readonly #open: string[] = []
  #expects: 'value' | 'name' | 'colon' | 'comma' = 'value'
  /** Just opened, so it may be closed immediately. */
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
        if (this.#hiddenIn === undefined) this.#shown += '*'
        return { text: this.#shown, broken: true }
      }
    }
    return { text: this.#shown, broken: false }
  }

  /** False if the grammar is broken. */
  #next(): boolean {
    const char = this.#text.charAt(this.#at)
    if (this.#closes(char)) {
      this.#show(char)
      this.#open.pop()
      this.#isEmpty = false
      this.#ended()
      return true
    }
    this.#isEmpty = false
    switch (this.#expects) {
      case 'comma':
        this.#expects = this.#open.at(-1) === '{' ? 'name' : 'value'
        return this.#sign(',', char)
      case 'colon':
        this.#expects = 'value'
        return this.#sign(':', char)
      case 'name':
        return this.#name()
      default:
        return this.#value(char)
    }
  }

  #closes(char: string): boolean {
    if (this.#expects !== 'comma' && !this.#isEmpty) return false
    return this.#open.at(-1) === (char === '}' ? '{' : char === ']' ? '[' : undefined)
  }

  #sign(wanted: string, char: string): boolean {
    if (char !== wanted) return false
    this.#show(char)
    return true
  }

  #name(): boolean {
    const name = this.#string()
    if (name === undefined) return false
    this.#show(name.raw, name.written(this.#masks.maskName(name.value, !name.closed)))
    this.#isSecret = this.#masks.isSecretName(name.value)
    this.#expects = 'colon'
    return true
  }

  #value(char: string): boolean {
    const scalar = this.#peek(SCALAR)
    if (this.#isSecret && this.#hiddenIn === undefined && !LITERALS.includes(scalar ?? '')) {
      this.#shown += '"*"'
      this.#hiddenIn = this.#open.length
    }
    this.#isSecret = false
    if (char === '{' || char === '[') {
      this.#show(char)
      this.#open.push(char)
      this.#isEmpty = true
      this.#expects = char === '{' ? 'name' : 'value'
      return true
    }
    if (char === '"') {
      const string = this.#string()
      if (string === undefined) return false
      this.#show(string.raw, string.written(this.#masks.maskValue(string.value, !string.closed)))
    } else {
      if (scalar === undefined || !this.#isScalar(scalar)) return false
      this.#show(scalar)
    }
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
    if (this.#open.length === this.#hiddenIn) this.#hiddenIn = undefined
    this.#expects = this.#open.length === 0 ? 'value' : 'comma'
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

  /** The string at that place; undefined if it is not valid JSON. */
  #string(): JsonString | undefined {
    const text = this.#text
    const start = this.#at
    if (text.charAt(start) !== '"') return undefined
    let at = start + 1
    while (at < text.length && text.charAt(at) !== '"') {
      const length = text.charAt(at) !== '\\' ? 1 : text.charAt(at + 1) === 'u' ? 6 : 2
      // Cut off within an escape.
      if (at + length > text.length) break
      at += length
    }
    const closed = text.charAt(at) === '"'
    try {
      const value = JSON.parse(`"${text.slice(start + 1, at)}"`) as string
      return new JsonString(closed ? text.slice(start, at + 1) : text.slice(start), value, closed)
    } catch {
      return undefined
    }
  }
}

class JsonString {
  /** As written, with its quotes. */
  readonly raw: string
  readonly value: string
  /** False if it is cut off. */
  readonly closed: boolean

  constructor(raw: string, value: string, closed: boolean) {
    this.raw = raw
    this.value = value
    this.closed = closed
  }

  /** With another value; unchanged if the value is the same. */
  written(value: string): string {
    if (value === this.value) return this.raw
    const text = JSON.stringify(value)
    return this.closed ? text : text.slice(0, -1)
  }
}
