// What goes up, what comes back, over real sockets against the fake Procore.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { ACME, openSocket, sendRaw, startRig } from '../fixtures/proxy.ts'

// What goes up and comes back of each header is in test/attacks/headers.test.ts.
t.test('a plain request arrives with bearer and company, without what is for the proxy', async (t) => {
  const { fake, port } = await startRig(t)
  const answer = await sendRaw(
    port,
    [
      'GET /acme/rest/v1.0/echo?b=%7B%22x%22%3A1%7D&a=1&a=%zz&filters[id][]=5 HTTP/1.1',
      'Host: LOCALHOST:1234',
      'Authorization: Bearer mine',
      'Cookie: a=b',
      'Connection: close, X-Hop, Authorization, Procore-Company-Id, Via',
      'X-Hop: gone',
      'X-Custom: kept',
      'x-custom: twice',
      'Idempotency-Token: abc',
      'Accept-Encoding: gzip, br',
      'Via: 1.0 before',
      '',
      '',
    ].join('\r\n'),
  )
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  const [seen] = fake.journal.api()
  t.equal(seen?.method, 'GET')
  t.equal(seen?.url, '/rest/v1.0/echo?b=%7B%22x%22%3A1%7D&a=1&a=%zz&filters[id][]=5')
  t.strictSame(seen?.rawHeaders, [
    'host',
    new URL(fake.apiUrl).host,
    'connection',
    'keep-alive',
    'X-Custom',
    'kept',
    'x-custom',
    'twice',
    'Idempotency-Token',
    'abc',
    'Accept-Encoding',
    'gzip, br',
    'Procore-Company-Id',
    ACME,
    'Via',
    '1.1 procore-proxy',
    'Authorization',
    `Bearer ${fake.issuedTokens()[0]}`,
  ])
})

t.test('the answer keeps status, body and headers, and says whose it is', async (t) => {
  const { fake, get } = await startRig(t)
  fake.faults.api.push({
    match: '/rest/v1.0/odd',
    status: 418,
    headers: {
      'X-Odd': 'kept',
      'Set-Cookie': ['a=b', 'c=d'],
      ETag: '"1"',
      'X-Request-Id': 'from-procore',
    },
    body: 'teapot',
  })
  const answer = await get('/acme/rest/v1.0/odd')
  t.equal(answer.status, 418)
  t.equal(answer.text, 'teapot')
  t.match(answer.headers, {
    'x-odd': 'kept',
    etag: '"1"',
    'x-request-id': 'from-procore',
    'procore-proxy-company': 'acme',
    'procore-proxy-environment': 'fake',
  })
  t.notOk('set-cookie' in answer.headers)
  const paged = await get('/acme/rest/v1.0/projects?per_page=2&page=2')
  t.match(paged.headers, { total: /^\d+$/, 'per-page': '2' })
})

t.test('bodies pass unread, whatever their type says', async (t) => {
  const { fake, port, get } = await startRig(t)
  const cases: [string, string, string][] = [
    ['DELETE', 'Content-Type: application/json\r\n', ''],
    ['DELETE', 'Content-Type: application/json\r\nContent-Length: 0\r\n', ''],
    ['POST', 'Content-Type: application/json\r\nContent-Length: 5\r\n', '{"a":'],
    ['POST', 'Content-Type: ;;nonsense\r\nContent-Length: 3\r\n', 'abc'],
    ['POST', 'Content-Length: 3\r\n', 'abc'],
    [
      'PATCH',
      'Content-Type: application/merge-patch+json\r\nTransfer-Encoding: chunked\r\n',
      '3\r\nabc\r\n0\r\n\r\n',
    ],
    ['PUT', '', ''],
    ['GET', 'Content-Length: 3\r\n', 'abc'],
    ['DELETE', 'Content-Length: 3\r\n', 'abc'],
    ['OPTIONS', '', ''],
  ]
  for (const [method, headers, body] of cases) {
    fake.journal.clear()
    const answer = await sendRaw(
      port,
      `${method} /acme/rest/v1.0/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n${body}`,
    )
    const what = `${method} ${headers.replaceAll('\r\n', ' ')}`
    t.match(answer, /^HTTP\/1\.1 200/, what)
    const [seen] = fake.journal.api()
    t.equal(seen?.method, method, what)
    t.equal(seen?.body ?? '', headers.includes('chunked') ? 'abc' : body, what)
  }
  const form = new FormData()
  form.set('file', new Blob(['hello']), 'a.txt')
  const upload = await fetch(`http://127.0.0.1:${port}/acme/rest/v1.0/files`, { method: 'POST', body: form })
  t.equal(upload.status, 201, 'a form upload')
  t.equal((await get('/acme/vapid/projects')).status, 200, '/vapid/ is forwarded')
})

