// Reads YAML text into plain values with their positions. Numbers that JavaScript would round or reformat stay text.
import * as yaml from 'yaml'
import type { Finding, Path } from './problems.ts'

/** A number that is not a plain, safe, canonical integer, as it was written. The schema decides what to do with it. */
export class OddNumber {
  readonly source: string
  constructor(source: string) {
    this.source = source
  }
}

/** A place in a text; both start at 1. */
export type Position = Readonly<Record<'line' | 'column', number>>

/** The plain values of a YAML text: maps without a prototype, lists, strings, numbers, {@link OddNumber}s, true, false, null. */
export interface ConfigDocument {
  /** `null` if the text is empty, `undefined` if it is not YAML. */
  readonly value: unknown
  /** Whether the text is YAML; if not, `problems` says why. */
  readonly readable: boolean
  readonly problems: readonly (Finding & Position)[]
  /** The place of the deepest part of a path that exists. */
  locate(path: Path): Position
}

/** Far more than any configuration has. Stops aliases that contain each other from growing without end. */
const MAX_VALUES = 50_000
const MAX_DEPTH = 40

/** Reads a configuration's text; never throws. */
export function readDocument(text: string): ConfigDocument {
  const lines = new yaml.LineCounter()
  const options = { intAsBigInt: true, uniqueKeys: false, prettyErrors: false, version: '1.2' } as const
  const document = yaml.parseDocument(text, { ...options, lineCounter: lines })
  const at = (offset = 0): Position => {
    const { line, col: column } = lines.linePos(offset)
    return { line, column }
  }
  const syntax = [...document.errors, ...document.warnings].map((error) => ({
    path: [],
    ...at(error.pos[0]),
    message: `this is not valid YAML: ${wordsOf(error.message)}`,
    fix: FIXES[error.code] ?? OTHER_FIX,
  }))
  if (syntax.length > 0) return { value: undefined, readable: false, problems: syntax, locate: () => at() }

  const problems: (Finding & Position)[] = []
  const position = (node: unknown) => at((yaml.isNode(node) && node.range?.[0]) || 0)
  const say = (node: unknown, path: Path, message: string, fix: string) =>
    problems.push({ path, ...position(node), message, fix })
  const anchors = new Map<string, yaml.Node>()
  const targets = new Map<yaml.Node, yaml.Node | undefined>()
  // Alias.resolve would walk through the whole text each time.
  yaml.visit(document, {
    Alias: (_key, alias) => void targets.set(alias, anchors.get(alias.source)),
    Value: (_key, node) => void (node.anchor && anchors.set(node.anchor, node)),
  })
  /** What an alias refers to, or the node itself. */
  const resolve = (node: unknown): unknown => (yaml.isAlias(node) ? targets.get(node) : node)
  /** A key as it is written; `7656:` and `"7656":` are the same key. */
  const keyText = (key: unknown): string | undefined => {
    const scalar = resolve(key)
    return yaml.isScalar(scalar) ? String(scalar.source) : undefined
  }
  let values = 0

  const convert = (node: unknown, path: Path): unknown => {
    values += 1
    if (values > MAX_VALUES || path.length > MAX_DEPTH) {
      if (!problems.some(({ message }) => message === TOO_MUCH)) say(node, [], TOO_MUCH, TOO_MUCH_FIX)
      return null
    }
    if (yaml.isAlias(node)) {
      const target = resolve(node)
      if (target === undefined) say(node, path, NO_ANCHOR, STAR_FIX)
      return convert(target, path)
    }
    if (yaml.isMap(node)) return convertMap(node, path)
    if (yaml.isSeq(node)) return node.items.map((item, index) => convert(item, [...path, index]))
    return yaml.isScalar(node) ? scalarValue(node) : null
  }
  const convertMap = (map: yaml.YAMLMap, path: Path) => {
    const result: Record<string, unknown> = Object.create(null)
    for (const { key, value } of map.items) {
      const name = keyText(key)
      const inner = [...path, name ?? '?']
      if (name === undefined) say(key, inner, 'a list or map is used as a key', 'Use a plain word as the key')
      else if (name === '__proto__') say(key, inner, "this key can't be used", 'Choose another name')
      else if (name in result) say(key, inner, 'this key exists twice', 'Remove one of the two')
      else result[name] = convert(value, inner)
    }
    return result
  }
  const root = document.contents

  const locate = (path: Path) => {
    let node: unknown = root
    let found: unknown = root
    for (const part of path) {
      const whole = resolve(node)
      const pair = yaml.isMap(whole) ? whole.items.find(({ key }) => keyText(key) === part) : undefined
      node = yaml.isSeq(whole) ? whole.items[Number(part)] : pair?.value
      found = pair?.key ?? node ?? found
    }
    return position(found)
  }
  return { value: convert(root, []), readable: true, problems, locate }
}

const NO_ANCHOR = 'a value that starts with a star refers to an anchor, but there is no such anchor'
const STAR_FIX = 'Quote a key or value that starts with a star: "*"'
const TOO_MUCH = 'this is too long or too deeply nested for a configuration'
const TOO_MUCH_FIX = 'Write the values out instead of using aliases (*name) that contain each other'

function scalarValue(scalar: yaml.Scalar): unknown {
  const { value } = scalar
  if (value === null || typeof value === 'boolean') return value
  const source = String(scalar.source)
  if (typeof value === 'bigint' && /^(0|-?[1-9]\d*)$/.test(source) && Number.isSafeInteger(Number(value))) {
    return Number(value)
  }
  if (typeof value === 'bigint' || typeof value === 'number') return new OddNumber(source)
  // This is the text of a string without its quotes. Dates and binary data (from a tag or %YAML 1.1) stay as they were written.
  return source
}

/** The parser's message without the text that it quotes, which may be a secret. */
function wordsOf(message: string): string {
  if (message.startsWith('Source contains multiple documents')) return 'there are several documents'
  return message.replace(/: .*$/s, '')
}

const FIXES: Readonly<Record<string, string>> = {
  BAD_ALIAS: STAR_FIX,
  TAG_RESOLVE_FAILED: 'Quote a value that starts with an exclamation mark',
  TAB_AS_INDENT: 'Indent with spaces',
  MULTIPLE_DOCS: 'Put everything into one document, without ---',
}
const OTHER_FIX =
  'Check indentation, quotes and brackets here, put a space after the colon of a key, and quote values that contain [ ] { } : # * & !'
