// Writes the generated files; `--check` only compares them and names each stale one.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SHELLS } from '../src/cli/commands.ts'
import { architecturePage } from './architecture.ts'
import { completionScript } from './completions.ts'
import { schemaFile } from './config/json-schema.ts'
import { referencePage } from './config/reference.ts'
import { sampleYaml } from './config/sample.ts'
import { errorDocsPage } from './error-docs.ts'
import { manualPage } from './man.ts'
import { metricsPage } from './operations.ts'

interface GeneratedFile {
  /** From the top of the project. */
  readonly path: string
  content(): string | Promise<string>
}

const root = dirname(import.meta.dirname)
const FILES: readonly GeneratedFile[] = [
  { path: 'config/procore-proxy.sample.yaml', content: sampleYaml },
  { path: 'config/procore-proxy.schema.json', content: schemaFile },
  { path: 'docs/configuration.md', content: referencePage },
  { path: 'docs/architecture.md', content: () => architecturePage(root) },
  { path: 'docs/procore-proxy.1', content: manualPage },
  ...SHELLS.map((shell) => {
    return { path: `completions/procore-proxy.${shell}`, content: () => completionScript(shell) }
  }),
  { path: 'src/page/errors.html', content: () => errorDocsPage(root) },
  { path: 'docs/operations.md', content: () => metricsPage(root) },
]

const isCheck = process.argv.includes('--check')

for (const { path, content } of FILES) {
  const wanted = await content()
  const file = join(root, path)
  const present = await readFile(file, 'utf8').catch(() => undefined)
  if (present === wanted) continue
  if (isCheck) {
    console.error(`${path} is stale: run npm run generate`)
    process.exitCode = 1
  } else {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, wanted)
    console.log(`wrote ${path}`)
  }
}
