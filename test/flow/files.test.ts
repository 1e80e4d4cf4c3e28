// Files that Procore hands out, fetched through the proxy: CONTRACT section 9, over real sockets.
import t, { type Test } from 'tap'
import type { FakeProcore } from '../fixtures/procore.ts'
import {
  ACME,
  GLOBEX,
  type RigOptions,
  type Settings,
  sendRaw,
  settingsFor,
  startRig,
} from '../fixtures/proxy.ts'

const environments = (fake: FakeProcore) => ({
  fake: { apiUrl: fake.apiUrl, loginUrl: fake.loginUrl, fileDomain: 'localhost' },
})

/** A rig whose fake serves files under `localhost`. */
async function rig(t: Test, over: Settings = {}, more: RigOptions = {}) {
  const settings = (fake: FakeProcore) => ({ environments: environments(fake), ...over })
  const it = await startRig(t, { settings, ...more })
  return { ...it, storage: new URL(it.fake.storageUrl).host }
}

const companies = (acme: Settings, globex: Settings = {}) => ({
  companies: {
    acme: { id: ACME, serviceAccount: 'app', ...acme },
    globex: { id: GLOBEX, serviceAccount: 'app', ...globex },
  },
})

t.test('a file comes with the bearer of the company that was chosen', async (t) => {
  const { get, fake, storage } = await rig(t)
  const file = await get(`/acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf?companyId=1&sig=%2F`)
  t.equal(file.status, 200)
  t.equal(file.text, '%PDF-1.7 fake 7.pdf\n')
  t.match(file.headers, {
    'content-type': 'application/pdf',
    'content-length': '20',
    'procore-proxy-company': 'acme',
    'procore-proxy-environment': 'fake',
  })
  const [seen] = fake.journal.storage()
  t.equal(seen?.url, '/fas/api/v5/files/7.pdf?companyId=1&sig=%2F')
  t.match(seen?.headers, {
    host: storage,
    authorization: `Bearer ${fake.issuedTokens()[0]}`,
    'procore-company-id': ACME,
    via: '1.1 procore-proxy',
  })
  const byId = await get(`/${GLOBEX}/_proxy/files/${storage}/fas/api/v5/files/7.pdf`)
  t.equal(byId.headers['procore-proxy-company'], 'globex')
  const byHeader = await get(`/_proxy/files/${storage}/fas/api/v5/files/7.pdf`, {
    headers: { 'procore-company-id': GLOBEX },
  })
  t.equal(byHeader.headers['procore-proxy-company'], 'globex')
  t.equal(fake.journal.storage().at(-1)?.headers['procore-company-id'], GLOBEX)
  t.match((await get(`/_proxy/files/${storage}/x`)).json, { code: 'company_required' })
  t.match((await get(`/unknown/_proxy/files/${storage}/x`)).json, { code: 'company_unknown' })
  const other = await get(`/acme/_proxy/files/${storage}/companies/${GLOBEX}/x`)
  t.match(other.json, { code: 'company_conflict' })
  t.equal(fake.journal.api().length, 0, 'the API is not asked')
})

t.test('what callers must not send is not sent, and what they must not get they do not get', async (t) => {
  const { fake, port, storage } = await rig(t)
  const answer = await sendRaw(
    port,
    `GET /acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n` +
      'Authorization: Bearer mine\r\nCookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nProcore_Company_Id: 9\r\nX-Kept: 1\r\n\r\n',
  )
  t.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  const [seen] = fake.journal.storage()
  t.equal(seen?.headers['x-kept'], '1')
  for (const name of ['cookie', 'x-forwarded-for', 'procore_company_id'])
    t.notOk(name in (seen?.headers ?? {}), name)
  t.equal(seen?.headers['authorization'], `Bearer ${fake.issuedTokens()[0]}`)
  fake.faults.storage.push({
    headers: { 'Set-Cookie': 'a=b', 'Strict-Transport-Security': 'x', Connection: 'X-Hop', 'X-Hop': '1' },
    times: 1,
  })
  const bare = await sendRaw(
    port,
    `GET /acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  )
  t.notMatch(bare, /set-cookie|strict-transport|x-hop/i)
})

t.test('redirects are handed back, never followed', async (t) => {
  const { get, fake, storage, port } = await rig(t)
  const moved = await get(`/acme/_proxy/files/${storage}/api/v5/files/7.pdf`)
  t.equal(moved.status, 302)
  t.match(
    moved.headers['location'],
    `${fake.storageUrl}/presigned/7.pdf?expires=3600&sig=`,
    'as Procore sent it',
  )
  t.equal(fake.journal.storage().length, 1)
  const cases: [location: string, passed: string][] = [
    [`${fake.apiUrl}/rest/v1.0/x`, `${fake.apiUrl}/rest/v1.0/x`],
    ['https://s3.example/x?X-Amz-Signature=1', 'https://s3.example/x?X-Amz-Signature=1'],
    ['HTTPS://S3.example/../x', 'HTTPS://S3.example/../x'],
    ['/presigned/x', `${fake.storageUrl}/presigned/x`],
    ['x?y', `${fake.storageUrl}/a/x?y`],
    ['//s3.example/x', 'http://s3.example/x'],
    ['http://[', 'http://['],
  ]
  for (const [location, passed] of cases) {
    fake.faults.storage = [
      { status: 302, headers: { Location: location, Link: `<${fake.apiUrl}/x>; rel="next"` } },
    ]
    const raw = await sendRaw(
      port,
      `GET /acme/_proxy/files/${storage}/a/b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    )
    t.equal(/\r\nLocation: (.*)\r\n/i.exec(raw)?.[1], passed, location)
    t.match(raw, `<${fake.apiUrl}/x>; rel="next"`)
  }
})

