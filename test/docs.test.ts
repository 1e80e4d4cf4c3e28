// The documentation: links lead somewhere, commands and flags exist, and blocks that are marked so really run.
import { execFile } from 'node:child_process'
import { chmodSync, existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t, { type Test } from 'tap'
import { COMMANDS } from '../src/cli/commands.ts'
import { COMMAND, cleanEnv, freePort } from './fixtures/cli.ts'
import { startRig } from './fixtures/proxy.ts'

t.jobs = 2
const root = join(import.meta.dirname, '..')
const pages = globSync(['*.md', 'docs/*.md', 'deploy/**/README.md'], { cwd: root })
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }

/** The fenced blocks of a page, without which links and headings are looked for. */
const FENCE = /^( *)(`{3,})(\w*)\n(.*?)^\1\2$/gms
const proseOf = (page: string) => read(page).replaceAll(FENCE, '')

/** The anchors that GitHub makes of headings. */
function anchorsOf(page: string): Set<string> {
  const headings = [...proseOf(page).matchAll(/^#+ +(.*)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
  const ids = [...read(page).matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, id = '']) => id)
  return new Set([...headings, ...ids])
}

t.test('every link leads to a file and a heading that exist', async (t) => {
  t.ok(pages.length > 15)
  for (const page of pages) {
    for (const [, link = ''] of proseOf(page).matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : relative(root, join(root, dirname(page), path))
      if (!existsSync(join(root, target))) t.fail(`${page} links to ${link}, which does not exist`)
      else if (anchor !== undefined)
        t.ok(anchorsOf(target).has(anchor), `${page} links to the heading ${link}`)
    }
  }
})

interface Block {
  readonly page: string
  /** The comment in the line above; empty where there is none. */
  readonly mark: string
  readonly text: string
}

const blocks: readonly Block[] = pages.flatMap((page) =>
  [...read(page).matchAll(/^(?:<!-- ([^\n]*) -->\n)?```sh\n(.*?)^```$/gms)].map(
    ([, mark = '', text = '']) => {
      return { page, mark, text }
    },
  ),
)

t.test('every sh block of the documentation runs, or says why not', async (t) => {
  for (const { page, mark, text } of blocks) {
    if (page.startsWith('deploy/')) continue
    const [, test] = /^run in (\S+)$/.exec(mark) ?? []
    if (test !== undefined) t.ok(existsSync(join(root, test)), `${page}: ${test} runs a block`)
    else t.match(mark, /^(run(, exit \d)?|not run: .+)$/, `${page}: ${text.slice(0, 60)}`)
  }
})

t.test('commands and flags in sh blocks exist', async (t) => {
  const flagsOf = new Map(
    COMMANDS.map(({ name, options = [] }) => [
      name,
      options.flatMap(({ flags }) => flags.match(/-{1,2}[a-z-]+/gi) ?? []),
    ]),
  )
  let count = 0
  for (const { page, text } of blocks) {
    const lines = text
      .replaceAll('\\\n', ' ')
      .split('\n')
      .map((line) => line.replace(/(^| )#.*$/, ''))
    for (const line of lines) {
      for (const [, name = ''] of line.matchAll(/\bnpm run (?:--silent )?([a-z][\w:]*)/g)) {
        t.ok(name in scripts, `${page}: npm run ${name}`)
      }
      const [, rest] =
        /(?:npm run (?:--silent )?proxy --|(?<![\w./-])procore-proxy) +([a-z-][^|;&)>]*)/.exec(line) ?? []
      if (rest === undefined || /\b(kubectl|docker|journalctl|systemctl|SETUSER|users\.acl)\b/.test(line))
        continue
      const words = rest
        .replaceAll(/'[^']*'|"[^"]*"/g, 'X')
        .trim()
        .split(/\s+/)
      const command = words[0]?.startsWith('-') ? 'start' : (words[0] ?? '')
      const flags = flagsOf.get(command)
      if (!t.ok(flags, `${page}: there is a command ${command}: ${line}`)) continue
      count++
      for (const word of words) {
        const flag = word.split('=')[0] ?? ''
        if (/^--?[a-z]/i.test(flag) && !['--help', '--version'].includes(flag))
          t.ok(flags?.includes(flag), `${page}: ${command} has ${flag}`)
      }
    }
  }
  t.ok(count > 15)
})

const hasTools = existsSync('/bin/sh') && existsSync('/usr/bin/curl')
for (const page of new Set(blocks.map((block) => block.page))) {
  const runnable = blocks.filter((block) => block.page === page && /^run(, exit \d)?$/.test(block.mark))
  if (runnable.length === 0) continue
  t.test(`the blocks of ${page} run`, hasTools ? {} : { skip: 'no sh or no curl' }, async (t) => {
    const { folder, port } = await startProxy(t)
    for (const { mark, text } of runnable) {
      const wanted = Number(/exit (\d)/.exec(mark)?.[1] ?? 0)
      const { status, output } = await runBlock(folder, adapted(text, port))
      t.equal(status, wanted, `${text}\n${output}`)
    }
  })
}

/** A proxy for the blocks, in whose folder `procore-proxy` is a command. */
async function startProxy(t: Test) {
  const port = await freePort()
  const { file, fake } = await startRig(t, {
    settings: { listen: `127.0.0.1:${port}`, companies: COMPANIES },
  })
  const folder = dirname(file)
  const program = join(folder, 'procore-proxy')
  writeFileSync(program, `#!/bin/sh\nexec ${COMMAND.map((word) => `'${word}'`).join(' ')} "$@"\n`)
  chmodSync(program, 0o755)
  // For blocks that do without a file.
  writeFileSync(
    join(folder, 'fake.env'),
    `PROCORE_API_URL=${fake.apiUrl}\nPROCORE_LOGIN_URL=${fake.loginUrl}\n`,
  )
  return { folder, port }
}

const COMPANIES = {
  acme: { id: '7656', serviceAccount: 'app', default: true },
  globex: { id: '562949953443325', serviceAccount: 'app', access: 'read-only' },
}

/** The block as it would be in a clone whose proxy has this port and this account. */
function adapted(text: string, port: number): string {
  const isWithoutFile = text.includes('export PROCORE_COMPANY_ID')
  const own = text
    .replaceAll(/npm run (--silent )?proxy -- /g, 'procore-proxy ')
    .replaceAll('127.0.0.1:8377', `127.0.0.1:${port}`)
    .replaceAll('localhost:8377', `localhost:${port}`)
    .replaceAll('the client secret', 'demo-secret')
    .replaceAll('0123abcd', 'demo-client')
  if (!isWithoutFile) return own
  return `mkdir -p empty && cd empty && set -a && . ../fake.env && set +a\n${own}`
}

function runBlock(folder: string, text: string): Promise<{ status: number; output: string }> {
  const env = {
    ...cleanEnv(folder),
    PATH: `${folder}:${process.env['PATH']}`,
    NO_PROXY: '127.0.0.1,localhost',
  }
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-euc', text], { cwd: folder, env, timeout: 50_000 }, (error, out, err) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? 99), output: out + err })
    })
  })
}
