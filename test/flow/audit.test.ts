// The audit through the whole proxy: what gets a line, when it is on disk, and what happens while none can be written.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { readAnswers } from '../fixtures/attacker.ts'
import { shortFolder } from '../fixtures/cli.ts'
import { openSocket, type Rig, type Settings, sendRaw, settingsFor, startRig } from '../fixtures/proxy.ts'

/** A proxy that keeps an audit file; gives the file's lines. */
async function start(t: Test, audit: Record<string, unknown> = {}, settings: Settings = {}) {
  const file = join(t.testdir(), 'audit.jsonl')
  const companies = {
    acme: { id: '7656', serviceAccount: 'app' },
    globex: { id: '562949953443325', serviceAccount: 'app', access: 'read-only' },
  }
  const rig = await startRig(t, { settings: { audit: { file, ...audit }, companies, ...settings } })
  const text = () => readFileSync(file, 'utf8')
  const lines = () =>
    text()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  return { rig, text, lines }
}

/** Sends one request and gives what `look` sees at the moment when the caller has seen the end. */
async function atTheEnd<T>(
  rig: Rig,
  method: string,
  target: string,
  look: () => T,
  version = '1.1',
): Promise<T> {
  const socket = await openSocket(rig.port)
  socket.write(
    `${method} ${target} HTTP/${version}\r\nHost: localhost\r\nX-Request-Id: ${method}${target}\r\nContent-Length: 0\r\n\r\n`,
  )
  let text = ''
  const { promise, resolve } = Promise.withResolvers<T>()
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    if (readAnswers(text, false, [method]).answers[0]?.whole) resolve(look())
  })
  for (const event of ['end', 'close']) socket.once(event, () => resolve(look()))
  const seen = await promise
  socket.destroy()
  return seen
}

/** A list whose next page is refused. */
const breakingList = {
  match: '/rest/v1.0/breaks',
  headers: { Link: '<?page=2&_method=delete>; rel=next' },
  body: '[{"id":1}]',
}

t.test('the line is on disk before the caller sees the end, however the response ends', async (t) => {
  const { rig, text } = await start(t, { what: 'all' })
  rig.fake.faults.api = [breakingList]
  for (const [method, target, version] of [
    ['POST', '/acme/rest/v1.0/echo'],
    ['GET', '/acme/rest/v1.0/large?bytes=1'],
    ['GET', '/acme/rest/v1.0/large?bytes=200000'],
    ['GET', '/acme/rest/v1.0/large?bytes=5&chunked=1'],
    ['GET', '/acme/rest/v1.0/large?bytes=200000&chunked=1'],
    ['GET', '/acme/rest/v1.0/large?bytes=200000&chunked=1', '1.0'],
    ['HEAD', '/acme/rest/v1.0/me'],
    ['PUT', '/acme/rest/v1.0/status/204'],
    ['GET', '/acme/rest/v1.0/status/304'],
    ['GET', '/unknown/rest/v1.0/me'],
    ['POST', '/globex/rest/v1.0/echo'],
    ['GET', '/acme/_proxy/csv/rest/v1.0/projects'],
    ['GET', '/acme/_proxy/json/rest/v1.0/projects', '1.0'],
    ['HEAD', '/acme/_proxy/ndjson/rest/v1.0/projects'],
    ['GET', '/acme/_proxy/csv/rest/v1.0/status/404'],
    ['HEAD', '/acme/_proxy/csv/rest/v1.0/status/404'],
    ['GET', '/acme/_proxy/csv/rest/v1.0/me'],
    ['GET', '/acme/_proxy/csv/rest/v1.0/breaks'],
    ['GET', '/acme/_proxy/ndjson/rest/v1.0/breaks', '1.0'],
  ] as const) {
    for (let nth = 0; nth < 5; nth++) {
      const before = text().length
      const line = await atTheEnd(rig, method, target, () => text().slice(before), version)
      t.match(line, `"method":"${method}"`, `${method} ${target} ${version}`)
    }
  }
})

t.test('writes and refusals get a line, with the query masked; reads only where all is asked', async (t) => {
  const { rig, lines } = await start(t)
  await rig.get('/acme/rest/v1.0/me')
  await rig.get('/acme/rest/v1.0/echo?token=s3cr3t', {
    method: 'PATCH',
    body: 's3cr3t',
    headers: { 'x-request-id': 'one' },
  })
  await rig.get('/globex/rest/v1.0/echo', { method: 'DELETE' })
  t.match(lines(), [
    {
      ...{ reqId: 'one', company: 'acme', environment: 'fake', method: 'PATCH', status: 200 },
      ...{ path: '/acme/rest/v1.0/echo?token=*', durationMs: Number, time: /Z$/ },
    },
    { company: 'globex', method: 'DELETE', status: 403, cause: 'access_denied' },
  ])
  t.equal(lines().length, 2)
})