t.test('HEAD, ranges and a file host’s errors pass; a dead token is renewed', async (t) => {
  const { get, fake, storage } = await rig(t)
  const path = `/acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf`
  const head = await get(path, { method: 'HEAD' })
  t.strictSame([head.status, head.text, head.headers['content-length']], [200, '', '20'])
  fake.faults.storage.push({
    status: 206,
    body: 'PDF',
    headers: { 'Content-Range': 'bytes 1-3/20' },
    times: 1,
  })
  const part = await get(path, { headers: { range: 'bytes=1-3' } })
  t.strictSame([part.status, part.text], [206, 'PDF'])
  t.match(part.headers, { 'content-range': 'bytes 1-3/20', 'content-length': '3' })
  t.equal(fake.journal.storage().at(-1)?.headers['range'], 'bytes=1-3')
  const missing = await get(`/acme/_proxy/files/${storage}/nothing?x`)
  t.equal(missing.status, 404)
  t.match(missing.text, 'NoSuchKey')
  t.notOk('procore-proxy-error' in missing.headers)
  fake.revokeTokens()
  t.equal((await get(path)).status, 200)
  t.equal(fake.issuedTokens().length, 2)
})

t.test('other hosts, other methods and paths of the API are refused, and nothing is sent', async (t) => {
  const { get, fake, storage, port } = await rig(t)
  const before = fake.journal.entries.length
  const cases: [path: string, code: string][] = [
    ['/acme/_proxy/files/evil.example/x', 'request_invalid'],
    ['/acme/_proxy/files/evillocalhost/x', 'request_invalid'],
    ['/acme/_proxy/files/localhost.evil.example/x', 'request_invalid'],
    [`/acme/_proxy/files/user@${storage}/x`, 'request_invalid'],
    [`/acme/_proxy/files/127.0.0.1:${storage.split(':')[1]}/x`, 'request_invalid'],
    ['/acme/_proxy/files/localhost./x', 'request_invalid'],
    [`/acme/_proxy/files/${storage}%2Fx`, 'request_invalid'],
    ['/acme/_proxy/files/evil.example%2f.localhost/x', 'request_invalid'],
    [`/acme/_proxy/files/${storage}//evil.example/x`, 'request_invalid'],
    [`/acme/_proxy/files/${storage}/a/%2e%2e/x`, 'request_invalid'],
    ['/acme/_proxy/files//x', 'request_invalid'],
    [`/acme/_proxy/files/${new URL(fake.loginUrl).host}/x`, 'request_invalid'],
    [`/acme/_proxy/files/${storage}/rest/v1.0/me`, 'access_denied'],
    [`/acme/_proxy/files/${storage}/x?_method=DELETE`, 'access_denied'],
    ['/acme/_proxy/filesystem', 'route_unknown'],
    ['/_proxy/_proxy/files/x', 'route_unknown'],
  ]
  for (const [path, code] of cases) {
    const raw = await sendRaw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    t.match(raw, `\r\nProcore-Proxy-Error: ${code}\r\n`, path)
  }
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
    const answer = await get(`/acme/_proxy/files/${storage}/x`, { method })
    t.equal(answer.status, 405, method)
    t.match(answer.headers, { 'procore-proxy-error': 'method_not_allowed', allow: 'GET, HEAD' })
  }
  const override = await get(`/acme/_proxy/files/${storage}/x`, {
    headers: { 'x-http-method-override': 'PUT' },
  })
  t.match(override.json, { code: 'access_denied' })
  t.equal(fake.journal.entries.length, before)
})

