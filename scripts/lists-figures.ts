// Compares a list of 100,000 rows with a loop of curl and jq: time, calls, memory of the proxy, rows. Linux only.
// Run it with: node scripts/node.mjs node scripts/lists-figures.ts [--budget]
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startFakeProcore } from '../src/fake/procore.ts'

const ROWS = 100_000
const PATH = '/rest/v1.0/projects/1000001/rfis'
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
const run = promisify(execFile)
const withBudget = process.argv.includes('--budget')
const none = Number.POSITIVE_INFINITY

const fake = await startFakeProcore({
  companies: [{ id: '7656', name: 'Acme', projects: 1, rfis: ROWS }],
  rateLimit: withBudget ? { spike: 25, hourly: none } : { spike: none, hourly: none },
})
const folder = mkdtempSync(join(tmpdir(), 'lists-figures-'))
const proxy = spawn(process.execPath, [MAIN, 'start', '--listen', '127.0.0.1:0', '--log-level', 'error'], {
  cwd: folder,
  env: {
    PATH: process.env['PATH'],
    PROCORE_LOGIN_URL: fake.loginUrl,
    PROCORE_API_URL: fake.apiUrl,
    PROCORE_CLIENT_ID: 'demo-client',
    PROCORE_CLIENT_SECRET: 'demo-secret',
    PROCORE_COMPANY_ID: '7656',
  },
})
try {
  const [line] = (await once(proxy.stderr, 'data')) as [Buffer]
  const url = /http:\S+/.exec(String(line))?.[0] ?? ''
  // The first list loads the code.
  await run('curl', ['-sS', '-o', '/dev/null', `${url}/_proxy/csv/rest/v1.0/projects`])
  if (withBudget) await budget(url)
  else await compare(url)
} finally {
  proxy.kill()
  await fake.close()
  rmSync(folder, { recursive: true })
}

/** Kilobytes of a line of /proc/PID/status. */
function memory(name: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${proxy.pid}/status`, 'utf8'))?.[1])
}

async function measure(command: readonly [string, ...string[]]): Promise<object> {
  fake.journal.clear()
  const idle = memory('VmRSS')
  // Resets the peak.
  writeFileSync(`/proc/${proxy.pid}/clear_refs`, '5')
  const begun = performance.now()
  await run(command[0], command.slice(1))
  const seconds = (performance.now() - begun) / 1000
  const peak = memory('VmHWM')
  return {
    seconds: seconds.toFixed(2),
    calls: fake.journal.api().length,
    'idle MB': (idle / 1024).toFixed(0),
    'above idle MB': ((peak - idle) / 1024).toFixed(1),
  }
}

async function compare(url: string): Promise<void> {
  const file = (form: string): string => join(folder, form)
  const loop = `page=1; while :; do
    curl -fsS -D '${file('head')}' "${url}${PATH}?per_page=1000&page=$page" | jq -c '.[]' >> '${file('loop')}'
    grep -qi 'rel="next"' '${file('head')}' || break
    page=$((page + 1))
  done`
  const table: Record<string, object> = { 'curl and jq': await measure(['bash', '-c', loop]) }
  for (const form of ['csv', 'ndjson', 'json']) {
    table[form] = await measure(['curl', '-fsS', '-o', file(form), `${url}/_proxy/${form}${PATH}`])
  }
  console.table(table)
  const shell = (script: string): string =>
    execFileSync('bash', ['-c', script], { cwd: folder }).toString().trim()
  const python =
    "import csv,json,sys; rows=list(csv.DictReader(open('csv',newline='',encoding='utf-8'))); print(len(rows), rows[2]['subject'], rows[1]['subject'].encode())"
  console.log('jq, loop and ndjson:', shell('jq -c . ndjson | cmp - loop && echo identical'))
  console.log('jq, loop and json:', shell("jq -c '.[]' json | cmp - loop && echo identical"))
  console.log('python csv:', shell(`python3 -c "${python}"`))
  const office =
    'head -c 200000 csv > part.csv; soffice --headless --convert-to ods part.csv >/dev/null 2>&1 && ls part.ods || echo not installed'
  console.log('LibreOffice:', shell(office))
}

/** 100 calls at 25 in ten seconds; the API tells the end of a window in whole seconds, and no call may come before it. */
async function budget(url: string): Promise<void> {
  const list = await measure(['curl', '-fsS', '-o', '/dev/null', `${url}/_proxy/ndjson${PATH}`])
  const calls = fake.journal.api()
  const [first, last] = [calls[0], calls.at(-1)]
  if (first === undefined || last === undefined) throw new Error('the list made no calls')
  let lateMs = 0
  for (let at = 1; at < calls.length; at += 1) {
    const [before, next] = [calls[at - 1]?.at ?? 0, calls[at]?.at ?? 0]
    // A wait: what is beyond the next whole second of a window of ten seconds.
    if (next - before > 2_000) lateMs += next % 1000
  }
  const tookMs = last.at - first.at
  const over = `${((100 * lateMs) / (tookMs - lateMs)).toFixed(1)} %`
  const refused = calls.filter(({ status }) => status === 429).length
  console.table({
    'budget 25 in 10 s': { ...list, 'over what is allowed': over, 'calls refused (429)': refused },
  })
}