t.test('a read that the proxy itself refuses gets a line, however late', async (t) => {
  const { rig, lines } = await start(t)
  const reset = Math.ceil(Date.now() / 1000) + 3_000
  const headers = {
    'X-Rate-Limit-Limit': '9',
    'X-Rate-Limit-Remaining': '0',
    'X-Rate-Limit-Reset': `${reset}`,
  }
  rig.fake.faults.api.push({ match: '/rest/v1.0/me', headers, body: '{}' })
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 200)
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 429)
  t.match(lines(), [{ method: 'GET', status: 429, cause: 'rate_limited' }])
  t.equal(lines().length, 1)
})

t.test('an OPTIONS request that is answered here has one answer and one line', async (t) => {
  const guard = { allowedOrigins: ['https://tool.example'] }
  for (const what of ['all', 'writes']) {
    const { rig, lines } = await start(t, { what }, { guard })
    for (const header of [
      'Origin: https://tool.example\r\nAccess-Control-Request-Method: POST',
      'Max-Forwards: 0',
    ]) {
      const socket = await openSocket(rig.port)
      const request = `OPTIONS /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n${header}\r\n\r\n`
      socket.write(request)
      await once(socket, 'data')
      socket.write(request.replace(/\r\n\r\n$/, '\r\nConnection: close$&'))
      let text = ''
      for await (const chunk of socket) text += chunk
      t.match(text, /^HTTP\/1\.1 204 /, `${what} ${header}: the connection goes on`)
    }
    const written = what === 'all' ? lines().map(({ status, cause }) => [status, cause]) : []
    t.strictSame(written, what === 'all' ? Array(4).fill([204, undefined]) : [])
    t.notMatch(rig.logText(), 'route_unknown')
  }
})

t.test('what broke off has a line without a status, or with the one that was begun', async (t) => {
  const { rig, lines } = await start(t)
  rig.fake.faults.api.push({ match: '/rest/v1.0/hangs', hang: 'before' })
  const socket = await openSocket(rig.port)
  socket.write('POST /acme/rest/v1.0/hangs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n')
  await rig.fake.journal.when(({ url }) => url === '/rest/v1.0/hangs')
  socket.destroy()
  await once(socket, 'close')
  rig.fake.faults.api.push({ match: '/rest/v1.0/breaks', body: 'x'.repeat(100_000), reset: 'mid-body' })
  const seen = await atTheEnd(rig, 'POST', '/acme/rest/v1.0/breaks', lines)
  t.match(seen.at(-1), { path: '/acme/rest/v1.0/breaks' }, 'when the caller sees the break')
  t.ok(await rig.server.drain())
  t.match(
    lines().sort((a, b) => String(a['path']).localeCompare(String(b['path']))),
    [
      { path: '/acme/rest/v1.0/breaks', status: 200, cause: 'upstream_protocol' },
      { path: '/acme/rest/v1.0/hangs', status: null, cause: 'caller_gone' },
    ],
  )
})