t.test('rules hold for files too, by the path that callers use', async (t) => {
  const rules = [{ allow: '/_proxy/files/localhost:*/fas/**' }, { deny: '/**' }]
  const { get, storage } = await rig(t, companies({ rules }, { access: 'read-only' }))
  t.equal((await get(`/acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf`)).status, 200)
  const shouted = `/acme/_proxy/files/${storage.toUpperCase()}/fas/api/v5/files/7.pdf`
  t.equal((await get(shouted)).status, 200, 'a host has one spelling')
  t.match((await get(`/acme/_proxy/files/${storage}/api/v5/files/7.pdf`)).json, { code: 'access_denied' })
  t.equal((await get(`/globex/_proxy/files/${storage}/fas/api/v5/files/7.pdf`)).status, 200, 'reading')
})

t.test('file hosts do without the rate budget, and their connections are bounded', async (t) => {
  const { get, fake, storage, server } = await rig(
    t,
    { rateLimit: { whenExhausted: 'reject' }, upstream: { retries: 0 } },
    { fake: { rateLimit: { hourly: 1 } } },
  )
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  t.equal((await get('/acme/rest/v1.0/me')).status, 429)
  t.equal((await get(`/acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf`)).status, 200)
  fake.faults.storage.push({ status: 429, headers: { 'Retry-After': '30' }, times: 1 })
  t.notOk(
    'procore-proxy-error' in (await get(`/acme/_proxy/files/${storage}/x`)).headers,
    'a 429 is handed on',
  )
  t.equal((await get(`/acme/_proxy/files/${storage}/x`)).status, 404, 'and holds nothing back')
  fake.journal.clear()
  fake.faults.storage.push({ status: 200, delayMs: 500, times: 1 })
  const slow = get(`/acme/_proxy/files/${storage}/x`)
  await fake.journal.when(({ server }) => server === 'storage')
  t.match((await get('/_proxy/status')).json.companies, [{ name: 'acme', inFlight: 1 }], 'files count')
  await slow
  fake.journal.clear()
  for (let nth = 0; nth < 20; nth++) await get(`/acme/_proxy/files/localhost:${40_000 + nth}/x`)
  t.equal(
    (await get(`/acme/_proxy/files/${storage}/fas/api/v5/files/8.pdf`)).status,
    200,
    'though its pool had to go meanwhile',
  )
  t.equal(fake.journal.storage().length, 1)
  t.ok(await server.drain(), 'and all are closed')
})

t.test('a file host that breaks off, or is not there, ends as the API would', async (t) => {
  const { get, fake, storage } = await rig(t, { upstream: { retries: 0, responseTimeout: '200ms' } })
  fake.faults.storage.push({ hang: true, times: 1 })
  t.match((await get(`/acme/_proxy/files/${storage}/x`)).json, { code: 'upstream_timeout' })
  fake.faults.storage.push({ status: 200, fillBytes: 1000, reset: 'mid-body', times: 1 })
  await t.rejects(get(`/acme/_proxy/files/${storage}/x`))
  t.match((await get('/acme/_proxy/files/localhost:1/x')).json, { code: 'upstream_unreachable' })
})

t.test(
  'a caller makes no more than twenty look-ups of new file hosts a minute, also after a reload',
  async (t) => {
    const { get, fake, storage, reload } = await rig(t, { upstream: { retries: 0 } })
    const codeOf = async (host: string) => (await get(`/acme/_proxy/files/${host}/x`)).json
    t.equal((await get(`/acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf`)).status, 200)
    for (let port = 1; port < 20; port++)
      t.match(await codeOf(`localhost:${port}`), { code: 'upstream_unreachable' })
    await reload(settingsFor(fake, { environments: environments(fake), upstream: { retries: 1 } }))
    t.match(await codeOf('localhost:20'), { code: 'overloaded', detail: /too many new file hosts/ })
    t.equal(
      (await get(`/acme/_proxy/files/${storage}/fas/api/v5/files/7.pdf`)).status,
      200,
      'a known one passes',
    )
  },
)
