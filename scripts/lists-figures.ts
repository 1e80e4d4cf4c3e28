// Compares a list of 100,000 rows with a loop of curl and jq: time, calls, memory of the proxy, rows. Linux only.
// Run it with: npm run build && node scripts/node.mjs node scripts/lists-figures.ts [--budget]
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startFakeProcore } from '../test/fixtures/procore.ts'

const ROWS = Number(process.env['ROWS'] ?? 100_000)
const PATH = '/rest/v1.0/projects/1000001/rfis'
const PROGRAM = fileURLToPath(new URL('../dist/bin/procore-proxy.cjs', import.meta.url))
const run = promisify(execFile)
const withBudget = process.argv.includes('--budget')
const none = Number.POSITIVE_INFINITY

const fake = await startFakeProcore({
  companies: [{ id: '7656', name: 'Acme', projects: 1, rfis: ROWS }],
  rateLimit: withBudget ? { spike: 25, hourly: none } : { spike: none, hourly: none },
})
const folder = mkdtempSync(join(tmpdir(), 'lists-figures-'))
try {
  if (withBudget) await budget()
  else await compare()
} finally {
  await fake.close()
  rmSync(folder, { recursive: true })
}

interface Proxy {
  readonly url: string
  readonly pid: number
  stop(): void
}

/** Starts the built program, and lets it forward as many pages as a list has, so that only the list is measured. */
async function startProxy(): Promise<Proxy> {
  const child = spawn(
    process.execPath,
    [PROGRAM, 'start', '--listen', '127.0.0.1:0', '--log-level', 'error'],
    {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        PROCORE_LOGIN_URL: fake.loginUrl,
        PROCORE_API_URL: fake.apiUrl,
        PROCORE_CLIENT_ID: 'demo-client',
        PROCORE_CLIENT_SECRET: 'demo-secret',
        PROCORE_COMPANY_ID: '7656',
      },
    },
  )
  const [line] = (await once(child.stderr, 'data')) as [Buffer]
  const url = /http:\S+/.exec(String(line))?.[0] ?? ''
  await run('curl', ['-fsS', '-o', '/dev/null', `${url}/_proxy/csv/rest/v1.0/projects`])
  const pages = withBudget ? 0 : ROWS / 1000
  if (pages > 0)
    await run('curl', ['-fsS', '-o', '/dev/null', `${url}${PATH}?per_page=1000&page=[1-${pages}]`])
  return { url, pid: child.pid ?? 0, stop: () => child.kill() }
}

/** Kilobytes of a line of /proc/PID/status. */
function memory({ pid }: Proxy, name: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Runs a command with the address of a proxy that was just started. */
async function measure(commandFor: (url: string) => readonly [string, ...string[]]) {
  const proxy = await startProxy()
  fake.journal.clear()
  const idle = memory(proxy, 'VmRSS')
  const [program, ...args] = commandFor(proxy.url)
  const begun = performance.now()
  await run(program, args)
  const seconds = (performance.now() - begun) / 1000
  const peak = memory(proxy, 'VmHWM')
  proxy.stop()
  return {
    seconds: seconds.toFixed(2),
    calls: fake.journal.api().length,
    'idle MB': (idle / 1024).toFixed(0),
    'above idle MB': ((peak - idle) / 1024).toFixed(1),
  }
}

async function compare(): Promise<void> {
  const file = (form: string): string => join(folder, form)
  const loop = (url: string) => `page=1; while :; do
    curl -fsS -D '${file('head')}' "${url}${PATH}?per_page=1000&page=$page" | jq -c '.[]' >> '${file('loop')}'
    grep -qi 'rel="next"' '${file('head')}' || break
    page=$((page + 1))
  done`
  const table: Record<string, object> = { 'curl and jq': await measure((url) => ['bash', '-c', loop(url)]) }
  for (const form of ['csv', 'ndjson', 'json']) {
    table[form] = await measure((url) => ['curl', '-fsS', '-o', file(form), `${url}/_proxy/${form}${PATH}`])
  }
  console.table(table)
  const shell = (script: string): string =>
    execFileSync('bash', ['-c', script], { cwd: folder }).toString().trim()
  console.log('jq, loop and ndjson:', shell('jq -c . ndjson | cmp - loop && echo identical'))
  console.log('jq, loop and json:', shell("jq -c '.[]' json | cmp - loop && echo identical"))
  // Each reader prints the number of rows and the third and the second subject; the second has a line break.
  const rows = "import csv; rows = list(csv.DictReader(open('FILE', newline='', encoding='utf-8')))"
  const printed = "; print(len(rows), rows[2]['subject'], rows[1]['subject'].encode())"
  console.log('python csv:', shell(`python3 -c "${rows.replace('FILE', 'csv')}${printed}"`))
  const pandas = "import pandas; rows = pandas.read_csv('csv').to_dict('records')"
  console.log('pandas:', shell(`python3 -c "${pandas}${printed}" 2>&1 | tail -1`))
  const office = (from: string, to: string): string =>
    `soffice --headless --convert-to ${to} --outdir office ${from} >/dev/null 2>&1`
  const utf8 = "'csv:Text - txt - csv (StarCalc):44,34,76,1'"
  const script = `cp csv list.csv && ${office('list.csv', 'ods')} && ${office('office/list.ods', utf8)}`
  const read = `python3 -c "${rows.replace('FILE', 'office/list.csv')}${printed}"`
  console.log('LibreOffice, to ODS and back:', shell(`{ ${script} && ${read}; } || echo not installed`))
}

/** 100 calls at 25 in ten seconds; the API tells the end of a window in whole seconds, and no call may come before it. */
async function budget(): Promise<void> {
  const { seconds } = await measure((url) => [
    'curl',
    '-fsS',
    '-o',
    '/dev/null',
    `${url}/_proxy/ndjson${PATH}`,
  ])
  const calls = fake.journal.api()
  const [first, last] = [calls[0], calls.at(-1)]
  if (first === undefined || last === undefined) throw new Error('the list made no calls')
  let lateMs = 0
  for (let at = 1; at < calls.length; at += 1) {
    const [before, next] = [calls[at - 1]?.at ?? 0, calls[at]?.at ?? 0]
    // A wait: what is beyond the whole second in which the API says that a window of ten seconds ends.
    const late = next % 1000
    if (next - before > 2_000) lateMs += late < 950 ? late : late - 1000
  }
  const tookMs = last.at - first.at
  const over = `${((100 * lateMs) / (tookMs - lateMs)).toFixed(1)} %`
  const refused = calls.filter(({ status }) => status === 429).length
  console.table({
    'budget 25 in 10 s': {
      seconds,
      calls: calls.length,
      'over what is allowed': over,
      'refused (429)': refused,
    },
  })
}
