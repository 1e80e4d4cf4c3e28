// Makes the file map of docs/architecture.md from the first lines of each source file.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { withParts } from './operations.ts'

/** Every source file, from the top of the project, sorted. */
export function sourceFiles(root: string): string[] {
  return globSync('src/**/*.ts', { cwd: root })
    .map((path) => path.replaceAll('\\', '/'))
    .sort()
}

/** What a source file says that it is for, in its first line and the comments that go on below it. */
export function purposeOf(root: string, file: string): string {
  const [comment] = /^(?:\/\/ .*\n)+/.exec(readFileSync(join(root, file), 'utf8')) ?? []
  if (comment === undefined) throw new Error(`${file} does not say in its first line what it is for`)
  return comment
    .replaceAll(/^\/\/ /gm, '')
    .trimEnd()
    .replaceAll('\n', ' ')
}

/** docs/architecture.md with its file map renewed. */
export function architecturePage(root: string): string {
  const rows = sourceFiles(root).map(
    (file) => `| \`${file}\` | ${purposeOf(root, file).replaceAll('|', '\\|')} |`,
  )
  const map = ['| file | job |', '| --- | --- |', ...rows].join('\n')
  return withParts(root, 'docs/architecture.md', { 'file map': map })
}
