// `list`, from outside: a whole list without a running proxy; and its progress.
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { list, listProgress } from '../../src/cli/list.ts'
import { run, runToEnd, shortFolder, startPlace } from '../fixtures/cli.ts'

t.jobs = 2

const PROJECTS = '/acme/rest/v1.0/projects'

t.test('writes all pages of a list to a file or to standard output', async (t) => {
  const { folder } = await startPlace(t)
  const toFile = ['list', PROJECTS, '--format', 'csv', '--output', 'projects.csv']
  t.match(await runToEnd(t, toFile, { cwd: folder }), { code: 0, out: '' })
  const csv = readFileSync(join(folder, 'projects.csv'), 'utf8')
  t.match(csv, /^id,/)
  t.equal(csv.trimEnd().split('\r\n').length, 46, 'a header and 45 projects')
  t.strictSame(readdirSync(folder).sort(), ['procore-proxy.yaml', 'projects.csv'])
  const json = await runToEnd(t, ['list', PROJECTS, '--format', 'json'], { cwd: folder })
  t.equal(json.code, 0)
  t.equal((JSON.parse(json.out) as unknown[]).length, 45)
})

t.test('it needs no key, is no caller, is not audited, and works where lists are switched off', async (t) => {
  const key = 'a-key-of-one-caller'
  const { file: config, folder } = await startPlace(t, {
    guard: { requireHeader: true, clientKeys: ['a-key-of-all-callers'] },
    callers: { excel: { key, companies: ['globex'] } },
    audit: { file: 'audit.jsonl' },
    lists: { enabled: false },
  })
  await list(PROJECTS, { config, output: join(folder, 'rows') })
  t.strictSame(readdirSync(folder).sort(), ['procore-proxy.yaml', 'rows'])
})

t.test('anything that is missing ends with 1, and leaves no file', async (t) => {
  const { file: config, folder, fake } = await startPlace(t)
  fake.faults.api.push({ match: '/rest/v1.0/projects', status: 500, body: '{}' })
  const output = join(folder, 'projects.csv')
  await t.rejects(list(PROJECTS, { config, output }), { status: 1, message: 'Procore answered 500: {}' })
  t.notOk(existsSync(output))
  await t.rejects(list('projects', {}), { status: 2, message: /write \/rest\/v1\.0\/projects/ })
})

t.test(
  'a list that breaks off is reported as incomplete, and not as an output that could not be written',
  async (t) => {
    const { file: config, folder, fake } = await startPlace(t)
    fake.faults.reset('mid-body', { match: (_, url) => url.includes('&page=2'), times: 100 })
    const path = `${PROJECTS}?per_page=20`
    const message = 'The list is not complete: The API broke the connection off.'
    const ended = await runToEnd(t, ['list', path], { cwd: folder })
    t.match(ended, { code: 1, err: `procore-proxy: ${message}\n` })
    t.ok(ended.out.split('\r\n').length > 20, 'the rows so far')
    const output = join(folder, 'projects.csv')
    await t.rejects(list(path, { config, output }), { status: 1, message })
    t.strictSame(readdirSync(folder), ['procore-proxy.yaml'])
  },
)