t.test('HEAD, 204, 304 and HTTP/1.0 work', async (t) => {
  const { port, get } = await startRig(t)
  const head = await sendRaw(
    port,
    'HEAD /acme/rest/v1.0/large?bytes=1000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  )
  t.match(head, /content-length: 1000\r\n/i)
  t.match(head, /\r\n\r\n$/, 'no body')
  for (const status of [204, 304]) {
    const answer = await get(`/acme/rest/v1.0/status/${status}`)
    t.equal(answer.status, status)
    t.equal(answer.text, '')
  }
  const old = await sendRaw(
    port,
    'GET /acme/rest/v1.0/large?bytes=10&chunked=1 HTTP/1.0\r\nHost: localhost\r\n\r\n',
  )
  t.match(old, /^HTTP\/1\.1 200/)
  t.notMatch(old, /transfer-encoding/i, 'an HTTP/1.0 caller gets no chunks')
  t.equal(old.split('\r\n\r\n')[1]?.length, 10)
})

t.test('Expect: 100-continue is answered when the request goes up, not before it is judged', async (t) => {
  const { port, fake } = await startRig(t)
  const socket = await openSocket(port)
  t.teardown(() => socket.destroy())
  socket.write(
    'POST /acme/rest/v1.0/files HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  )
  const [first] = (await once(socket, 'data')) as [Buffer]
  t.match(first.toString(), /^HTTP\/1\.1 100 Continue\r\n\r\n/)
  socket.write('hello')
  const [second] = (await once(socket, 'data')) as [Buffer]
  t.match(second.toString(), /^HTTP\/1\.1 201/)
  t.equal(fake.journal.api()[0]?.body, 'hello')
  t.notOk(fake.journal.api()[0]?.headers['expect'])
  const refused = await sendRaw(
    port,
    'POST /acme/rest/v1.0/files HTTP/1.1\r\nHost: evil.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  )
  t.match(refused, /^HTTP\/1\.1 403/, 'a refused caller is not asked for its body')
})

t.test('large bodies stream through whole, both ways', async (t) => {
  const { url } = await startRig(t)
  const body = randomBytes(8 * 1024 * 1024)
  const up = await fetch(`${url}/acme/rest/v1.0/files`, { method: 'POST', body })
  t.equal(((await up.json()) as { sha256: string }).sha256, createHash('sha256').update(body).digest('hex'))
  for (const query of ['bytes=8000000', 'bytes=8000000&chunked=1']) {
    const down = await fetch(`${url}/acme/rest/v1.0/large?${query}`)
    t.equal((await down.arrayBuffer()).byteLength, 8_000_000, query)
  }
})

t.test('the head of a slow answer does not wait for its body', async (t) => {
  const { fake, port } = await startRig(t)
  fake.faults.api.push({ match: '/rest/v1.0/stalls', status: 200, body: 'x'.repeat(1000), hang: 'mid-body' })
  const socket = await openSocket(port)
  t.teardown(() => socket.destroy())
  socket.write('GET /acme/rest/v1.0/stalls HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const [first] = (await once(socket, 'data')) as [Buffer]
  t.match(first.toString(), /^HTTP\/1\.1 200/)
})

t.test('a drain that takes too long does not end a response so that it looks complete', async (t) => {
  const { fake, port, server } = await startRig(t, { settings: { shutdownTimeout: '100ms' } })
  fake.faults.api.push({
    match: '/rest/v1.0/stalls',
    headers: { 'Transfer-Encoding': 'chunked' },
    body: 'x'.repeat(1000),
    hang: 'mid-body',
  })
  const socket = await openSocket(port)
  socket.write('GET /acme/rest/v1.0/stalls HTTP/1.0\r\nHost: localhost\r\n\r\n')
  await once(socket, 'data')
  const isReset = t.rejects(once(socket, 'end'), { code: 'ECONNRESET' })
  t.equal(await server.drain(), false)
  await isReset
})

t.test('a caller that goes away ends the upstream request', async (t) => {
  const { fake, port, log } = await startRig(t)
  fake.faults.api.push({ match: '/rest/v1.0/hangs', hang: 'before' })
  const socket = await openSocket(port)
  socket.write('GET /acme/rest/v1.0/hangs HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await fake.journal.when((entry) => entry.server === 'api')
  socket.destroy()
  await fake.journal.when((entry) => entry.server === 'api' && entry.answer === 'cut')
  t.match(
    log().filter((line) => line['msg'] === 'request'),
    [{ cause: 'caller_gone', status: null }],
  )
  const upload = await openSocket(port)
  fake.journal.clear()
  upload.write('POST /acme/rest/v1.0/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf')
  await fake.journal.when((entry) => entry.server === 'api')
  upload.destroy()
  const entry = await fake.journal.when((each) => each.aborted)
  t.equal(entry.bodyBytes, 4, 'half an upload is never taken for a whole one')
})

t.test('an answer that breaks off upstream breaks off here, never with a clean end', async (t) => {
  const { fake, port, url } = await startRig(t)
  fake.faults.api.push({ match: '/rest/v1.0/breaks', status: 200, body: 'x'.repeat(1000), reset: 'mid-body' })
  await t.rejects(
    fetch(`${url}/acme/rest/v1.0/breaks`).then((answer) => answer.text()),
    'content-length',
  )
  fake.faults.api.push({
    match: '/rest/v1.0/chunks',
    status: 200,
    headers: { 'Transfer-Encoding': 'chunked' },
    body: 'x'.repeat(1000),
    reset: 'mid-body',
  })
  const chunked = await sendRaw(port, 'GET /acme/rest/v1.0/chunks HTTP/1.1\r\nHost: localhost\r\n\r\n')
  t.match(chunked, /^HTTP\/1\.1 200/)
  t.notMatch(chunked, /\r\n0\r\n\r\n$/, 'no last chunk')
  const socket = await openSocket(port)
  socket.write('GET /acme/rest/v1.0/chunks HTTP/1.0\r\nHost: localhost\r\n\r\n')
  socket.resume()
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  t.equal(error.code, 'ECONNRESET', 'where only the end of the connection ends the body, it is a reset')
})

t.test('an answer that comes before the upload is over reaches the caller', async (t) => {
  const { fake, port } = await startRig(t)
  fake.faults.api.push({ match: '/rest/v1.0/files', status: 413, body: 'too large', reads: 'alongside' })
  const socket = await openSocket(port)
  t.teardown(() => socket.destroy())
  const got: Buffer[] = []
  socket.on('data', (chunk) => got.push(chunk))
  socket.write('POST /acme/rest/v1.0/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n')
  for (let sent = 0; sent < 3_000_000; sent += 100_000) {
    if (!socket.write(Buffer.alloc(100_000))) await once(socket, 'drain')
  }
  while (!Buffer.concat(got).includes('too large')) await new Promise((resolve) => setTimeout(resolve, 5))
  t.match(Buffer.concat(got).toString(), /^HTTP\/1\.1 413/)
  fake.faults.clear()
  got.length = 0
  socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (!Buffer.concat(got).includes('login')) await new Promise((resolve) => setTimeout(resolve, 5))
  t.match(Buffer.concat(got).toString(), /^HTTP\/1\.1 200/, 'and the connection serves on')
})

t.test('a 413 that breaks the upload off reaches the caller, nearly always', async (t) => {
  // It answers the head, reads no further and closes: what is still written to it is reset.
  const api = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.pause()
      socket.end('HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large', () => {
        setTimeout(() => socket.destroy(), 5)
      })
    })
  })
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => api.close())
  const { port } = await startRig(t, {
    settings: ({ loginUrl }) => ({
      environments: { fake: { apiUrl: `http://127.0.0.1:${(api.address() as AddressInfo).port}`, loginUrl } },
    }),
  })
  let seen = 0
  for (let nth = 0; nth < 10; nth++) {
    const socket = await openSocket(port)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    socket.write('POST /acme/rest/v1.0/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n')
    for (let sent = 0; sent < 8_000_000 && !text.includes('too large') && socket.writable; sent += 100_000) {
      if (!socket.write(Buffer.alloc(100_000)))
        await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    }
    while (!/too large|Procore-Proxy-Error/.test(text) && !socket.closed) await new Promise(setImmediate)
    if (text.startsWith('HTTP/1.1 413')) seen++
    else t.comment(text.slice(0, 40), text.match(/"detail":"[^"]*/)?.[0])
    socket.destroy()
  }
  t.ok(seen >= 8, `${seen} of 10`)
})
