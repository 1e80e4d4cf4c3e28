// Covers src/recordings/har-file.ts
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  appendEntries,
  bytesOf,
  HAR_END,
  harText,
  type RecordedCompany,
  RecordingError,
  readFolder,
  recordedCompanies,
} from '../../src/recordings/har-file.ts'

const ACME: RecordedCompany = {
  company: { name: 'acme', id: '7656' },
  environment: {
    name: 'production',
    apiUrl: 'https://api.procore.com',
    loginUrl: 'https://login.procore.com',
    fileDomain: 'procore.com',
  },
}

function line(status: number): string {
  return JSON.stringify({
    request: { method: 'GET', url: 'https://api.procore.com/rest/v1.0/me' },
    response: { status, statusText: 'OK', headers: [], content: { text: 'x' } },
    custom: 'kept',
  })
}

function start(t: Test) {
  const folder = join(t.testdir(), 'new', 'recordings')
  return {
    folder,
    file: join(folder, 'acme.har'),
    add: (...lines: string[]) => appendEntries(folder, ACME, lines),
  }
}

async function statuses(folder: string) {
  return (await readFolder(folder)).map(({ entries }) =>
    entries.map((entry) => entry.parse().response.status),
  )
}

t.test('a folder is made, and added to; files are for their owner alone', async (t) => {
  const { folder, file, add } = start(t)
  await add(line(200))
  t.strictSame(await statuses(folder), [[200]])
  t.equal(statSync(file).mode & 0o777, 0o600)
  chmodSync(file, 0o644)
  await add(line(201), line(202))
  t.strictSame(await statuses(folder), [[200, 201, 202]])
  t.match((await readFolder(folder))[0], ACME)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  t.equal(readFileSync(file, 'utf8').split('\n').length, 6, 'one line for each entry, for readable diffs')
  t.strictSame(readdirSync(folder), ['acme.har'], 'nothing temporary is left')
})

t.test('an empty recording is added to', async (t) => {
  const { folder, file, add } = start(t)
  await add(line(200))
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace(`${line(200)}`, ''))
  t.strictSame(await statuses(folder), [[]])
  await add(line(201))
  t.strictSame(await statuses(folder), [[201]])
})

t.test(
  'a file that a person laid out differently is added to, with all that is in its entries',
  async (t) => {
    const { folder, file, add } = start(t)
    await add(line(200))
    writeFileSync(join(folder, '._acme.har'), 'what macOS adds')
    const har = JSON.parse(readFileSync(file, 'utf8'))
    const inOneLine = JSON.stringify(har)
    for (const layout of [JSON.stringify(har, null, 2), inOneLine.replace(/]}}$/, HAR_END)]) {
      writeFileSync(file, layout)
      t.match(await readFolder(folder), [ACME])
      t.strictSame(await statuses(folder), [[200]])
      await add(line(201))
      t.match(await readFolder(folder), [ACME])
      t.strictSame(await statuses(folder), [[200, 201]])
      t.match(readFileSync(file, 'utf8'), /"custom":"kept"/)
    }
  },
)

t.test('the old file stays as it is until the new one is whole', async (t) => {
  const { folder, file, add } = start(t)
  await add(line(200))
  const before = readFileSync(file, 'utf8')
  const temporary = join(folder, '.acme.tmp')
  mkdirSync(join(temporary, 'in-the-way'), { recursive: true })
  await t.rejects(add(line(201)))
  t.equal(readFileSync(file, 'utf8'), before)
})

t.test(
  'so does it on a disk that becomes full within a write',
  { skip: process.platform === 'win32' },
  async (t) => {
    const { folder, file, add } = start(t)
    await add(line(200))
    const before = readFileSync(file, 'utf8')
    const module = join(import.meta.dirname, '../../src/recordings/har-file.ts')
    const script = `
    import { appendEntries } from ${JSON.stringify(module)}
    await appendEntries(${JSON.stringify(folder)}, ${JSON.stringify(ACME)}, ['"${'x'.repeat(100_000)}"'])
  `
    // A limit for the length of files acts like a full disk: the first write that exceeds it writes a part, the next one fails.
    // What tap adds would end the program, and its own files may be longer than that.
    const limit = 'unset NODE_OPTIONS NODE_V8_COVERAGE NODE_COMPILE_CACHE; ulimit -f 32; exec "$0" "$@"'
    const program = [process.execPath, '--input-type=module', '--eval', script]
    const { stderr } = spawnSync('sh', ['-c', limit, ...program], { encoding: 'utf8' })
    t.match(stderr, /EFBIG/)
    t.equal(readFileSync(file, 'utf8'), before)
    t.strictSame(readdirSync(folder), ['acme.har'])
  },
)

