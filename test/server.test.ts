// The server as a whole: its own pages, and the order in which a request is judged.
import t from 'tap'
import { startRig } from './fixtures/proxy.ts'
import { words } from './fixtures/words.ts'

t.test('tools that insist on logging in get a placeholder, which opens nothing', async (t) => {
  const { fake, get, port } = await startRig(t)
  fake.journal.clear()
  for (const path of ['/oauth/token', '/acme/oauth/token', '/oauth/token?grant_type=password']) {
    const form = await get(path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'grant_type=client_credentials&client_id=made&client_secret=up',
    })
    t.equal(form.status, 200, path)
    t.match(form.json, {
      access_token: 'procore-proxy-placeholder',
      token_type: 'bearer',
      expires_in: 7200,
      refresh_token: 'procore-proxy-placeholder',
      created_at: Number,
    })
    t.match(form.headers, { 'cache-control': 'no-store', 'content-type': /^application\/json/ })
  }
  for (const body of ['', 'x'.repeat(100_000)]) {
    t.equal((await get('/oauth/token', { method: 'POST', body })).status, 200, `${body.length} bytes`)
  }
  const login = new FormData()
  login.set('grant_type', 'authorization_code')
  const multipart = await fetch(`http://127.0.0.1:${port}/oauth/token`, { method: 'POST', body: login })
  t.equal(multipart.status, 200, 'multipart')
  const json = await get('/oauth/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Basic bWFkZTp1cA==' },
    body: '{broken',
  })
  t.equal(json.status, 200, 'whatever the body is')
  const info = { expires_in_seconds: 7200, application: { uid: String }, scopes: [] }
  t.match((await get('/oauth/token/info')).json, info)
  t.match(await get('/oauth/revoke', { method: 'POST', body: 'token=x' }), { status: 200, json: {} })
  t.equal(fake.journal.entries.length, 0)
  const used = await get('/acme/rest/v1.0/echo', {
    headers: { authorization: 'Bearer procore-proxy-placeholder' },
  })
  t.notMatch(used.text, 'placeholder', 'the placeholder is dropped on the way up')
  t.equal((await get('/oauth/token')).status, 404, 'only POST')
  t.equal((await get('/oauth/authorize')).headers['procore-proxy-error'], 'route_unknown')
})

t.test('a caller is judged by host and origin, then target, key, company and access', async (t) => {
  const { get, fake } = await startRig(t, {
    settings: {
      companies: { acme: { id: '7656', serviceAccount: 'app', access: 'read-only' } },
      guard: { clientKeys: ['the-key-of-a-test'] },
    },
  })
  fake.journal.clear()
  const all = { host: 'evil.com', origin: 'http://evil.com.evil' }
  const key = { 'procore-proxy-key': 'the-key-of-a-test' }
  const order: [string, Record<string, string>, string][] = [
    ['/unknown/rest/..%2fx', all, 'host_not_allowed'],
    ['/unknown/rest/..%2fx', { ...all, host: 'localhost' }, 'origin_not_allowed'],
    ['/unknown/rest/..%2fx', {}, 'request_invalid'],
    ['/unknown/rest/x', {}, 'key_required'],
    ['/unknown/rest/x', key, 'company_unknown'],
    ['/acme/rest/x', key, 'access_denied'],
  ]
  for (const [path, headers, code] of order) {
    const answer = await get(path, { method: 'DELETE', headers })
    t.equal(answer.headers['procore-proxy-error'], code)
    t.equal(answer.json.code, code)
  }
  t.equal(fake.journal.entries.length, 0)
})

t.test('the log counts the bytes of what the proxy says itself', async (t) => {
  const { get, log } = await startRig(t)
  for (const path of words`/_proxy/status /oauth/token/info /nowhere`) {
    const { text } = await get(path)
    t.match(log().at(-1), { path, bytesOut: Buffer.byteLength(text) }, path)
  }
  await get('/_proxy/status', { method: 'HEAD' })
  t.match(log().at(-1), { method: 'HEAD', bytesOut: 0 })
})

t.test('while the proxy stops, it begins nothing new, not even a login', async (t) => {
  const { get, fake, server } = await startRig(t)
  fake.faults.api.push({ match: '/rest/v1.0/slow', delayMs: 300, body: '{}' })
  const slow = get('/acme/rest/v1.0/slow')
  await fake.journal.when(({ url }) => url === '/rest/v1.0/slow')
  const drained = server.drain()
  const late = await Promise.all([
    get('/acme/rest/v1.0/me'),
    get('/oauth/token', { method: 'POST', body: 'client_secret=made-up' }),
    get('/acme/rest/v1.0/me', { method: 'OPTIONS', headers: { 'max-forwards': '0' } }),
    get('/_proxy/status'),
  ])
  for (const { status, headers } of late) {
    t.match({ status, ...headers }, { status: 503, 'procore-proxy-error': 'shutting_down' })
  }
  t.equal((await slow).status, 200)
  t.ok(await drained)
})
