// `rewriteFileUrls`: URLs of files in JSON answers come back as the proxy's own, over real sockets.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { ACME, GLOBEX, openSocket, startRig } from '../fixtures/proxy.ts'
import { words } from '../fixtures/words.ts'

async function rig(t: Test) {
  const it = await startRig(t, {
    settings: ({ apiUrl, loginUrl }) => ({
      environments: { fake: { apiUrl, loginUrl, fileDomain: 'localhost' } },
      companies: {
        acme: { id: ACME, serviceAccount: 'app', rewriteFileUrls: true, default: true },
        globex: { id: GLOBEX, serviceAccount: 'app' },
      },
    }),
  })
  return { ...it, storage: new URL(it.fake.storageUrl).host }
}

t.test('a URL in an answer can be fetched as it comes', async (t) => {
  const { get, url, fake, storage, port } = await rig(t)
  const answer = await get('/acme/rest/v1.0/files/7')
  t.equal(answer.json.url, `${url}/acme/_proxy/files/${storage}/api/v5/files/7.pdf?companyId=1`)
  t.notOk('content-length' in answer.headers)
  const path = new URL(answer.json.direct_url).pathname
  t.equal((await get(path)).text, '%PDF-1.7 fake 7.pdf\n')
  const bare = await get('/rest/v1.0/files/7')
  t.equal(bare.json.url, `${url}/_proxy/files/${storage}/api/v5/files/7.pdf?companyId=1`, 'no prefix')
  const byName = await get('/rest/v1.0/files/7', { headers: { host: `acme.localhost:${port}` } })
  t.match(byName.json.url, `http://acme.localhost:${port}/_proxy/files/`)
  const other = await get('/globex/rest/v1.0/files/7')
  t.equal(other.json.url, `${fake.storageUrl}/api/v5/files/7.pdf?companyId=1`, 'where it is not asked for')
  t.ok('content-length' in other.headers)
})

t.test('other types, statuses, parts and files themselves stay byte for byte', async (t) => {
  const { get, fake, storage } = await rig(t)
  const body = JSON.stringify({ url: `${fake.storageUrl}/x` })
  const headers = {
    ETag: '"1"',
    'Content-MD5': 'x',
    'Accept-Ranges': 'bytes',
    'Content-Type': 'application/json',
  }
  const cases: [what: string, fault: object][] = [
    ['a type', { headers: { ...headers, 'Content-Type': 'application/x-ndjson' } }],
    ['an error', { status: 422, headers }],
    ['a part', { status: 206, headers }],
    ['two codings', { headers: { ...headers, 'Content-Encoding': 'gzip, br' } }],
  ]
  for (const [what, fault] of cases) {
    fake.faults.api = [{ match: '/rest/v1.0/x', body, ...fault }]
    const answer = await get('/acme/rest/v1.0/x', { headers: { 'accept-encoding': 'compress' } })
    t.equal(answer.text, body, what)
    t.match(answer.headers, { etag: '"1"', 'content-md5': 'x', 'content-length': String(body.length) }, what)
  }
  fake.faults.storage.push({ body, headers })
  t.equal((await get(`/acme/_proxy/files/${storage}/x`)).text, body, 'a file is what it is')
  fake.faults.api = [{ match: '/rest/v1.0/x', status: 304, headers: { ETag: '"1"' } }]
  t.equal((await get('/acme/rest/v1.0/x')).headers['etag'], '"1"')
})

t.test('headers about the bytes are corrected, for HEAD too', async (t) => {
  const { get, fake, url, storage } = await rig(t)
  const body = JSON.stringify({ url: `${fake.storageUrl}/x` })
  const headers = {
    'Content-Type': 'application/vnd.procore+json; charset=utf-8',
    ETag: '"1"',
    'Content-MD5': 'x',
    Digest: 'x',
    'Content-Digest': 'x',
    'Repr-Digest': 'x',
    'Accept-Ranges': 'bytes',
    'X-Kept': '1',
  }
  for (const method of ['GET', 'HEAD'] as const) {
    fake.faults.api = [{ match: '/rest/v1.0/x', body, headers }]
    const answer = await get('/acme/rest/v1.0/x', { method })
    t.match(answer.headers, { etag: '"1"', 'x-kept': '1' })
    for (const name of words`content-length content-md5 digest content-digest repr-digest accept-ranges`) {
      t.notOk(name in answer.headers, `${method} ${name}`)
    }
    t.equal(answer.text, method === 'HEAD' ? '' : `{"url":"${url}/acme/_proxy/files/${storage}/x"}`)
  }
  fake.faults.api = [{ match: '/rest/v1.0/x', body, headers: { ...headers, ETag: 'W/"2"' } }]
  t.equal((await get('/acme/rest/v1.0/x')).headers['etag'], 'W/"2"')
  fake.faults.api = [{ match: '/rest/v1.0/x', body: '', headers }]
  t.equal((await get('/acme/rest/v1.0/x')).text, '')
})

