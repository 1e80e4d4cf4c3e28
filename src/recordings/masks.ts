// Masks what must not be in a recording: in queries, in URLs within text, and in JSON bodies.
import { maskJson } from '../observe/mask-body.ts'

/** Names of query parameters whose values are credentials: those of signed URLs (AWS, Google, Azure) and their like. */
const SECRET_PARAMETER =
  /signature|token|secret|passw|credential|api[-_]?key|jwt|assertion|^(?:sig|auth|policy|key-pair-id|session[-_]?id)$/i
/** Names that belong to a credential only if the value is long; a short one, as in `code=404`, tells requests apart. */
const OFTEN_HARMLESS = /^(?:key|code)$/i
const LEAST_CREDENTIAL_LENGTH = 16
// Of a text of megabytes, `{40,}` would take more stack than there is; `{40}` and then `*` takes none.
/** A JWT, or a digest in hex. */
const SIGNATURE = /^(?:eyJ[\w-]+\..*|[0-9a-f]{40}[0-9a-f]*)$/
/** The beginning of a random key in Base64, which may be percent-encoded, and what such a key does not contain. */
const RANDOM_KEY = /^(?=.*\d)(?=.*[a-z])(?=.*[A-Z])(?:[\w/=.~-]|%2[bBfF]|%3[dD]){40}/
const NOT_IN_A_KEY = /[^\w/=.~%-]|%(?!2[bBfF]|3[dD])/
/** Members of JSON and fields of forms that hold credentials, in any spelling: case, `-` and `_` do not matter. */
const SECRET_MEMBERS = [
  'token',
  'auth_token',
  'session_token',
  'api_token',
  'access_token',
  'refresh_token',
  'id_token',
  'client_secret',
  'secret',
  'password',
  'api_key',
  'private_key',
  'authorization',
  'cookie',
  'x-amz-signature',
  'x-amz-credential',
  'x-amz-security-token',
]

/** The query (raw, without `?`) with `*` for each value that is a credential or looks like one. */
export function maskQueryValues(query: string): string {
  return maskPairs(query, isSecretPair)
}

function maskPairs(text: string, isSecret: (name: string, value: string) => boolean): string {
  return text.replace(/(?<=^|&)([^&=]*)=([^&]*)/g, (pair, name: string, value: string) =>
    isSecret(name, value) ? `${name}=*` : pair,
  )
}

function isSecretPair(name: string, value: string): boolean {
  const plain = decoded(name)
  const isSecretName =
    SECRET_PARAMETER.test(plain) || (value.length >= LEAST_CREDENTIAL_LENGTH && OFTEN_HARMLESS.test(plain))
  return value !== '' && (isSecretName || looksRandom(value))
}

function looksRandom(value: string): boolean {
  return SIGNATURE.test(value) || (RANDOM_KEY.test(value) && !NOT_IN_A_KEY.test(value))
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

/** A parameter within a text; JSON may write the `&` before it as `\u0026`, HTML as `&amp;`. */
const PARAMETER = /([?&;]|\\u0026)([\w.%[\]-]{1,100})=([^&"'\s<>\\,;]+)/g

/** Credentials and JWTs are recognized anywhere in a text. */
const CREDENTIALS = /\b(bearer|basic) +[\w+/=.~-]{16}[\w+/=.~-]*/gi
/** Without its group, it only begins like a JWT. That is matched too, because a search within it would take quadratic time. */
const JWT = /\beyJ[\w-]{8}[\w-]*(\.[\w-]*(?:\.[\w-]*)?)?/gi

const MAY_HOLD_TOKEN = /eyJ|[Bb][Ee][Aa][Rr][Ee][Rr] |[Bb][Aa][Ss][Ii][Cc] /

/** The text with `*` for such values in the queries of all URLs in it, and for tokens. */
export function maskText(text: string): string {
  const masked = MAY_HOLD_TOKEN.test(text) ? withoutTokens(text) : text
  if (!masked.includes('=')) return masked
  return masked.replace(PARAMETER, (pair, before: string, name: string, value: string) =>
    isSecretPair(name, value) ? `${before}${name}=*` : pair,
  )
}

function withoutTokens(text: string): string {
  return text
    .replace(CREDENTIALS, '$1 *')
    .replace(JWT, (found, rest?: string) => (rest === undefined ? found : '*'))
}

/** Masks members of JSON bodies by name. */
export class MemberMask {
  #names: ReadonlySet<string> = new Set()
  /** Whether a text may contain one of them; an escape in a name could hide it. */
  #mayHold = /^/

  /** The names that are masked in addition to those that are always masked. */
  redact: readonly string[] = []

  constructor(redact: readonly string[]) {
    this.configure(redact)
  }

  configure(redact: readonly string[]): void {
    this.redact = redact
    this.#names = new Set([...SECRET_MEMBERS, ...redact].map(folded))
    const letters = [...this.#names].map((name) => [...name].map(RegExp.escape).join('[-_]*'))
    const first = [...new Set([...this.#names].map((name) => RegExp.escape(name.charAt(0))))].join('')
    this.#mayHold = new RegExp(`"[-_]*(?=[${first}])(?:${letters.join('|')})[-_]*"|\\\\u00`, 'i')
  }

  /**
   * The JSON with `"*"` for each value with such a name. Everything else, including digits of numbers, stays
   * unchanged. Undefined if the text may contain such a name but is not valid JSON.
   */
  masked(json: string): string | undefined {
    if (!this.#mayHold.test(json)) return json
    const { text, broken } = maskJson(json, false, {
      isSecretName: (name) => this.#names.has(folded(name)),
      maskName: (name) => name,
      maskValue: (value) => value,
    })
    return broken ? undefined : text
  }

  /** A form (application/x-www-form-urlencoded) with `*` for each value under such a name. */
  maskedForm(form: string): string {
    return maskPairs(form, (name, value) => this.#isSecretField(decoded(name), value))
  }

  /** A form (multipart/form-data, RFC 7578) likewise. */
  maskedParts(form: string, boundary: string): string {
    const delimiter = `--${boundary}`
    return form
      .split(delimiter)
      .map((part) => {
        const [head = ''] = /^.*?\r?\n\r?\n/s.exec(part) ?? []
        const name = FIELD_NAME.exec(head.replace(FOLD, ' '))?.[1]
        const value = part.slice(head.length).replace(/\r?\n$/, '')
        if (name === undefined || !this.#isSecretField(name, value)) return part
        return `${head}*${part.slice(head.length + value.length)}`
      })
      .join(delimiter)
  }

  #isSecretField(name: string, value: string): boolean {
    return this.#names.has(folded(name)) || isSecretPair(name, value)
  }
}

/** In the headers of a part of a multipart form; also `name*=UTF-8''…` (RFC 5987). */
const FIELD_NAME =
  /^content-disposition\s*:(?:[^"\r\n]|"(?:\\.|[^"\\\r\n])*")*?[\s;]name\*?\s*=\s*(?:[\w-]*'[\w-]*'|"?)([^";\r\n]*)/im
/** A header that goes on in the next line. */
const FOLD = /\r?\n[ \t]+/g

function folded(name: string): string {
  return name.replace(/[-_]/g, '').toLowerCase()
}