t.test('a list that cannot begin says why, in the words of Procore or of the proxy', async (t) => {
  const { file: config, fake } = await startPlace(t)
  const refused = (match: string, status: number, body: string | Buffer, headers = {}) => {
    fake.faults.api.push({ match, status, body, headers })
  }
  refused('/rest/v1.0/text', 500, 'no JSON')
  refused('/rest/v1.0/secret', 500, 'you sent demo-secret')
  refused('/rest/v1.0/long', 500, 'a'.repeat(501))
  refused('/rest/v1.0/zipped', 500, gzipSync('unpacked'), { 'Content-Encoding': 'gzip' })
  const cases: [string, string | RegExp][] = [
    ['/rest/v1.0/me', /not a JSON array\. Use a path/],
    ['/rest/v1.0/nothing', /^Procore answered 404: \{"errors"/],
    ['/rest/v1.0/status/502', 'Procore answered 502: {"status":502}'],
    ['/rest/v1.0/text', 'Procore answered 500: no JSON'],
    ['/rest/v1.0/secret', 'Procore answered 500: you sent *'],
    ['/rest/v1.0/long', `Procore answered 500: ${'a'.repeat(500)}…`],
    ['/rest/v1.0/zipped', 'Procore answered 500: unpacked'],
    ['/rest/v1.0/companies/1/projects', /^The request is for "acme" .* Make the address, /],
    ['/rest/../../../rest/v1.0/me', /^This is not the path of a list\. /],
  ]
  for (const [path, message] of cases)
    await t.rejects(list(`/acme${path}`, { config }), { status: 1, message }, path)
  // The parser of URLs takes a backslash for a slash: this prefix would be a host, which is left out.
  for (const path of ['/\\acme/rest/v1.0/projects', '/\\[/rest/v1.0/projects'])
    await t.rejects(list(path, { config }), { status: 1, message: /doubled slash/ }, path)
  fake.faults.token = { status: 500, body: '{}' }
  // Nothing keeps trying, and there is no header.
  await t.rejects(list(PROJECTS, { config }), { message: /500.* Try again later\.$/ })
})

t.test('projects that are missing are named, and the rest is written', async (t) => {
  const { folder, fake } = await startPlace(
    t,
    {},
    { fake: { companies: [{ id: '7656', name: 'A', projects: 2 }] } },
  )
  fake.faults.notConnected({ match: '/rest/v1.0/projects/1000002/' })
  const args = ['list', '/acme/rest/v1.0/projects/*/rfis?_columns=project_id,number']
  const err =
    'projects were passed over in a list: 1000002 (403)\n' +
    'procore-proxy: 1 project is not in the list: Procore or the rules refused them\n'
  const out = 'project_id,number\r\n1000001,1\r\n1000001,2\r\n1000001,3\r\n'
  t.match(await runToEnd(t, args, { cwd: folder }), { code: 1, out, err })
})

t.test('a full disk is reported', { skip: !existsSync('/dev/full') && 'needs /dev/full' }, async (t) => {
  const { file: config, folder } = await startPlace(t)
  const output = join(folder, 'rows')
  symlinkSync('/dev/full', `${output}.${process.pid}.part`)
  const message = /^The list is not complete: ENOSPC: /
  await t.rejects(list(PROJECTS, { config, output }), { status: 1, message })
  t.strictSame(readdirSync(folder), ['procore-proxy.yaml'])
})

t.test('a signal before or after the first row leaves no files behind', async (t) => {
  const { folder, fake } = await startPlace(t)
  const temporary = shortFolder(t)
  for (const [signal, page] of [
    ['SIGINT', 'per_page=20'],
    ['SIGTERM', '&page=2'],
  ] as const) {
    fake.journal.clear()
    fake.faults.api = [{ match: (_, url) => url.includes(page), delayMs: 60_000 }]
    const args = ['list', `${PROJECTS}?per_page=20`, '--output', 'projects.csv']
    const listing = run(t, args, { cwd: folder, env: { TMPDIR: temporary } })
    await fake.journal.when(({ url }) => url.includes(page))
    listing.kill(signal)
    const err = `procore-proxy: The list is not complete: it was stopped by ${signal}.\n`
    t.match(await listing.end(5_000), { code: 1, out: '', err })
    t.strictSame(readdirSync(temporary), [])
    t.strictSame(readdirSync(folder), ['procore-proxy.yaml'])
  }
})

t.test('two commands that write to one file do not mix their lists', async (t) => {
  const { file: config, folder, fake } = await startPlace(t)
  const isLast = (url: string) => url.includes('per_page=40') && url.includes('page=2')
  fake.faults.api = [{ match: (_, url) => isLast(url), delayMs: 2_000 }]
  const slow = run(t, ['list', `${PROJECTS}?per_page=40`, '--output', 'rows'], { cwd: folder })
  await fake.journal.when(({ url }) => isLast(url))
  await list(PROJECTS, { config, output: join(folder, 'rows') })
  t.match(await slow.end(), { code: 0, err: '' })
  t.equal(readFileSync(join(folder, 'rows'), 'utf8').trimEnd().split('\r\n').length, 46)
  t.strictSame(readdirSync(folder).sort(), ['procore-proxy.yaml', 'rows'])
})

t.test('an output that is a folder is reported, and the list is not lost', async (t) => {
  const { file: config, folder } = await startPlace(t)
  const output = join(folder, 'rows')
  mkdirSync(output)
  const message = `${output} cannot be written (EISDIR). The list is in ${output}.${process.pid}.part.`
  await t.rejects(list(PROJECTS, { config, output }), { status: 1, message })
  t.match(readFileSync(`${output}.${process.pid}.part`, 'utf8'), /^id,/)
  mkdirSync(join(folder, `other.${process.pid}.part`))
  const options = { config, output: join(folder, 'other') }
  await t.rejects(list(PROJECTS, options), { status: 1, message: /^The list is not complete: EISDIR/ })
})

t.test('an output that cannot be written ends it before anything is asked', async (t) => {
  const { file: config, folder, fake } = await startPlace(t)
  const output = join(folder, 'none/rows')
  const message = `the folder of ${output} does not exist or cannot be written to. Create it, or correct the path.`
  await t.rejects(list(PROJECTS, { config, output }), { status: 1, message })
  t.strictSame(fake.journal.entries, [])
})

t.test('what Procore answers cannot affect a terminal', async (t) => {
  const { folder, fake } = await startPlace(t)
  fake.faults.api.push({ status: 500, body: 'no\x1b]0;list\x07\nmore' })
  const { code, err } = await runToEnd(t, ['list', PROJECTS], { cwd: folder })
  t.equal(code, 1)
  t.equal(err, 'procore-proxy: Procore answered 500: no\\u001b]0;list\\u0007\nmore\n')
})

t.test('a page that Procore refuses later is named, whatever the form', async (t) => {
  const { file: config, folder, fake } = await startPlace(t)
  fake.faults.api.push({ match: (_, url) => url.includes('page=2'), status: 500, body: '{}' })
  const message = 'The list is not complete: Procore answered 500 to /rest/v1.0/projects.'
  for (const format of ['csv', 'ndjson', 'json'] as const) {
    const listing = list(`${PROJECTS}?per_page=9`, { config, format, output: join(folder, 'x') })
    await t.rejects(listing, { status: 1, message }, format)
  }
})

t.test('progress is shown on a terminal, and missing projects anywhere', async (t) => {
  const shown = (isTTY: boolean) => {
    const texts: string[] = []
    const progress = listProgress({ isTTY, write: (text: string) => texts.push(text) > 0 } as never)
    const page = (received: number, number = 1, of = 1) =>
      progress.page({ received, total: 4000, project: { number, of } })
    page(1000)
    page(2000)
    page(500, 2, 2)
    page(5000, 2, 2)
    progress.page({ received: 1, total: undefined, project: undefined })
    progress.passedOver(1, ['7 (403)'])
    t.equal(progress.missing(), 1)
    progress.end()
    return texts.join('')
  }
  t.match(
    shown(true),
    /25 % {2}1,000 rows.*50 % {2}2,000 rows.*56 % {2}2,500 rows, project 2 of 2.*100 % {2}7,000 rows, .* 0 % {2}.*passed over in a list: 7 \(403\)\n/s,
  )
  t.equal(shown(false), 'projects were passed over in a list: 7 (403)\n')
})

t.test('on a terminal, progress and rows share no line', async (t) => {
  const shown = (isTTY: boolean, rows: string) => {
    const texts: string[] = []
    const write = (piece: string | Buffer) => texts.push(piece.toString()) > 0
    const progress = listProgress({ isTTY: true, write } as never)
    const page = () => progress.page({ received: 1, total: 2, project: undefined })
    page()
    progress.beside({ isTTY, write } as never).write(rows)
    page()
    return texts.join('').replaceAll(/\r\x1b\[K█.*?rows/gs, '…')
  }
  t.equal(shown(true, 'id\r\n1\r\n'), '…\r\x1b[Kid\r\n1\r\n…', 'rows take the place of the bar')
  t.equal(shown(true, '[\n{"id":1}'), '…\r\x1b[K[\n{"id":1}', 'a row that may go on is not overwritten')
  t.equal(shown(false, '[\n{"id":1}'), '…[\n{"id":1}…', 'rows that go elsewhere leave the bar where it is')
})
