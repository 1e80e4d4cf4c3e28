// Twin of src/fake/routes.ts: the endpoints as a caller with a good token sees them.
import { createHash } from 'node:crypto'
import t from 'tap'
import { startFakeProcore } from '../../src/fake/procore.ts'

const fake = await startFakeProcore({ rateLimit: { spike: 1000 } })
t.teardown(() => fake.close())
const credentials = {
  grant_type: 'client_credentials',
  client_id: 'demo-client',
  client_secret: 'demo-secret',
}
const granted = await fetch(`${fake.loginUrl}/oauth/token`, {
  method: 'POST',
  body: new URLSearchParams(credentials),
})
const { access_token: token } = (await granted.json()) as { access_token: string }

function call(
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
  company = '7656',
): Promise<Response> {
  const headers = { Authorization: `Bearer ${token}`, 'Procore-Company-Id': company }
  return fetch(fake.apiUrl + path, { method, headers, redirect: 'manual', ...(body && { body }) })
}

t.test('the account and its connected companies can be listed', async (t) => {
  t.match(await (await call('GET', '/rest/v1.0/me')).json(), { login: /^demo-client/ })
  t.same(await (await call('GET', '/rest/v1.0/companies')).json(), [
    { id: 7656, is_active: true, name: 'Acme Construction' },
    { id: 562949953443325, is_active: true, name: 'Globex Builders' },
  ])
})

t.test('projects come in pages, below v1 and vapid with number ids', async (t) => {
  const answer = await call('GET', '/rest/v1.0/projects?company_id=7656&page=2&per_page=10')
  t.equal(answer.headers.get('total'), '45')
  t.equal(answer.headers.get('per-page'), '10')
  t.match(
    answer.headers.get('link'),
    `<${fake.apiUrl}/rest/v1.0/projects?company_id=7656&page=1&per_page=10>; rel="first"`,
  )
  const projects = (await answer.json()) as { id: number; company: { id: number } }[]
  t.equal(projects.length, 10)
  t.match(projects[0], { id: 1000011, company: { id: 7656 } })
  t.equal(((await (await call('GET', '/vapid/projects')).json()) as []).length, 20)
  t.equal((await call('GET', '/rest/v1.0/projects?company_id=1')).status, 404)
})

t.test('v2 has an envelope and text ids', async (t) => {
  const path = '/rest/v2.0/companies/562949953443325/projects'
  const answer = await call('GET', path, undefined, '562949953443325')
  const { data } = (await answer.json()) as { data: { id: string }[] }
  t.equal(data.length, 10)
  t.equal(data[0]?.id, '562949955000001')
  t.equal((await call('GET', path)).status, 404)
})