t.test('compressed answers are unpacked for it', async (t) => {
  const { get, fake, storage, url } = await rig(t)
  const list = Array.from({ length: 500 }, (_, id) => ({
    id,
    name: `<${id}>`,
    url: `${fake.storageUrl}/x/${id}`,
  }))
  const body = JSON.stringify(list)
  const expected = body.replaceAll(fake.storageUrl, `${url}/acme/_proxy/files/${storage}`)
  const packed: [coding: string, bytes: Buffer][] = [
    ['gzip', gzipSync(body)],
    ['X-GZIP', gzipSync(body)],
    ['identity, br', brotliCompressSync(body)],
    ['deflate', deflateSync(body)],
    ['deflate', deflateRawSync(body)],
    ['zstd', zstdCompressSync(body)],
    ['identity', Buffer.from(body)],
  ]
  for (const [coding, bytes] of packed) {
    const headers = { 'Content-Type': 'application/json', 'Content-Encoding': coding }
    fake.faults.api = [{ match: '/rest/v1.0/x', body: bytes, headers }]
    const answer = await get('/acme/rest/v1.0/x', {
      headers: { 'accept-encoding': 'gzip, deflate, br, zstd' },
    })
    t.ok(answer.text === expected, coding)
    t.equal(answer.headers['content-encoding'], coding === 'identity' ? coding : undefined)
  }
  const text = gzipSync('plain')
  fake.faults.api = [
    {
      match: '/rest/v1.0/x',
      body: text,
      headers: { 'Content-Type': 'text/plain', 'Content-Encoding': 'gzip' },
    },
  ]
  const plain = await get('/acme/rest/v1.0/x', { headers: { 'accept-encoding': 'gzip' } })
  t.match(
    plain.headers,
    { 'content-encoding': 'gzip', 'content-length': String(text.length) },
    'what is no JSON stays packed',
  )
})

t.test('an answer that can’t be unpacked, or breaks off, never looks whole', async (t) => {
  const { get, fake, log } = await rig(t)
  const good = gzipSync(JSON.stringify(Array.from({ length: 50_000 }, (_, id) => `${id * 7919}`)))
  const type = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }
  const broken = Buffer.from(good)
  broken.fill(0xff, 1000, 2000)
  const faults = [
    { body: broken },
    { body: good.subarray(0, -100) },
    { body: 'no gzip at all' },
    { body: good, reset: 'mid-body' as const },
  ]
  for (const fault of faults) {
    fake.faults.api = [{ match: '/rest/v1.0/x', headers: type, ...fault }]
    await t.rejects(get('/acme/rest/v1.0/x'))
  }
  t.match(
    log().filter(({ msg }) => msg === 'request'),
    faults.map(() => ({ status: 200, cause: 'upstream_protocol' })),
  )
  fake.faults.api = []
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
})

t.test('a bomb is broken off, an honest answer however large is not', async (t) => {
  const { get, fake, log } = await rig(t)
  const headers = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }
  const honest = JSON.stringify(Array.from({ length: 20 }, () => randomBytes(450_000).toString('hex')))
  fake.faults.api = [{ match: '/rest/v1.0/x', body: gzipSync(honest, { level: 1 }), headers }]
  t.ok((await get('/acme/rest/v1.0/x')).text === honest)
  fake.faults.api = [{ match: '/rest/v1.0/x', body: gzipSync(Buffer.alloc(40_000_000, ' ')), headers }]
  await t.rejects(get('/acme/rest/v1.0/x'))
  const [line] = log().filter(({ cause }) => cause === 'upstream_protocol')
  t.ok(Number(line?.['bytesOut']) < 17 * 1024 * 1024, String(line?.['bytesOut']))
})

t.test('a caller that does not read holds the answer up, and one that leaves ends it', async (t) => {
  const { fake, port, log } = await rig(t)
  const entry = () => fake.journal.api().at(-1)
  const headers = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }
  // Hardly compressible: what has been taken in is nearly what came out.
  const noise = Buffer.from(randomBytes(7_000_000).toString('base64'))
  for (const [body, fields] of [
    [gzipSync(noise, { level: 1 }), headers],
    [noise, { 'Content-Type': 'application/json' }],
  ] as const) {
    fake.faults.api = [{ match: '/rest/v1.0/x', body, headers: fields }]
    const socket = await openSocket(port)
    socket.pause()
    socket.write('GET /acme/rest/v1.0/x HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'readable')
    t.equal(entry()?.answer, 'pending', 'the API still sends')
    const gone = once(socket, 'close')
    socket.destroy()
    await gone
    await fake.journal.when(({ url, answer }) => url === '/rest/v1.0/x' && answer === 'cut')
    fake.journal.clear()
  }
  t.match(log().at(-1), { cause: 'caller_gone' })
})