t.test('the company of a file becomes the default, and ceases to be it', async (t) => {
  const { folder, add } = start(t)
  await add(line(200))
  for (const isDefault of [true, undefined]) {
    const company = { ...ACME.company, ...(isDefault && { default: true }) }
    const environment = { ...ACME.environment, apiUrl: 'https://another.example' }
    await appendEntries(folder, { company, environment }, [line(201)])
    t.strictSame((await recordedCompanies(folder))[0], { ...ACME, company })
  }
  t.strictSame(await statuses(folder), [[200, 201, 201]])
})

t.test('a recording of another company is not added to', async (t) => {
  const { folder, file, add } = start(t)
  await add(line(200))
  const other = { ...ACME, company: { name: 'acme', id: '8' } }
  await t.rejects(appendEntries(folder, other, [line(201)]), {
    name: 'RecordingError',
    message: /of the company 7656, not 8/,
  })
  writeFileSync(file, JSON.stringify(JSON.parse(readFileSync(file, 'utf8')), null, 2))
  await t.rejects(appendEntries(folder, other, [line(201)]), RecordingError)
  t.strictSame(readdirSync(folder), ['acme.har'])
})

t.test('what is no recording is named', async (t) => {
  const { folder, file, add } = start(t)
  await add(line(200))
  for (const text of [
    '',
    '{',
    '{}',
    '{"log":{"entries":[]}}',
    readFileSync(file, 'utf8').slice(0, -1).concat('x'),
  ]) {
    writeFileSync(file, text)
    await t.rejects(
      readFolder(folder),
      { name: 'RecordingError', message: /acme\.har is not a recording/ },
      text,
    )
  }
  await t.rejects(add(line(201)), RecordingError)
  await t.rejects(readFolder(join(folder, 'missing')), { code: 'ENOENT' })
})

t.test('bodies come back byte for byte, as text where they are text', async (t) => {
  const cases: readonly [Buffer, boolean][] = [
    [Buffer.from('Dépôt \ud83d\ude00 "x"'), true],
    [Buffer.from('\ufeffwith a byte-order mark'), true],
    [Buffer.alloc(0), true],
    [Buffer.from([0x50, 0x4b, 0x03, 0x04, 0xff]), false],
    [Buffer.from('a\0b'), false],
  ]
  for (const [bytes, isText] of cases) {
    const { text, encoding } = harText(bytes)
    t.equal(encoding, isText ? undefined : 'base64')
    t.ok(bytesOf(text, encoding).equals(bytes))
  }
})

t.test('entries are parsed when they are played, whatever is in them', async (t) => {
  const { folder, add } = start(t)
  const entry = (url: string, text: string, own: object) =>
    JSON.stringify({
      startedDateTime: '2026-01-01T00:00:00.000Z',
      time: 1.25,
      request: { method: 'GET', url },
      response: { status: 200, statusText: 'OK', headers: [], content: { text } },
      ...own,
    })
  const odd = '"_procoreProxy":{"bodySha256":"ff"}}\n'
  await add(
    entry('https://a/"quoted"', odd, { _procoreProxy: { bodySha256: 'a0' } }),
    entry('https://a/b', odd, {
      _procoreProxy: { bodySha256: '', omitted: 'too long', apiUrl: 'https://a' },
    }),
    entry(`https://a/${'x'.repeat(10_000)}`, odd, { _procoreProxy: { bodySha256: 'a0' } }),
    entry('https://a/c', odd, {}),
  )
  const [{ entries } = { entries: [] }] = await readFolder(folder)
  t.match(entries, [
    { request: { url: 'https://a/"quoted"' }, _procoreProxy: { bodySha256: 'a0' } },
    {
      request: { url: 'https://a/b' },
      _procoreProxy: { bodySha256: '', omitted: 'too long', apiUrl: 'https://a' },
    },
    { request: { url: /x{10000}$/ }, _procoreProxy: { bodySha256: 'a0' } },
    { request: { url: 'https://a/c' }, _procoreProxy: undefined },
  ])
  for (const each of entries) t.equal(each.parse().response.content.text, odd)
})
