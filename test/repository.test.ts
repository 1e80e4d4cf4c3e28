// Covers the repository as a whole: the documentation fits the code, and imports and packages follow our rules.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { architecturePage, purposeOf, sourceFiles } from '../scripts/architecture.ts'
import { ERROR_KINDS } from '../src/errors.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const files = sourceFiles(root)

/** From left to right: no folder imports another one of its own group or of a group to its right. */
const LAYERS =
  'errors → config → network → auth → routing → guards → observe → forward → lists, cache, recordings, shared, callers → server → fake → cli'
const GROUPS = LAYERS.split(' → ').map((group) => group.split(', '))
const folderOf = (file: string) => /^src\/(\w+)/.exec(file)?.[1] ?? ''
const rankOf = (file: string) => GROUPS.findIndex((group) => group.includes(folderOf(file)))

t.test('every source file says in its first line what it is for', async (t) => {
  for (const file of files) t.match(purposeOf(root, file), /^[A-Z`].{15,}/, file)
})

t.test('no source file is longer than CONTRIBUTING.md allows', async (t) => {
  const most = Number(/Files have at most (\d+) lines/.exec(read('CONTRIBUTING.md'))?.[1])
  for (const file of files) t.ok(read(file).split('\n').length <= most + 1, file)
})

t.test('the file map of docs/architecture.md lists every source file', async (t) => {
  t.equal(architecturePage(root), read('docs/architecture.md'), 'fresh: else run npm run generate')
  t.match(read('docs/architecture.md'), LAYERS, 'it names the same order of imports')
})

t.test('imports go from right to left only', async (t) => {
  for (const file of files) {
    t.not(rankOf(file), -1, `${file} has a place in the order`)
    for (const [, to = ''] of read(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      const target = normalize(join(dirname(file), to)).replaceAll('\\', '/')
      t.ok(existsSync(join(root, target)), `${file} imports ${target}, which exists`)
      const mayImport = rankOf(target) < rankOf(file) || folderOf(target) === folderOf(file)
      t.ok(mayImport, `${file} may import ${target}`)
    }
  }
})

t.test('docs/errors.md and the error table list the same codes and statuses', async (t) => {
  const page = read('docs/errors.md')
  const documented = [...page.matchAll(/^## ([a-z_]+)\n\n(\d{3})\b/gm)].map(([, code, status]) => [
    code,
    Number(status),
  ])
  t.strictSame(
    documented,
    Object.entries(ERROR_KINDS).map(([code, { status }]) => [code, status]),
  )
})

t.test('the documentation names commands and files that exist', async (t) => {
  const pages = globSync(['*.md', 'docs/*.md', 'deploy/*/README.md'], { cwd: root })
  t.ok(pages.length > 15)
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const page of pages) {
    for (const [, link = ''] of read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.ok(existsSync(join(root, dirname(page), link)), `${page} links to ${link}`)
    }
    for (const [, path = ''] of read(page).matchAll(
      /`((?:src|docs|scripts|test|config|deploy|bench)\/[\w./-]+\.\w+)`/g,
    )) {
      t.ok(existsSync(join(root, path)), `${page} names ${path}`)
    }
    for (const [, name = ''] of read(page).matchAll(/\bnpm (?:run (?:--silent )?([a-z][\w:]*)|test\b)/g))
      t.ok((name || 'test') in scripts, `${page}: npm run ${name}`)
  }
})

t.test('the runtime needs few packages, all under licenses that we accept', async (t) => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean; license?: string; hasInstallScript?: boolean }>
  }
  const runtime = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && !dev)
  t.ok(runtime.length <= 85, `${runtime.length} packages`)
  for (const [path, { license, hasInstallScript }] of runtime) {
    t.match(license, /^(MIT|ISC|Apache-2\.0|BlueOak-1\.0\.0|BSD-[23]-Clause|0BSD)$/, path)
    t.notOk(hasInstallScript, `${path} runs nothing at install`)
  }
})
