// npm run release -- X.Y.Z: checks, tests, names the version everywhere, makes the files in dist/release, commits and tags.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  filesWithVersion,
  isPrerelease,
  objections,
  releasedChangelog,
  sectionOf,
  withVersion,
} from './release-parts.ts'

const ROOT = dirname(import.meta.dirname)
const WINDOWS = process.platform === 'win32'
/** When this release is made: the commit's date, which everything in it bears. */
const SECONDS = Math.floor(Date.now() / 1000)

const { npm_config_dry_run: dryRunForNpm, ...rest } = process.env
const ENV = {
  ...rest,
  // Not the npm of a Node that is too old for this project.
  PATH: dirname(process.execPath) + delimiter + process.env.PATH,
  SOURCE_DATE_EPOCH: String(SECONDS),
  GIT_AUTHOR_DATE: `${SECONDS} +0000`,
  GIT_COMMITTER_DATE: `${SECONDS} +0000`,
}
// File modes go into the tarball.
process.umask(0o022)
// The child that runs ends by itself; what has been begun is taken back then.
process.on('SIGINT', () => {})

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'dry-run': { type: 'boolean' }, 'skip-tests': { type: 'boolean' } },
})
const version = positionals[0] ?? ''
// Where the "--" is forgotten, npm takes the option for itself.
const isRehearsal = values['dry-run'] === true || dryRunForNpm === 'true'
const withTests = values['skip-tests'] !== true
const against = [...objections(ROOT, version)]
if (positionals.length > 1) against.push(`One version at a time, not ${positionals.join(' ')}`)
if (!withTests && !isRehearsal) against.push('--skip-tests is for rehearsals: add --dry-run, or leave it out')
if (against.length > 0) {
  console.error(`Not released:\n${against.map((line) => `- ${line}`).join('\n')}`)
  process.exit(1)
}
try {
  if (isRehearsal) rehearse()
  else {
    release(ROOT)
    console.log(remaining())
  }
} catch (error) {
  console.error(`\nNot released: ${(error as Error).message}`)
  process.exit(1)
}

/** All of it in a clone that is thrown away. */
function rehearse(): void {
  withFolder((folder) => {
    step('A clone for the rehearsal, with packages of its own')
    clone(ROOT, folder, 'HEAD')
    git(folder, 'switch', '--quiet', '-C', 'main')
    for (const key of ['user.name', 'user.email']) git(folder, 'config', key, git(ROOT, 'config', key))
    release(folder)
    console.log(`\n${git(folder, 'show', '--stat', '--format=%an: %s (%cd)', `v${version}^{commit}`)}`)
    console.log(remaining())
  })
  console.log('\nThis was a rehearsal: nothing of it is left.')
}

function release(root: string): void {
  const before = git(root, 'rev-parse', 'HEAD')
  if (withTests) {
    step('Tests: .ci/run and npm run test:bundle')
    run(root, 'bash', ['.ci/run'], 'inherit')
    npm(root, ['run', 'test:bundle'], 'inherit')
    if (git(root, 'status', '--porcelain') !== '')
      throw new Error('the tests left changes in the working tree')
  }
  try {
    step(`Version ${version} in package.json, package-lock.json, CHANGELOG.md and wherever else it stands`)
    edit(root)
    node(root, 'scripts/generate.ts', '--check')
    git(root, 'commit', '--quiet', '--all', '--message', `chore(release): ${version}`)
    makeFiles(root)
    git(root, 'tag', '--annotate', `v${version}`, '--message', `procore-proxy ${version}`)
    step(`Committed, and tagged v${version}`)
  } catch (error) {
    // The tree was clean: all that goes is what was done above.
    git(root, 'reset', '--quiet', '--hard', before)
    rmSync(join(root, 'dist/release'), { recursive: true, force: true })
    throw error
  }
}

function edit(root: string): void {
  npm(root, ['version', version, '--no-git-tag-version', '--allow-same-version', '--ignore-scripts'])
  const date = new Date(SECONDS * 1000).toISOString().slice(0, 10)
  rewrite(join(root, 'CHANGELOG.md'), (text) => releasedChangelog(text, version, date))
  for (const file of filesWithVersion(root)) rewrite(join(root, file), (text) => withVersion(text, version))
}

/** dist/release, from the commit that is HEAD. */
function makeFiles(root: string): void {
  const folder = join(root, 'dist/release')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })

  step('The package, packed twice: here, and in a fresh clone with packages of its own')
  const tarball = pack(root, folder)
  withFolder((other) => {
    clone(root, join(other, 'clone'), 'HEAD')
    const again = pack(join(other, 'clone'), other)
    const [one, two] = [sha256(join(folder, tarball)), sha256(join(other, again))]
    if (one !== two) throw new Error(`two packs of the same commit differ: ${one}, ${two}`)
    run(other, 'tar', ['-xzf', again])
    isVersion(run(other, process.execPath, ['package/dist/bin/procore-proxy.cjs', '--version']))
  })

  step('The list of what it holds (CycloneDX)')
  npm(root, ['run', 'sbom'])

  step('The single executable, for this platform')
  // It holds Node too, and so does its file of licences.
  const licences = executable(root, folder) ? 'dist/sea/LICENSES.txt' : 'dist/bin/LICENSES.txt'
  copyFileSync(join(root, licences), join(folder, 'LICENSES.txt'))
  const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8')
  writeFileSync(join(folder, 'CHANGES.md'), `${sectionOf(changelog, version)}\n`)

  const files = readdirSync(folder).sort()
  const sums = files.map((file) => `${sha256(join(folder, file))}  ${file}\n`).join('')
  writeFileSync(join(folder, 'SHA256SUMS'), sums)
  console.log(`\ndist/release/SHA256SUMS, and how many bytes each has:\n\n${sums}`)
  for (const file of files) console.log(`${String(statSync(join(folder, file)).size).padStart(12)}  ${file}`)
}

