// docs/tools.md: what it tells people to paste is pasted here, against the fake.
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
}

const [requests, plain] = blocks('python')
const RECIPES: readonly Recipe[] = [
  {
    name: 'curl',
    text: blocks('sh')[0],
    program: 'sh',
    flags: ['-ec'],
    probe: ['-c', 'curl --version'],
    says: /"Demo Service Account"[\s\S]*"name":"Depot"[\s\S]*"sha256"/,
  },
  {
    name: 'Python with requests',
    text: requests,
    program: 'python3',
    flags: ['-c'],
    probe: ['-c', 'import requests'],
    says: /^45 projects\n$/,
  },
  {
    name: 'Python alone',
    text: plain,
    program: 'python3',
    flags: ['-S', '-c'],
    probe: ['--version'],
    says: /^45 projects\n$/,
  },
  {
    name: "Procore's SDK",
    text: blocks('js')[0],
    program: process.execPath,
    flags: ['--input-type=module', '-e'],
    probe: ['--version'],
    says: /^20 projects\n$/,
  },
]

for (const { name, text, program, flags, probe, says } of RECIPES) {
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
    if (name !== 'curl') return
    t.equal(fake.journal.api().filter(({ url }) => url.includes('projects?')).length, 3, 'each page once')
    t.match(readFileSync(join(cwd, 'rfi.pdf')).length, Number)
  })
}

t.test('the page tells which recipes are run, and has no link to nowhere', async (t) => {
  for (const [, anchor = ''] of page.matchAll(/\]\(#([\w-]+)\)/g)) {
    const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, text = '']) =>
      text
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )
    t.ok(headings.includes(anchor), anchor)
  }
  t.match(blocks('m')[0], 'List.Generate')
  t.equal(blocks('powershell').length, 2)
})