t.test('projects have RFIs, with ids beyond 2^53 in the new regions, and budgets', async (t) => {
  const rfis = await call('GET', '/rest/v1.0/projects/1000001/rfis?per_page=2')
  t.equal(rfis.headers.get('total'), '3')
  const first = { id: 1000001000001, cost_impact: { value: -0.5 }, assignee: { name: 'Ann Lee' } }
  t.match(await rfis.json(), [first, { subject: 'Beam\nclashes with duct' }])
  const far = await call('GET', '/rest/v1.0/rfis?project_id=562949955000001', undefined, '562949953443325')
  t.match(await far.text(), /^\[\{"id":562949955000001000001,.*"value":-0\.50\}/)
  const budgets = await call('GET', '/rest/v2.0/companies/7656/projects/1000001/budgets')
  t.match(await budgets.text(), /^\{"data":\[\{"id":"100000101",.*"original_amount":1250\.00,/)
  for (const path of [
    '/rest/v1.0/rfis',
    '/rest/v1.0/projects/1/rfis',
    '/rest/v2.0/companies/7656/projects/1/budgets',
    '/rest/v2.0/companies/1/projects/1000001/budgets',
  ]) {
    t.equal((await call('GET', path)).status, 404, path)
  }
})

t.test('a project is made, read, changed and removed', async (t) => {
  const made = await call('POST', '/rest/v1.0/projects', '{"project":{"name":"New"}}')
  t.equal(made.status, 201)
  const { id } = (await made.json()) as { id: number }
  const path = `/rest/v1.0/projects/${id}`
  t.equal(made.headers.get('location'), fake.apiUrl + path)
  t.match(await (await call('PATCH', path, '{"project":{"name":"Newer"}}')).json(), { name: 'Newer' })
  t.match(await (await call('PATCH', path, '{}')).json(), { name: 'Newer' })
  t.match(await (await call('GET', path)).json(), { id, name: 'Newer' })
  const removed = await call('DELETE', path)
  t.equal(removed.status, 204)
  t.equal(removed.headers.get('content-length'), null)
  t.equal((await call('GET', path)).status, 404)
  for (const body of ['{', '{}', '{"project":{"name":""}}']) {
    t.equal((await call('POST', '/rest/v1.0/projects', body)).status, 422)
  }
})

t.test('an upload is counted and hashed', async (t) => {
  const bytes = Buffer.alloc(3_000_000, 'x')
  const answer = await call('POST', '/rest/v1.0/files', new Uint8Array(bytes))
  t.same(await answer.json(), {
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  })
})

t.test('a download has the size asked for, with a length or chunked', async (t) => {
  const plain = await call('GET', '/rest/v1.0/large?bytes=200000')
  t.equal(plain.headers.get('content-length'), '200000')
  t.equal((await plain.arrayBuffer()).byteLength, 200_000)
  const chunked = await call('GET', '/rest/v1.0/large?bytes=200000&chunked=1')
  t.equal(chunked.headers.get('transfer-encoding'), 'chunked')
  t.equal((await chunked.arrayBuffer()).byteLength, 200_000)
  t.equal((await call('HEAD', '/rest/v1.0/large')).headers.get('content-length'), '1000000')
})

t.test('a download ends with its reader', async (t) => {
  const answer = await call('GET', '/rest/v1.0/large?bytes=200000000')
  await answer.body?.cancel()
  const entry = await fake.journal.when(({ url, answer }) => url.endsWith('=200000000') && answer === 'cut')
  t.equal(entry.aborted, false)
})

t.test('an export redirects to another host', async (t) => {
  const answer = await call('GET', '/rest/v1.0/rfis/12.pdf')
  t.equal(answer.status, 302)
  const location = answer.headers.get('location') ?? ''
  t.match(location, new RegExp(`^${fake.storageUrl}/presigned/rfi-12\\.pdf\\?expires=3600&sig=[\\da-f]{64}$`))
  t.equal((await fetch(location)).status, 200)
})

t.test('a file is described with its links', async (t) => {
  t.match(await (await call('GET', '/rest/v1.0/files/5')).json(), {
    id: 5,
    url: `${fake.storageUrl}/api/v5/files/5.pdf?companyId=1`,
    direct_url: `${fake.storageUrl}/fas/api/v5/files/5.pdf?companyId=1`,
  })
})

t.test('slow, status and echo do as they are told', async (t) => {
  t.same(await (await call('GET', '/rest/v1.0/slow?ms=5')).json(), { ms: 5 })
  t.equal((await call('GET', '/rest/v1.0/status/418')).status, 418)
  t.equal(await (await call('PUT', '/rest/v1.0/status/204', 'x')).text(), '')
  const echo = (await (await call('PUT', '/rest/v1.0/echo/a%2Fb?c[]=%20', 'abc')).json()) as Record<
    string,
    unknown
  >
  t.match(echo, { method: 'PUT', url: '/rest/v1.0/echo/a%2Fb?c[]=%20', bytes: 3, body: 'abc' })
  t.ok((echo['rawHeaders'] as string[]).includes(`Bearer ${token}`))
  t.equal((await call('GET', '/rest/v1.0/nothing')).status, 404)
})

t.test('slow has defaults, and ends with its caller', async (t) => {
  const away = new AbortController()
  const headers = { Authorization: `Bearer ${token}`, 'Procore-Company-Id': '7656' }
  const waiting = fetch(`${fake.apiUrl}/rest/v1.0/slow`, { headers, signal: away.signal })
  await fake.journal.when(({ url, bodySha256 }) => url === '/rest/v1.0/slow' && bodySha256 !== '')
  away.abort()
  await t.rejects(waiting)
  t.match(await fake.journal.when(({ url, answer }) => url === '/rest/v1.0/slow' && answer === 'cut'), {
    aborted: false,
  })
})
