// npm run release -- X.Y.Z: checks, tests, names the version everywhere, makes the files in dist/release, commits and tags.
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  lstatSync,
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
// pack() tells why.
process.umask(0o022)
/** The command that runs, and whether it shall be the last one. */
let running: ChildProcess | undefined
let isStopped = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    isStopped = true
    running?.kill(signal)
  })

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
  if (isRehearsal) await rehearse()
  else {
    await release(ROOT)
    console.log(remaining())
  }
} catch (error) {
  console.error(`\nNot released: ${(error as Error).message}`)
  process.exit(1)
}

/** All of it in a clone that is thrown away. */
async function rehearse(): Promise<void> {
  await withFolder(async (folder) => {
    step('A clone for the rehearsal, with packages of its own')
    await clone(ROOT, folder, 'HEAD')
    await git(folder, 'switch', '--quiet', '-C', 'main')
    for (const key of ['user.name', 'user.email'])
      await git(folder, 'config', key, await git(ROOT, 'config', key))
    await release(folder)
    console.log(`\n${await git(folder, 'show', '--stat', '--format=%an: %s (%cd)', `v${version}^{commit}`)}`)
    console.log(remaining())
  })
  console.log('\nThis was a rehearsal: nothing of it is left.')
}

async function release(root: string): Promise<void> {
  const before = await git(root, 'rev-parse', 'HEAD')
  try {
    step(`Version ${version} in package.json, package-lock.json, CHANGELOG.md and wherever else it stands`)
    await edit(root)
    await node(root, 'scripts/generate.ts', '--check')
    await git(root, 'commit', '--quiet', '--all', '--message', `chore(release): ${version}`)
    // What is tested is what is released, its version included.
    if (withTests) {
      step('Tests: .ci/run, and those of the bundle, the executable and the installed package')
      await run(root, 'bash', ['.ci/run'], 'inherit')
      for (const name of ['test:bundle', 'sea:test', 'package:test'])
        await npm(root, ['run', name], 'inherit')
      if ((await git(root, 'status', '--porcelain')) !== '')
        throw new Error('the tests left changes in the working tree')
    }
    await makeFiles(root)
    await git(root, 'tag', '--annotate', `v${version}`, '--message', `procore-proxy ${version}`)
    step(`Committed, and tagged v${version}`)
  } catch (error) {
    // The tree was clean: all that goes is what was done above. A signal does not stop that.
    isStopped = false
    await git(root, 'reset', '--quiet', '--hard', before)
    rmSync(join(root, 'dist/release'), { recursive: true, force: true })
    throw error
  }
}

async function edit(root: string): Promise<void> {
  await npm(root, ['version', version, '--no-git-tag-version', '--allow-same-version', '--ignore-scripts'])
  const date = new Date(SECONDS * 1000).toISOString().slice(0, 10)
  rewrite(join(root, 'CHANGELOG.md'), (text) => releasedChangelog(text, version, date))
  for (const file of filesWithVersion(root)) rewrite(join(root, file), (text) => withVersion(text, version))
}

/** dist/release, from the commit that is HEAD. */
async function makeFiles(root: string): Promise<void> {
  const folder = join(root, 'dist/release')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })

  step('The package, packed twice: here, and in a fresh clone with packages of its own')
  const tarball = await pack(root, folder)
  await withFolder(async (other) => {
    await clone(root, join(other, 'clone'), 'HEAD')
    const again = await pack(join(other, 'clone'), other)
    const [one, two] = [sha256(join(folder, tarball)), sha256(join(other, again))]
    if (one !== two) throw new Error(`two packs of the same commit differ: ${one}, ${two}`)
    await run(other, 'tar', ['-xzf', again])
    isVersion(await run(other, process.execPath, ['package/dist/bin/procore-proxy.cjs', '--version']))
  })

  step('The list of what it holds (CycloneDX)')
  await npm(root, ['run', 'sbom'])

  step('The single executable, for this platform')
  // It holds Node too, and so does its file of licences.
  const licences = (await executable(root, folder)) ? 'dist/sea/LICENSES.txt' : 'dist/bin/LICENSES.txt'
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
async function pack(root: string, folder: string): Promise<string> {
  // File modes go into the tarball: those of a checkout under a tight umask are loosened.
  for (const file of (await git(root, 'ls-files', '-z')).split('\0').filter(Boolean)) {
    const { mode } = lstatSync(join(root, file))
    if ((mode & 0o044) !== 0o044) chmodSync(join(root, file), mode | 0o044)
  }
  await npm(root, ['pack', '--pack-destination', folder])
  const found = readdirSync(folder).find((file) => file.endsWith('.tgz'))
  if (found === undefined) throw new Error('npm pack made no tarball')
  return found
}

/** Where this platform can't have one, the release goes without. */
async function executable(root: string, folder: string): Promise<boolean> {
  const suffix = WINDOWS ? '.exe' : ''
  const name = `procore-proxy-${version}-${process.platform}-${process.arch}${suffix}`
  try {
    await npm(root, ['run', 'build:sea'])
    const made = join(root, `dist/sea/procore-proxy${suffix}`)
    isVersion(await run(root, made, ['--version']))
    if (!/^Node\.js is licensed/m.test(readFileSync(join(root, 'dist/sea/LICENSES.txt'), 'utf8')))
      throw new Error(`it holds Node, whose LICENSE is not beside ${process.execPath}`)
    copyFileSync(made, join(folder, name))
    return true
  } catch (error) {
    if (isStopped) throw error
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

async function clone(from: string, to: string, commit: string): Promise<void> {
  const id = await git(from, 'rev-parse', commit)
  await run(from, 'git', ['clone', '--quiet', '--no-hardlinks', from, to])
  await git(to, '-c', 'advice.detachedHead=false', 'switch', '--quiet', '--detach', id)
  await npm(to, ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'])
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-release-'))
  try {
    await use(folder)
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

async function git(root: string, ...args: string[]): Promise<string> {
  return (await run(root, 'git', args)).trim()
}

async function node(root: string, ...args: string[]): Promise<string> {
  return run(root, process.execPath, args)
}

async function npm(
  root: string,
  args: readonly string[],
  output: 'pipe' | 'inherit' = 'pipe',
): Promise<void> {
  await run(root, WINDOWS ? 'npm.cmd' : 'npm', args, output)
}

/** What it prints; what else it says shows where it fails. */
async function run(
  cwd: string,
  command: string,
  args: readonly string[],
  output: 'pipe' | 'inherit' = 'pipe',
): Promise<string> {
  if (isStopped) throw new Error('stopped by a signal')
  running = spawn(command, args, {
    cwd,
    env: ENV,
    shell: command.endsWith('.cmd'),
    stdio: ['ignore', output, output],
  })
  let told = ''
  let errors = ''
  running.stdout?.setEncoding('utf8').on('data', (text: string) => (told += text))
  running.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const [code, signal] = (await once(running, 'close')) as [number | null, string | null]
  running = undefined
  if (code !== 0) {
    const last = `${errors}\n${told}`.trim().split('\n').slice(-30).join('\n')
    throw new Error(`${[command, ...args].join(' ')} ended with ${code ?? signal}\n${last}`)
  }
  return told
}

function step(title: string): void {
  console.log(`\n== ${title}`)
}
