// What the configuration says of access: methods and path patterns of rules, what holds without rules, and what makes no sense.
import type { Access, AccessRule } from './config.ts'
import { type Finding, type Mistake, type Path, quoted } from './problems.ts'
import type { AccessSettings, RuleSettings } from './schema.ts'

const READS = ['GET', 'HEAD', 'OPTIONS'] as const
const WRITES = ['DELETE', 'PATCH', 'POST', 'PUT'] as const

/** Every method that is forwarded. */
export const METHODS: readonly string[] = [...READS, ...WRITES]

/** What may stand under `methods`: every method that is forwarded, and a word for each kind. */
export const METHOD_WORDS = [...READS, ...WRITES, 'reads', 'writes'] as const

const LONGEST_PATTERN = 256
const EXAMPLE = 'such as /rest/v1.0/projects/*/users or /rest/**'
const NO_PATH_CHARACTER = /[^A-Za-z0-9._~!$&'()+,=:@*/-]/

/** Judges a path pattern: it must be spelt as the paths that it is held against, which have one spelling. */
export function checkPattern(pattern: string): Mistake | undefined {
  const bad = (what: string, fix: string) => ({ message: `${quoted(pattern)} ${what}`, fix })
  if (pattern.length > LONGEST_PATTERN)
    return bad('is too long', `Write at most ${LONGEST_PATTERN} characters`)
  const odd = NO_PATH_CHARACTER.exec(pattern)?.[0]
  if (odd !== undefined) {
    return bad(
      `holds ${JSON.stringify(odd)}`,
      'Write the path alone, without query and escapes, and * for what no plain character says',
    )
  }
  if (pattern.includes('***')) return bad('holds more than two * in a row', 'Write * or **')
  if (!/^\/(?:rest\/|vapid\/|_proxy\/files\/|\*\*)/.test(pattern)) {
    return bad(
      'can match no path that is forwarded',
      `Start it with /rest/, /vapid/, /_proxy/files/ or /**, ${EXAMPLE}`,
    )
  }
  if (pattern.includes('//')) return bad('holds a doubled slash', 'Write one: Procore reads several as one')
  if (pattern.endsWith('/')) {
    const bare = pattern.slice(0, -1)
    return bad('ends with a slash, which Procore ignores', `Write ${bare}, or ${pattern}** for all below it`)
  }
  if (/\/\.\.?(?:\/|$)/.test(pattern)) return bad('holds a dot segment', 'Write the path without it')
  return undefined
}

/** The methods that a list means: words become theirs, GET covers HEAD; undefined for all. */
export function methodsOf(words: RuleSettings['methods']): readonly string[] | undefined {
  if (words === undefined) return undefined
  const methods = words.flatMap((word): readonly string[] => {
    if (word === 'reads') return READS
    if (word === 'writes') return WRITES
    return word === 'GET' ? ['GET', 'HEAD'] : [word]
  })
  return METHODS.filter((method) => methods.includes(method))
}

/** A rule as the guard reads it. */
export function resolveRule(rule: RuleSettings): AccessRule {
  const patterns = patternsOf(rule)
  return {
    effect: 'allow' in rule ? 'allow' : 'deny',
    methods: methodsOf(rule.methods),
    patterns,
    foldedPatterns: patterns.some((pattern) => pattern !== pattern.toLowerCase())
      ? patterns.map((pattern) => pattern.toLowerCase())
      : patterns,
  }
}

function patternsOf(rule: RuleSettings): readonly string[] {
  return ['allow' in rule ? rule.allow : rule.deny].flat()
}

/** The access of a company in an environment: its own word, else the environment's, else read-write. */
export function accessIn(environment: string, company: AccessSettings, defaults: DefaultAccess): Access {
  return company.access ?? new Map(Object.entries(defaults)).get(environment) ?? 'read-write'
}

type DefaultAccess = Readonly<Record<string, Access>>

/** A company's rules, where they stand, and what decides without them. */
export interface PlacedRules {
  readonly path: Path
  readonly rules: readonly RuleSettings[]
  /** Undefined where it is not known. */
  readonly access: Access | undefined
}

/** Rules that can't do what they were written for. */
export function checkRules({ path, rules, access }: PlacedRules): Finding[] {
  const resolved = rules.map(resolveRule)
  const findings = resolved.flatMap((rule, index): Finding[] => {
    const place = [...path, index]
    const before = resolved.slice(0, index)
    const covering = rule.patterns.map((pattern) => before.findIndex((one) => covers(one, pattern, rule)))
    if (!covering.includes(-1)) {
      const [first = 0] = covering
      const message = `never decides anything: rules[${first}] comes first and matches all that it matches`
      return [{ path: place, message, fix: 'Move it up, or take one of the two out' }]
    }
    return rule.effect === 'allow' ? suffixes(place, rule) : []
  })
  const onlyAllows = resolved.length > 0 && resolved.every(({ effect }) => effect === 'allow')
  if (onlyAllows && access === 'read-write') {
    findings.push({
      path,
      message: 'deny nothing: without a match the access decides, and that is read-write',
      fix: `Add {deny: /**} as the last rule, or write access: read-only`,
    })
  }
  return findings
}

function covers(earlier: AccessRule, pattern: string, { methods }: AccessRule): boolean {
  const isWider = (one: string) => one.endsWith('**') && pattern.startsWith(one.slice(0, -2))
  if (!earlier.patterns.some((one) => one === pattern || isWider(one))) return false
  return earlier.methods === undefined || (methods ?? ['any']).every((one) => earlier.methods?.includes(one))
}

/** `.pdf` asks for a format of the path without it, so both would have to be allowed. */
function suffixes(path: Path, { patterns }: AccessRule): Finding[] {
  return patterns.flatMap((pattern) => {
    const suffix = /\.[^./*]+$/.exec(pattern)?.[0]
    if (suffix === undefined) return []
    const message = `allows nothing: Procore reads ${suffix} at the end of a path as a format of ${quoted(pattern.slice(0, -suffix.length))}`
    return [{ path, message, fix: `Write ${pattern.slice(0, -suffix.length)}* or leave out ${suffix}` }]
  })
}
