// Masks what looks secret in the text of a body: values with suspicious names, credentials, queries of URLs.
import { maskQuery } from './mask.ts'
import { type MaskedJson, maskJson } from './mask-json.ts'

export interface BodyMask {
  /** The media type, in lower case and without parameters. */
  readonly type: string
  /** The text is only the beginning of the body. */
  readonly cut: boolean
  /** Keeps the queries of URLs, except values with suspicious names. */
  readonly showQueryValues: boolean
}

/** Anywhere in a name, or in a text. */
const SECRET =
  /pass[^a-z0-9]?(?:w(?:or)?d|phrase|code)|pwd|secret|token|(?:api|access|private|client)[^a-z0-9]?key|authorization|credential|signature|cookie|jwt|assertion|session[^a-z0-9]?id/i
/** Too short for that: as the last word of a name. */
const SHORT = '(?:auth|bearer|sig|sid|pin|otp|ssn|cvv|cvc)'
const SHORT_SECRET = new RegExp(`(?:^|[^a-z0-9])${SHORT}[^a-z0-9]*$`, 'i')
const ANNOUNCED = new RegExp(`${SECRET.source}|\\b${SHORT}\\b`, 'i')
const TELLING_TAG = new RegExp(`<[^<>]*(?:${ANNOUNCED.source})`, 'i')

/** Whether the value with this name (of a JSON member or form field) is likely to be secret. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name) || SHORT_SECRET.test(name)
}

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

function readJson(text: string, mask: BodyMask, nested: number): MaskedJson {
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
