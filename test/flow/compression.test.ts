// `upstream.compression`: the wire is compressed where the caller did not say what it takes, and the caller sees none of it.
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { openSocket, sendRaw, startRig } from '../fixtures/proxy.ts'

const LIST = '/acme/rest/v1.0/projects?per_page=40'

t.test('a caller that says nothing gets the answer plain, though it travelled compressed', async (t) => {
  const { get, fake, url } = await startRig(t, { fake: { gzip: true } })
  const asked = await get(LIST, { headers: { 'accept-encoding': 'identity' } })
  const answer = await get(LIST)
  t.equal(answer.text, asked.text)
  const [plain, packed] = fake.journal.api()
  t.equal(plain?.headers['accept-encoding'], 'identity')
  t.equal(packed?.headers['accept-encoding'], 'gzip')
  t.notOk('content-encoding' in answer.headers)
  t.notOk('content-length' in answer.headers)
  t.match(answer.headers, {
    'content-type': /json/,
    total: '45',
    link: `<${url}/acme/rest/`,
    vary: 'Accept-Encoding',
  })
  const short = await get('/acme/rest/v1.0/me')
  t.ok('content-length' in short.headers, 'what came plain stays as it is')
})

t.test('who says what it takes gets that', async (t) => {
  const { fake, port } = await startRig(t, { fake: { gzip: true } })
  const cases: [headers: string, sent: string | undefined, coding: boolean][] = [
    ['Accept-Encoding: gzip\r\n', 'gzip', true],
    ['Accept-Encoding: gzip;q=1, br\r\n', 'gzip;q=1, br', true],
    ['accept-encoding: identity\r\n', 'identity', false],
    ['Accept-Encoding:\r\n', '', false],
    ['Range: bytes=0-5\r\n', undefined, false],
    ['range: items=0-5\r\n', undefined, false],
  ]
  for (const [headers, sent, coding] of cases) {
    const answer = await sendRaw(
      port,
      `GET ${LIST} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`,
    )
    t.equal(fake.journal.api().at(-1)?.headers['accept-encoding'], sent, headers)
    t.equal(/\r\nContent-Encoding: gzip\r\n/i.test(answer), coding, headers)
    t.match(answer, /\r\nContent-Length: \d+\r\n/i, headers)
  }
  await sendRaw(port, `HEAD ${LIST} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  t.notOk('accept-encoding' in (fake.journal.api().at(-1)?.headers ?? {}), 'HEAD')
  await sendRaw(
    port,
    'POST /acme/rest/v1.0/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx',
  )
  t.equal(fake.journal.api().at(-1)?.headers['accept-encoding'], 'gzip', 'POST')
  const spelt = 'Accept_Encoding: br'
  await sendRaw(port, `GET ${LIST} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${spelt}\r\n\r\n`)
  t.equal(fake.journal.api().at(-1)?.headers['accept-encoding'], 'gzip', spelt)
})

t.test('off asks for nothing, and files are never asked for compressed', async (t) => {
  const off = await startRig(t, { fake: { gzip: true }, settings: { upstream: { compression: 'off' } } })
  const answer = await off.get(LIST)
  t.ok('content-length' in answer.headers)
  t.notOk('accept-encoding' in (off.fake.journal.api()[0]?.headers ?? {}))
  const auto = await startRig(t, {
    settings: ({ apiUrl, loginUrl }) => ({
      environments: { fake: { apiUrl, loginUrl, fileDomain: 'localhost' } },
    }),
  })
  const { host } = new URL(auto.fake.storageUrl)
  const file = await auto.get(`/acme/_proxy/files/${host}/fas/api/v5/files/7.pdf`)
  t.equal(file.headers['content-length'], '20')
  t.notOk('accept-encoding' in (auto.fake.journal.storage()[0]?.headers ?? {}))
})

t.test('only what was asked for is unpacked, and its headers are corrected', async (t) => {
  const { get, fake, port } = await startRig(t)
  const bytes = gzipSync('x'.repeat(5000))
  const fault = (more: object) => {
    fake.faults.api = [
      {
        match: '/rest/v1.0/x',
        body: bytes,
        headers: { 'Content-Encoding': 'gzip', ETag: '"1"', 'Content-Type': 'text/csv' },
        ...more,
      },
    ]
  }
  for (const status of [200, 500]) {
    fault({ status })
    const answer = await get('/acme/rest/v1.0/x')
    t.equal(answer.status, status)
    t.equal(answer.text, 'x'.repeat(5000), 'of any type and status')
    t.equal(answer.headers['etag'], '"1"')
  }
  fault({ status: 206 })
  const part = await sendRaw(
    port,
    'GET /acme/rest/v1.0/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  )
  t.match(part, new RegExp(`\r\ncontent-encoding: gzip\r\n[^]*content-length: ${bytes.length}\r\n`, 'i'))
  fault({ status: 304, body: '' })
  const unchanged = await get('/acme/rest/v1.0/x', { headers: { 'if-none-match': '"1"' } })
  t.match(unchanged.headers, { etag: '"1"' })
  t.equal(fake.journal.api().at(-1)?.headers['if-none-match'], '"1"')
})

t.test('an HTTP/1.0 caller sees the end, or that there is none', async (t) => {
  const { fake, port } = await startRig(t)
  const bytes = gzipSync('x'.repeat(50_000))
  const headers = { 'Content-Encoding': 'gzip' }
  const old = () => sendRaw(port, 'GET /acme/rest/v1.0/x HTTP/1.0\r\nHost: localhost\r\n\r\n')
  fake.faults.api = [{ match: '/rest/v1.0/x', body: bytes, headers }]
  const whole = await old()
  t.equal(whole.split('\r\n\r\n')[1]?.length, 50_000)
  t.notMatch(whole, /transfer-encoding|content-length/i)
  fake.faults.api = [{ match: '/rest/v1.0/x', body: bytes.subarray(0, -20), headers }]
  const socket = await openSocket(port)
  socket.resume().write('GET /acme/rest/v1.0/x HTTP/1.0\r\nHost: localhost\r\n\r\n')
  const error = await once(socket, 'end').catch((reason: unknown) => reason)
  t.match(error, { code: 'ECONNRESET' }, 'a clean end would look like the whole')
})
