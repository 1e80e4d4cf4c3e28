// The recipes of docs/tools.md, run against the fake Procore as they are pasted.
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startRig } from '../fixtures/proxy.ts'

t.jobs = 2
const root = join(import.meta.dirname, '..', '..')
const page = readFileSync(join(root, 'docs/tools.md'), 'utf8')

/** The blocks of a language, in the order of the page. */
function blocks(language: string): string[] {
  return [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, name, text = '']) =>
    name === language ? [text] : [],
  )
}

interface Recipe {
  readonly name: string
  readonly text: string | undefined
  readonly program: string
  readonly flags: readonly string[]
  /** What has to be there; exit status 0. */
  readonly probe: readonly string[]
  readonly says: RegExp
  /** What is in the files that it writes. */
  readonly writes?: Readonly<Record<string, RegExp | ((text: string) => boolean)>>
}

const [csv, curlRead, curlPages, curlWrite] = blocks('sh')
const [requestsRead, plain, requestsWrite] = blocks('python')
const shell = { program: 'sh', flags: ['-ec'], probe: ['-c', 'curl --version'] }
const python = { program: 'python3', flags: ['-c'], probe: ['-c', 'import requests'] }
const RECIPES: readonly Recipe[] = [
  { name: 'a CSV file', text: csv, ...shell, says: /^$/, writes: { 'projects.csv': isCsvOf45 } },
  {
    ...{ name: 'curl: read', text: curlRead, ...shell, says: /"Demo Service Account"/ },
    writes: { 'projects.json': isArrayOf45, 'rfi.pdf': /./s },
  },
  {
    ...{
      name: 'curl: all pages',
      text: curlPages,
      ...shell,
      probe: ['-c', 'curl --version && jq --version'],
    },
    ...{ says: /^$/, writes: { 'pages.json': isArrayOf45 } },
  },
  { name: 'curl: write', text: curlWrite, ...shell, says: /"name":"Depot"[\s\S]*"sha256"/ },
  { name: 'Python with requests: read', text: requestsRead, ...python, says: /^45 projects\n$/ },
  { name: 'Python with requests: write', text: requestsWrite, ...python, says: /^$/ },
  {
    ...{ name: 'Python alone', text: plain, program: 'python3', flags: ['-S', '-c'], probe: ['--version'] },
    says: /^45 projects\n$/,
  },
  {
    ...{ name: "Procore's SDK", text: blocks('js')[0], program: process.execPath, probe: ['--version'] },
    ...{ flags: ['--input-type=module', '-e'], says: /^20 projects\n$/ },
  },
]

/** Each project has a number; cells may hold line breaks. */
function isCsvOf45(text: string): boolean {
  return text.startsWith('id,') && text.split(/\r\n(?=\d{7},)/).length === 46
}

function isArrayOf45(text: string): boolean {
  return (JSON.parse(text) as unknown[]).length === 45
}

for (const { name, text, program, flags, probe, says, writes = {} } of RECIPES) {
  const isThere = spawnSync(program, probe).status === 0
  t.test(name, isThere ? {} : { skip: 'not installed here' }, async (t) => {
    const { fake, url } = await startRig(t)
    t.match(text, 'http://127.0.0.1:8377/acme')
    const pasted = String(text).replaceAll('http://127.0.0.1:8377', url)
    // The SDK is found from where the project is; everything else writes its files here.
    const cwd = program === process.execPath ? root : t.testdirName
    const env = { ...process.env, NO_PROXY: 'localhost,127.0.0.1' }
    const [error, out, err] = await new Promise<[Error | null, string, string]>((resolve) => {
      execFile(program, [...flags, pasted], { cwd, env }, (...ended) => resolve(ended))
    })
    t.equal(error, null, err)
    t.match(out, says)
    for (const [file, wanted] of Object.entries(writes)) {
      const written = readFileSync(join(cwd, file), 'utf8')
      t.ok(typeof wanted === 'function' ? wanted(written) : wanted.test(written), file)
    }
    const isWrite = /write/.test(name)
    const writing = fake.journal.api().filter(({ method }) => method !== 'GET')
    t.equal(writing.length > 0, isWrite, 'only blocks that say so write')
  })
}

t.test('the page has the recipes that are not run here', async (t) => {
  t.match(blocks('m')[0], 'List.Generate')
  t.equal(blocks('powershell').length, 3)
})
