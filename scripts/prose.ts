// Checks spelling and wording of what people read: documentation, messages and comments. Part of `npm run check`.
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(import.meta.dirname)
const PLACES = [
  ...['*.md', 'docs/*.md', 'deploy/**/*.{md,yaml,yml,xml,plist,service}', 'config/*.yaml', 'Dockerfile'],
  ...['src/**/*.{ts,js,html}', 'scripts/*.{ts,mjs,cjs}', 'bench/**/*.{ts,mjs}', 'test/**/*.ts'],
]
/** Names the phrases themselves. */
const OWN_FILES = ['scripts/prose.ts', 'test/scripts/prose.test.ts']

/** Phrases that readers stumble over, and what to write in their place. */
const PHRASES: readonly (readonly [RegExp, string])[] = [
  [/\bmend(?:s|ed|ing)?\b/i, 'write "fix"'],
  [/\bnobody\b/i, 'write "no caller", "no process" or say who does not'],
  [/\bwhoever\b/i, 'say who: the caller, the operator, the program'],
  [/\bstands? (?:in|there|behind|once)\b/i, 'write "is in", "exists" or "replaces"'],
  [/\bcould be had\b/i, 'write "is available"'],
  [/\bis told as\b/i, 'write "is reported as"'],
  [/\bof its own accord\b/i, 'write "by itself" or "automatically"'],
]

/** A phrase that was found. */
export interface Finding {
  /** Counted from 1. */
  readonly line: number
  readonly phrase: string
  readonly advice: string
}

/** Finds the phrases of the list above, also where a line break splits one. */
export function findingsIn(text: string): readonly Finding[] {
  // A comment that goes on in the next line repeats its mark, which is not part of the sentence.
  const joined = text.replaceAll(/\n[ \t]*(?:\/\/|\*|#)?[ \t]*/g, (gap) => `\n${' '.repeat(gap.length - 1)}`)
  return PHRASES.flatMap(([pattern, advice]) => {
    const loose = new RegExp(pattern.source.replaceAll(' ', '\\s+'), 'gi')
    return [...joined.matchAll(loose)].map(({ 0: phrase, index }) => ({
      line: joined.slice(0, index).split('\n').length,
      phrase: phrase.replaceAll(/\s+/g, ' '),
      advice,
    }))
  }).sort((one, other) => one.line - other.line)
}

function main(): number {
  const files = globSync(PLACES, { cwd: ROOT, exclude: (path) => String(path).includes('node_modules') })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => !OWN_FILES.includes(file))
    .sort()
  const problems = files.flatMap((file) =>
    findingsIn(readFileSync(join(ROOT, file), 'utf8')).map(
      ({ line, phrase, advice }) => `${file}:${line}: "${phrase}": ${advice}`,
    ),
  )
  for (const problem of problems) console.error(problem)
  // Names in tests are full of made-up words.
  const spelled = files.filter((file) => !/^(?:test|bench)\//.test(file))
  const { status } = spawnSync('cspell', ['--no-progress', '--no-summary', '--file-list', 'stdin'], {
    cwd: ROOT,
    input: spelled.join('\n'),
    stdio: ['pipe', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (status !== 0) console.error('A word that is right belongs in scripts/words.txt.')
  return problems.length === 0 && status === 0 ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main()
