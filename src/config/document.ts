// Reads YAML text into plain values with their positions. Numbers that JavaScript would round or reformat stay text.
import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import type { Mistake, Path } from './problems.ts'

/** A number that is not a plain, safe, canonical integer, as it was written. The schema decides what to do with it. */
export class OddNumber {
  readonly source: string

  constructor(source: string) {
    this.source = source
  }
}

/** A mistake and its place in the text (line and column start at 1). */
export interface DocumentProblem extends Mistake {
  readonly path: Path
  readonly line: number
  readonly column: number
}

/** The plain values of a YAML text: maps without a prototype, lists, strings, numbers, {@link OddNumber}s, true, false, null. */
export interface ConfigDocument {
  /** `undefined` if the text is empty or is not YAML. */
  readonly value: unknown
  /** Whether the text is YAML; if not, `problems` says why. */
  readonly readable: boolean
  readonly problems: readonly DocumentProblem[]
  /** The place of the deepest part of a path that exists. */
  locate(path: Path): { readonly line: number; readonly column: number }
}

/** Far more than any configuration has. Stops aliases that contain each other from growing without end. */
const MAX_VALUES = 50_000
const MAX_DEPTH = 40

/** Reads a configuration's text; never throws. */
export function readDocument(text: string): ConfigDocument {
  const lines = new LineCounter()
  const document = parseDocument<Node>(text, {
    intAsBigInt: true,
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: lines,
    version: '1.2',
  })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const syntax = [...document.errors, ...document.warnings].map((error) => ({
    path: [],
    ...at(error.pos[0]),
    message: `this is not valid YAML: ${wordsOf(error.message)}`,
    fix: fixOf(error.code),
  }))
  const root = document.contents
  const position = (node: Node | Pair<Node, Node | null> | null) => {
    const start = isNode(node) ? node.range?.[0] : undefined
    return at(start ?? 0)
  }
  if (syntax.length > 0) return { value: undefined, readable: false, problems: syntax, locate: () => at(0) }

  const problems: DocumentProblem[] = []
  const say = (node: Node | null, path: Path, message: string, fix: string) =>
    problems.push({ path, ...position(node), message, fix })
  let values = 0

  const convert = (node: Node | null, path: Path): unknown => {
    values += 1
    if (values > MAX_VALUES || path.length > MAX_DEPTH) {
      if (!problems.some((problem) => problem.message === TOO_MUCH)) {
        say(
          node,
          [],
          TOO_MUCH,
          'Write the values out instead of using aliases (*name) that contain each other',
        )
      }
      return null
    }
    if (isAlias(node)) {
      const target = resolveAlias(node)
      if (target === null)
        say(
          node,
          path,
          'a value that starts with a star refers to an anchor, but there is no such anchor',
          STAR_FIX,
        )
      return convert(target, path)
    }
    if (isMap(node)) return convertMap(node as YAMLMap<Node, Node | null>, path)
    if (isSeq(node))
      return (node as YAMLSeq<Node>).items.map((item, index) => convert(item, [...path, index]))
    return isScalar(node) ? scalarValue(node) : null
  }
  const resolveAlias = (alias: Alias) => (alias.resolve(document) as Node | undefined) ?? null
  const convertMap = (map: YAMLMap<Node, Node | null>, path: Path) => {
    const result: Record<string, unknown> = Object.create(null)
    for (const { key, value } of map.items) {
      const name = keyText(isAlias(key) ? resolveAlias(key) : key)
      const inner = [...path, name ?? '?']
      if (name === undefined) say(key, inner, 'a list or map is used as a key', 'Use a plain word as the key')
      else if (name === '__proto__') say(key, inner, "this key can't be used", 'Choose another name')
      else if (name in result) say(key, inner, 'this key exists twice', 'Remove one of the two')
      else result[name] = convert(value, inner)
    }
    return result
  }
  const value = root === null ? undefined : convert(root, [])

  const locate = (path: Path) => {
    let node: Node | null = root
    let found: Node | null = root
    for (const part of path) {
      if (isAlias(node)) node = resolveAlias(node)
      if (isMap(node)) {
        const pairs = (node as YAMLMap<Node, Node | null>).items
        const pair = pairs.find(({ key }) => keyText(isAlias(key) ? resolveAlias(key) : key) === part)
        if (pair === undefined) break
        found = pair.key
        node = pair.value
      } else if (isSeq(node) && typeof part === 'number') {
        node = (node.items[part] as Node | undefined) ?? null
        found = node ?? found
      } else break
    }
    return position(found)
  }
  return { value, readable: true, problems, locate }
}

const STAR_FIX = 'Quote a key or value that starts with a star: "*"'
const TOO_MUCH = 'this is too long or too deeply nested for a configuration'

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value)
}

/** A key as it is written; `7656:` and `"7656":` are the same key. */
function keyText(key: Node | null): string | undefined {
  if (!isScalar(key)) return undefined
  return typeof key.value === 'string' ? key.value : String(key.source)
}

function scalarValue(scalar: Scalar): unknown {
  const { value } = scalar
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  const source = String(scalar.source)
  if (typeof value === 'bigint' && /^(0|-?[1-9]\d*)$/.test(source) && Number.isSafeInteger(Number(value))) {
    return Number(value)
  }
  if (typeof value === 'bigint' || typeof value === 'number') return new OddNumber(source)
  // Dates and binary data (from a tag or a %YAML 1.1 directive) stay as they were written.
  return source
}

/** The parser's message without the text that it quotes, which may be a secret. */
function wordsOf(message: string): string {
  if (message.startsWith('Source contains multiple documents')) return 'there are several documents'
  return message.replace(/: .*$/s, '')
}

function fixOf(code: string): string {
  if (code === 'BAD_ALIAS') return STAR_FIX
  if (code === 'TAG_RESOLVE_FAILED') return 'Quote a value that starts with an exclamation mark'
  if (code === 'TAB_AS_INDENT') return 'Indent with spaces'
  if (code === 'MULTIPLE_DOCS') return 'Put everything into one document, without ---'
  return 'Check indentation, quotes and brackets here, and quote values that contain [ ] { } : # * & !'
}