for (const what of ['all', 'writes']) {
  t.test(`a list has one line, of its end, where reads have lines: ${what}`, async (t) => {
    const csv = '/acme/_proxy/csv/rest/v1.0'
    const { rig, lines } = await start(t, { what })
    rig.fake.faults.api = [
      breakingList,
      { match: '/rest/v1.0/slow?page=2', delayMs: 300, body: '[{"id":2}]' },
      { match: '/rest/v1.0/slow', headers: { Link: '<?page=2>; rel=next' }, body: '[{"id":1}]' },
      { match: '/rest/v1.0/hangs?page=2', hang: 'before' },
      { match: '/rest/v1.0/hangs', headers: { Link: '<?page=2>; rel=next' }, body: '[{"id":1}]' },
      { match: '/rest/v1.0/silent', hang: 'before' },
    ]
    await rig.get(`${csv}/slow`)
    await rig.get(`${csv}/status/500`)
    await rig.get(`${csv}/me`)
    await rig.get(`${csv}/breaks`).catch(() => {})
    for (const [path, last] of [
      ['hangs', '/rest/v1.0/hangs?page=2'],
      ['silent', '/rest/v1.0/silent'],
    ] as const) {
      const socket = await openSocket(rig.port)
      socket.write(`GET ${csv}/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      await rig.fake.journal.when(({ url }) => url.startsWith(last))
      if (path === 'hangs') await once(socket, 'data')
      socket.destroy()
      await once(socket, 'close')
    }
    t.ok(await rig.server.drain())
    const refused = { path: `${csv}/me`, status: 422, cause: 'list_not_a_list' }
    const all = [
      { path: `${csv}/slow`, status: 200, cause: undefined },
      { path: `${csv}/status/500`, status: 500, cause: undefined },
      refused,
      { path: `${csv}/breaks`, status: 200, cause: 'upstream_protocol' },
      { path: `${csv}/hangs`, status: 200, cause: 'caller_gone' },
      { path: `${csv}/silent`, status: null, cause: 'caller_gone' },
    ]
    t.match(lines(), what === 'all' ? all : [refused])
    t.equal(lines().length, what === 'all' ? all.length : 1)
    if (what === 'all') t.ok(Number(lines()[0]!['durationMs']) >= 300, 'the whole duration')
  })
}

t.test('while no line can be written, writes are refused, and reads go on with a warning', async (t) => {
  const { rig } = await start(t, { file: '/dev/full', what: 'all' })
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 200)
  rig.fake.journal.clear()
  const refused = await rig.get('/acme/rest/v1.0/echo', { method: 'POST' })
  t.match(refused, {
    status: 503,
    headers: { 'procore-proxy-error': 'audit_unavailable', 'retry-after': '1' },
  })
  t.equal(rig.fake.journal.api().length, 0)
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 200)
  t.equal((await rig.get('/unknown/rest/v1.0/me')).status, 404)
  t.equal(rig.log().filter(({ level, msg }) => level === 'warn' && /audit/.test(String(msg))).length, 1)
})

t.test('a write whose line can not be written is never answered as if it had one', async (t) => {
  const { rig } = await start(t, { file: '/dev/full' })
  await t.rejects(rig.get('/acme/rest/v1.0/echo', { method: 'POST', body: 'x' }))
})

t.test('nor over a Unix socket in HTTP/1.0, where every end of the connection is a clean one', async (t) => {
  const listen = `${shortFolder(t)}/s`
  const { rig } = await start(t, { file: '/dev/full' }, { listen: `unix:${listen}` })
  // Unpacked for a caller that does not take gzip, so that its length is not known.
  const headers = { 'Content-Encoding': 'gzip', 'Content-Type': 'application/json' }
  rig.fake.faults.api = [{ match: '/rest/v1.0/packed', headers, body: gzipSync('{"a":1}') }]
  const head = 'Host: localhost\r\nContent-Length: 0\r\n\r\n'
  const text = await sendRaw(listen, `POST /acme/rest/v1.0/packed HTTP/1.0\r\n${head}`)
  t.notMatch(text, /content-length/i)
  t.match(text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n\{"a":1$/)
})

t.test(
  'a write under way while a reload changes the file has its answer, and its line in the new one',
  async (t) => {
    const { rig } = await start(t)
    const file = join(t.testdirName, 'new.jsonl')
    rig.fake.faults.api.push({ match: '/rest/v1.0/slow', delayMs: 200, body: '{}' })
    const write = rig.get('/acme/rest/v1.0/slow', { method: 'POST', body: 'x' })
    await rig.fake.journal.when(({ url }) => url === '/rest/v1.0/slow')
    await rig.reload(settingsFor(rig.fake, { audit: { file } }))
    t.equal((await write).status, 200)
    t.match(JSON.parse(readFileSync(file, 'utf8')), {
      method: 'POST',
      path: '/acme/rest/v1.0/slow',
      status: 200,
    })
  },
)

t.test('a key that was sent in a path is in no line', async (t) => {
  const { rig, lines, text } = await start(t, { what: 'all' })
  const key = 'a-key-of-16-chars'
  await rig.reload(
    settingsFor(rig.fake, {
      audit: { file: join(t.testdirName, 'audit.jsonl'), what: 'all' },
      guard: { clientKeys: [key] },
    }),
  )
  await rig.get(`/acme/rest/v1.0/${key}`, { headers: { 'procore-proxy-key': key } })
  t.match(lines().at(-1), { path: '/acme/rest/v1.0/*' })
  t.notMatch(text(), key)
})
