// Covers scripts/release-parts.ts: what may be released, and what a release edits.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  compareVersions,
  filesWithVersion,
  hasEntries,
  objections,
  releasedChangelog,
  sectionOf,
  versionsIn,
  withVersion,
} from '../../scripts/release-parts.ts'

const ROOT = join(import.meta.dirname, '../..')

t.test('versions are compared by the rules of semver', async (t) => {
  const rising = ['0.1.0', '0.2.0-alpha.2', '0.2.0-alpha.10', '0.2.0-beta.0', '0.2.0-rc.1', '0.2.0']
  rising.push('0.2.1', '0.10.0', '1.0.0-rc.1', '1.0.0', '1.0.10', '2.0.0')
  for (const [index, version] of rising.entries())
    for (const [other, against] of rising.entries())
      t.equal(Math.sign(compareVersions(version, against)), Math.sign(index - other), `${version} ${against}`)
  for (const wrong of ['1', '1.2', 'v1.2.3', '01.2.3', '1.2.3-rc', '1.2.3-rc.01', '1.2.3+b', ' 1.2.3', ''])
    t.throws(() => compareVersions(wrong, '1.0.0'), /is no version/, wrong)
})

const CHANGELOG = `# Changelog

## Unreleased

### Added

- A thing; see "## Unreleased" elsewhere.

## 0.1.0 - 2026-01-02

- The first.
`

t.test('what is unreleased becomes the version, below a fresh Unreleased', async (t) => {
  const edited = releasedChangelog(CHANGELOG, '0.2.0', '2026-03-04')
  t.match(edited, '\n## Unreleased\n\n## 0.2.0 - 2026-03-04\n\n### Added\n\n- A thing;')
  t.equal(edited.replace('## 0.2.0 - 2026-03-04\n\n', ''), CHANGELOG, 'and nothing else changes')
  t.equal(sectionOf(edited, 'Unreleased'), '')
  t.equal(sectionOf(edited, '0.2.0'), sectionOf(CHANGELOG, 'Unreleased'))
  t.equal(sectionOf(edited, '0.1.0'), '- The first.')
  t.equal(sectionOf(edited, '0.1'), undefined)
  t.ok(hasEntries(sectionOf(CHANGELOG, 'Unreleased')))
  t.notOk(hasEntries(sectionOf(edited, 'Unreleased')))
  t.notOk(hasEntries('### Added'), 'a heading alone is no entry')
  t.notOk(hasEntries(undefined))
})

t.test('every place that names the version names that of package.json', async (t) => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    version: string
    packages: Record<string, { version: string }>
  }
  t.strictSame([lock.version, lock.packages['']?.version], [version, version], 'package-lock.json')
  const files = filesWithVersion(ROOT)
  for (const known of ['docs/sidecar.md', 'deploy/compose/compose.yaml', 'deploy/docker/README.md'])
    t.ok(files.includes(known), known)
  t.ok(files.includes('deploy/kubernetes/overlays/example/kustomization.yaml'))
  for (const file of files) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    for (const named of versionsIn(text)) t.equal(named, version, file)
    const next = withVersion(text, '9.8.7')
    t.strictSame(new Set(versionsIn(next)), new Set(['9.8.7']), `${file} follows`)
    t.equal(withVersion(next, version), text, `${file} changes nowhere else`)
  }
})

t.test('versions of other things stay', async (t) => {
  t.strictSame(versionsIn('{ name: node, newName: registry.example.com/node, newTag: 24.21.0 }'), [])
  const text =
    'image: procore-proxy:0.1.0-rc.1, postgres:16.1.0, procore-proxy-0.1.0.tgz, procore-proxy@0.1.0'
  t.equal(
    withVersion(text, '1.0.0'),
    'image: procore-proxy:1.0.0, postgres:16.1.0, procore-proxy-1.0.0.tgz, procore-proxy@1.0.0',
  )
})

t.test('what speaks against a release is told, all at once', async (t) => {
  const folder = t.testdir({
    'package.json': '{"version":"0.1.0"}\n',
    'CHANGELOG.md': CHANGELOG,
  })
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
  git('init', '--initial-branch=main')
  git('add', '-A')
  git('commit', '-m', 'one')
  t.strictSame(objections(folder, '0.1.1'), [])
  t.strictSame(objections(folder, '0.2.0-rc.1'), [])
  for (const wrong of ['', 'v1.0.0', '1.0']) t.match(objections(folder, wrong), [/is no version/], wrong)
  for (const low of ['0.1.0', '0.0.9', '0.1.0-rc.1'])
    t.match(objections(folder, low), [/is not greater than 0\.1\.0/], low)

  writeFileSync(join(folder, 'CHANGELOG.md'), CHANGELOG.replace('## 0.1.0 - 2026-01-02', '## Older'))
  git('commit', '-am', 'two')
  t.strictSame(objections(folder, '0.1.0'), [], 'the first release may be of the version that is there')
  git('tag', '-a', 'v0.1.0', '-m', 'v0.1.0')
  t.match(objections(folder, '0.1.0'), [/is not greater/, /tag v0\.1\.0 exists/])

  writeFileSync(join(folder, 'CHANGELOG.md'), '# Changelog\n\n## Unreleased\n\n## Older\n\n- x\n')
  git('tag', 'v0.3.0')
  git('switch', '-c', 'other')
  const all = [
    /has changes/,
    /This is other, releases are made from main/,
    /no entries/,
    /tag v0\.3\.0 exists/,
  ]
  const told = objections(folder, '0.3.0')
  t.equal(told.length, all.length)
  t.match(told, all)
  git('switch', '--detach')
  t.match(objections(folder, '0.3.0')[1], /This is no branch/)
})
