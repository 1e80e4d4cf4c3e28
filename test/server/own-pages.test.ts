// Covers src/server/own-pages.ts and app.ts: what the proxy serves of itself, and where.
import t from 'tap'
import { startRig } from '../fixtures/proxy.ts'

const KEY = 'a-key-of-sixteen-or-more'

t.test('metrics.listen serves health and metrics to any Host without a key, and nothing else', async (t) => {
  const { server, get, fake, url } = await startRig(t, {
    settings: { metrics: { listen: '127.0.0.1:0' }, guard: { clientKeys: [KEY] } },
  })
  fake.journal.clear()
  const base = server.addresses().find((each) => each.url !== url)?.url ?? ''
  const headers = { host: '10.1.2.3' }
  for (const path of ['/_proxy/health/live', '/_proxy/health/ready?strict=1', '/_proxy/metrics']) {
    t.equal((await get(path, { base, headers })).status, 200, path)
  }
  t.match((await get('/_proxy/metrics', { base })).text, /^procore_proxy_requests_total/m)
  const key = { 'procore-proxy-key': KEY }
  const own = ['/', '/_proxy/', '/_proxy/status', '/_proxy/errors']
  for (const path of [...own, '/acme/rest/v1.0/me', '/oauth/token']) {
    for (const method of ['GET', 'POST'] as const) {
      const answer = await get(path, { base, headers: key, method })
      t.match(answer, { status: 404, json: { code: 'route_unknown' } }, `${method} ${path}`)
    }
  }
  t.match(await get('/_proxy/metrics', { base, headers: { origin: 'http://evil.com' } }), { status: 403 })
  t.equal((await get('/_proxy/metrics')).status, 401, 'the other addresses ask for a key as before')
  t.equal(fake.journal.entries.length, 0)
})

t.test('the page of errors is always there, and each problem links to its part', async (t) => {
  const { get, url } = await startRig(t, { settings: { inspector: { enabled: false } } })
  const { type } = (await get('/nowhere/rest/x')).json
  const { pathname, hash } = new URL(type, url)
  const page = await get(pathname)
  t.match(page, {
    status: 200,
    headers: { 'content-type': /^text\/html/, 'content-security-policy': String },
  })
  t.match(page.text, `id="${hash.slice(1)}"`)
})

t.test('strictly ready is a proxy with a token of each account', async (t) => {
  const { get, fake } = await startRig(t, {
    cold: true,
    before: (fake) => fake.resetSecret('demo-client', 'another'),
  })
  await fake.journal.when((entry) => entry.server === 'login' && entry.answer === 'finished')
  await get('/acme/rest/v1.0/me')
  t.equal((await get('/_proxy/health/ready')).status, 200, 'a token was tried')
  t.equal((await get('/_proxy/health/ready?strict=1')).status, 503)
  t.equal((await get('/_proxy/health/live')).status, 200)
})
