// Reads the access rules of the configuration (methods and path patterns) and finds rules that have no effect.
import type { Access, AccessRule } from './config.ts'
import { type Finding, type Mistake, type Path, quoted } from './problems.ts'
import type { AccessSettings, RuleSettings } from './schema.ts'

const READS = ['GET', 'HEAD', 'OPTIONS'] as const
const WRITES = ['DELETE', 'PATCH', 'POST', 'PUT'] as const

/** Every method that is forwarded. */
export const FORWARDED_METHODS = [...READS, ...WRITES] as const
export const FORWARDED: ReadonlySet<string> = new Set(FORWARDED_METHODS)

/** What `methods` can contain: every method that is forwarded, and a word for each kind. */
export const METHOD_WORDS = [...FORWARDED_METHODS, 'reads', 'writes'] as const

const LONGEST_PATTERN = 256
const START_FIX =
  'Start it with /rest/, /vapid/, /_proxy/files/ or /**, such as /rest/v1.0/projects/*/users or /rest/**'
const CHARACTERS_FIX =
  'Write only the path, without query and escapes, and * for characters that are not plain'
const NO_PATH_CHARACTER = /[^A-Za-z0-9._~!$&'()+,=:@*/-]/

/** Checks a path pattern, which must be written like the normalized paths that it is compared with. */
export function checkPattern(pattern: string): Mistake | undefined {
  const bad = (what: string, fix: string) => ({ message: `${quoted(pattern)} ${what}`, fix })
  if (pattern.length > LONGEST_PATTERN)
    return bad('is too long', `Write at most ${LONGEST_PATTERN} characters`)
  const odd = NO_PATH_CHARACTER.exec(pattern)?.[0]
  if (odd !== undefined) return bad(`contains ${JSON.stringify(odd)}`, CHARACTERS_FIX)
  if (pattern.includes('***')) return bad('contains more than two * in a row', 'Write * or **')
  if (!/^\/(?:rest\/|vapid\/|_proxy\/files\/|\*\*)/.test(pattern))
    return bad("can't match any path that is forwarded", START_FIX)
  if (pattern.includes('//'))
    return bad('contains a doubled slash', 'Write one slash: Procore reads several as one')
  const fix = `Write ${pattern.slice(0, -1)}, or ${pattern}** for everything below it`
  if (pattern.endsWith('/')) return bad('ends with a slash, which Procore ignores', fix)
  if (/\/\.\.?(?:\/|$)/.test(pattern)) return bad('contains a dot segment', 'Write the path without it')
  return undefined
}

/** The methods that a list stands for: words are expanded, and GET includes HEAD; undefined for all. */
export function expandMethods(words: RuleSettings['methods']): readonly string[] | undefined {
  if (words === undefined) return undefined
  const methods = words.flatMap((word): readonly string[] => {
    if (word === 'reads') return READS
    if (word === 'writes') return WRITES
    return word === 'GET' ? ['GET', 'HEAD'] : [word]
  })
  return FORWARDED_METHODS.filter((method) => methods.includes(method))
}

/** A rule in the form that requests are judged by. */
export function resolveRule(rule: RuleSettings): AccessRule {
  const effect = 'allow' in rule ? 'allow' : 'deny'
  const patterns = ['allow' in rule ? rule.allow : rule.deny].flat()
  const foldedPatterns = patterns.map((pattern) => pattern.toLowerCase())
  return { effect, methods: expandMethods(rule.methods), patterns, foldedPatterns }
}

/** The access of a company: its own, else the environment's default, else read-write. */
export function accessIn(
  environment: string,
  company: AccessSettings,
  defaults: Record<string, Access>,
): Access {
  return company.access ?? new Map(Object.entries(defaults)).get(environment) ?? 'read-write'
}

/** The rules of a company or caller, where they are written, and what decides if none matches. */
export interface PlacedRules {
  readonly path: Path
  readonly rules: readonly RuleSettings[]
  /** Undefined if it is not known. */
  readonly access: Access | undefined
}

/** Finds rules that cannot have the intended effect. */
export function checkRules({ path, rules, access }: PlacedRules): Finding[] {
  const resolved = rules.map(resolveRule)
  const findings = resolved.flatMap((rule, index): Finding[] => {
    const place = [...path, index]
    const before = resolved.slice(0, index)
    const covering = rule.patterns.map((pattern) => before.findIndex((one) => covers(one, pattern, rule)))
    if (covering.includes(-1)) return rule.effect === 'allow' ? suffixes(place, rule) : []
    const message = `never decides anything, because rules[${covering[0]}] comes first and matches everything that it matches`
    return [{ path: place, message, fix: 'Move it up, or remove one of the two' }]
  })
  const onlyAllows = resolved.length > 0 && resolved.every(({ effect }) => effect === 'allow')
  if (!onlyAllows || access !== 'read-write') return findings
  const message = 'deny nothing: if no rule matches, access decides, and it is read-write'
  return [...findings, { path, message, fix: 'Add {deny: /**} as the last rule, or write access: read-only' }]
}

function covers(earlier: AccessRule, pattern: string, { methods }: AccessRule): boolean {
  const isWider = (one: string) => one.endsWith('**') && pattern.startsWith(one.slice(0, -2))
  if (!earlier.patterns.some((one) => one === pattern || isWider(one))) return false
  return earlier.methods === undefined || (methods ?? ['any']).every((one) => earlier.methods?.includes(one))
}

/** `.pdf` asks for a format of the path without it, so both paths would have to be allowed. */
function suffixes(path: Path, { patterns }: AccessRule): Finding[] {
  return patterns.flatMap((pattern) => {
    const suffix = /\.[^./*]+$/.exec(pattern)?.[0]
    if (suffix === undefined) return []
    const message = `allows nothing, because Procore reads ${suffix} at the end of a path as a format of ${quoted(pattern.slice(0, -suffix.length))}`
    return [{ path, message, fix: `Write ${pattern.slice(0, -suffix.length)}* or leave out ${suffix}` }]
  })
}