/** The tarball's name; its own prepack builds what it holds. */
function pack(root: string, folder: string): string {
  npm(root, ['pack', '--pack-destination', folder])
  const found = readdirSync(folder).find((file) => file.endsWith('.tgz'))
  if (found === undefined) throw new Error('npm pack made no tarball')
  return found
}

/** Where this platform can't have one, the release goes without. */
function executable(root: string, folder: string): boolean {
  const suffix = WINDOWS ? '.exe' : ''
  const name = `procore-proxy-${version}-${process.platform}-${process.arch}${suffix}`
  try {
    npm(root, ['run', 'build:sea'])
    const made = join(root, `dist/sea/procore-proxy${suffix}`)
    isVersion(run(root, made, ['--version']))
    if (!/^Node\.js is licensed/m.test(readFileSync(join(root, 'dist/sea/LICENSES.txt'), 'utf8')))
      throw new Error(`it holds Node, whose LICENSE is not beside ${process.execPath}`)
    copyFileSync(made, join(folder, name))
    return true
  } catch (error) {
    console.warn(`No single executable: ${(error as Error).message}`)
    return false
  }
}

function isVersion(told: string): void {
  if (told.trim() !== version) throw new Error(`the program says ${told.trim()}, not ${version}`)
}

/** What needs somebody's credentials. */
function remaining(): string {
  const tag = `v${version}`
  const next = isPrerelease(version)
  const pinned =
    (readFileSync(join(ROOT, 'Dockerfile'), 'utf8').match(/^ARG \w+_IMAGE=.*@sha256:/gm) ?? []).length === 2
  return `
What remains, for somebody with credentials:

1. git push --atomic origin main ${tag}
2. In CI, at ${tag} (provenance needs its identity; npm publish refuses elsewhere), with the same Node and npm:
     npm ci --ignore-scripts && npm pack
     grep ' procore-proxy-${version}.tgz$' SHA256SUMS | sha256sum --check      # with dist/release/SHA256SUMS
     npm publish --provenance${next ? ' --tag next' : ''} ./procore-proxy-${version}.tgz
3. The image, from the tag:${pinned ? ' its bases are pinned.' : ' its bases are not pinned (run deploy/docker/pin.sh and commit before the release, or pin now).'}
     git switch --detach ${tag}${pinned ? '' : ' && deploy/docker/pin.sh'}
     docker build --build-arg VERSION=${version} --build-arg REVISION=$(git rev-parse HEAD) -t REGISTRY/procore-proxy:${version} .
     docker push REGISTRY/procore-proxy:${version}                            # prints the digest: deploy by REGISTRY/procore-proxy@sha256:…
4. gh release create ${tag} --verify-tag${next ? ' --prerelease' : ''} --title ${version} --notes-file dist/release/CHANGES.md dist/release/*
   and add the executables of other platforms (npm run build:sea there), each with its line in SHA256SUMS.`
}

function clone(from: string, to: string, commit: string): void {
  const id = git(from, 'rev-parse', commit)
  run(from, 'git', ['clone', '--quiet', '--no-hardlinks', from, to])
  git(to, '-c', 'advice.detachedHead=false', 'switch', '--quiet', '--detach', id)
  npm(to, ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'])
}

function withFolder(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-release-'))
  try {
    use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function rewrite(file: string, change: (text: string) => string): void {
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}

function git(root: string, ...args: string[]): string {
  return run(root, 'git', args).trim()
}

function node(root: string, ...args: string[]): string {
  return run(root, process.execPath, args)
}

function npm(root: string, args: readonly string[], output: 'pipe' | 'inherit' = 'pipe'): void {
  run(root, WINDOWS ? 'npm.cmd' : 'npm', args, output)
}

/** What it prints; what it prints to stderr shows where it fails. */
function run(
  cwd: string,
  command: string,
  args: readonly string[],
  output: 'pipe' | 'inherit' = 'pipe',
): string {
  const told: string | null = execFileSync(command, args, {
    cwd,
    env: ENV,
    encoding: 'utf8',
    maxBuffer: 64_000_000,
    shell: command.endsWith('.cmd'),
    stdio: ['ignore', output, output],
  })
  return told ?? ''
}

function step(title: string): void {
  console.log(`\n== ${title}`)
}
