// What a release decides and edits: versions, the changelog, the places that name the version, and what speaks against it.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'

const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-(alpha|beta|rc)\.(0|[1-9]\d*))?$/
const STAGES = ['alpha', 'beta', 'rc', undefined]

function parse(version: string): readonly number[] {
  const found = VERSION.exec(version)
  if (found === null)
    throw new Error(`${version} is no version: wanted is X.Y.Z or X.Y.Z-rc.N (alpha, beta, rc)`)
  const [, major, minor, patch, stage, count] = found
  return [Number(major), Number(minor), Number(patch), STAGES.indexOf(stage), Number(count ?? 0)]
}

/** Above zero where the first is the greater one by semver's rules. */
export function compareVersions(one: string, other: string): number {
  const others = parse(other)
  const differences = parse(one).map((part, index) => part - (others[index] ?? 0))
  return differences.find((difference) => difference !== 0) ?? 0
}

export const isPrerelease = (version: string): boolean => version.includes('-')

/** What stands under a heading of the changelog, up to the next one of its kind; undefined where there is no such heading. */
export function sectionOf(changelog: string, title: string): string | undefined {
  const sections = changelog.split(/^## /m).slice(1)
  const found = sections.find((section) => /^\[?([^\]\s]+)/.exec(section)?.[1] === title)
  return found?.slice(found.indexOf('\n') + 1).trim()
}

export const hasEntries = (section: string | undefined): boolean => /^[-*] \S/m.test(section ?? '')

/** What is unreleased becomes the version's, below a fresh and empty Unreleased. */
export function releasedChangelog(changelog: string, version: string, date: string): string {
  return changelog.replace(/^## Unreleased[ \t]*$/m, `## Unreleased\n\n## ${version} - ${date}`)
}

/** An image's tag, a package's version, a file's name, kustomize's newTag. */
const MENTION = /(\bprocore-proxy(?:[:@]|-v?|,? newTag: ))(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.\d+)?)/g

export function versionsIn(text: string): readonly string[] {
  return [...text.matchAll(MENTION)].map(([, , version = '']) => version)
}

export function withVersion(text: string, version: string): string {
  return text.replaceAll(MENTION, (_, before: string) => before + version)
}

/** The files for users that name the version, from the top of the project. */
export function filesWithVersion(root: string): readonly string[] {
  return ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'Dockerfile', 'config', 'deploy', 'docs']
    .filter((place) => existsSync(join(root, place)))
    .flatMap((place) =>
      statSync(join(root, place)).isDirectory()
        ? readdirSync(join(root, place), { recursive: true, encoding: 'utf8' }).map((file) =>
            join(place, file),
          )
        : place,
    )
    .filter((file) => extname(file) !== '.png' && statSync(join(root, file)).isFile())
    .filter((file) => versionsIn(readFileSync(join(root, file), 'utf8')).length > 0)
    .sort()
}

/** What speaks against the release of a version from this folder, each with what to do; empty where nothing does. */
export function objections(root: string, version: string): readonly string[] {
  if (!VERSION.test(version))
    return [
      `${version || 'nothing'} is no version: npm run release -- X.Y.Z (or X.Y.Z-rc.N; alpha, beta, rc)`,
    ]
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  const { version: present } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8')
  const tags = git('tag', '--list', 'v*').split('\n')
  // The version that the project starts with has not been released before.
  const isFirst =
    version === present && sectionOf(changelog, present) === undefined && !tags.includes(`v${present}`)
  const branch = git('branch', '--show-current')
  const found: string[] = []
  if (git('status', '--porcelain') !== '')
    found.push('The working tree has changes: commit or stash them (git status shows them)')
  if (branch !== 'main')
    found.push(`This is ${branch || 'no branch'}, releases are made from main: git switch main`)
  if (compareVersions(version, present) <= 0 && !isFirst)
    found.push(`${version} is not greater than ${present}, which package.json names: choose a greater one`)
  if (!hasEntries(sectionOf(changelog, 'Unreleased')))
    found.push('CHANGELOG.md has no entries under "## Unreleased": write what has changed for users')
  if (tags.includes(`v${version}`)) found.push(`The tag v${version} exists: choose another version`)
  return found
}
