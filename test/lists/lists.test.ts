// Whole lists through a running proxy, in front of the fake Procore.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ACME, GLOBEX, openSocket, startRig } from '../fixtures/proxy.ts'

const COMPANIES = [
  { id: ACME, name: 'Acme', projects: 3, rfis: 250 },
  { id: GLOBEX, name: 'Globex', projects: 2, rfis: 5 },
]
const RFIS = '/rest/v1.0/projects/*/rfis'
const lines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>)

t.test('each page is a request like any other', async (t) => {
  const rig = await startRig(t, { fake: { companies: COMPANIES }, settings: { lists: { perPage: 100 } } })
  rig.fake.journal.clear()
  const list = await rig.get(`/acme/_proxy/ndjson${RFIS}?status=open`)
  t.equal(list.status, 200)
  t.equal(lines(list.text).length, 750)
  const asked = rig.fake.journal.api()
  t.equal(asked.length, 10)
  t.ok(
    asked.every(
      ({ headers }) =>
        headers['procore-company-id'] === ACME && headers['authorization']?.startsWith('Bearer '),
    ),
  )
  t.equal(asked.filter(({ url }) => url.includes('status=open')).length, 9)
  const logged = rig.log().filter(({ path }) => /^(?:\/acme)?\/rest\/v1\.0\/projects/.test(String(path)))
  t.ok(logged.filter(({ status }) => status === 200).length >= 10)
  const { text } = await rig.get('/_proxy/metrics')
  t.match(text, /procore_proxy_requests_total\{[^}]*acme[^}]*\} 1[01]/)
})

t.test('URLs of files lead to the proxy in lists too', async (t) => {
  const { get, fake, url } = await startRig(t, {
    settings: ({ apiUrl, loginUrl }) => ({
      environments: { fake: { apiUrl, loginUrl, fileDomain: 'localhost' } },
      companies: {
        acme: { id: ACME, serviceAccount: 'app', rewriteFileUrls: true },
        globex: { id: GLOBEX, serviceAccount: 'app' },
      },
    }),
  })
  const file = `${fake.storageUrl}/a.pdf`
  fake.faults.api = [{ match: '/rest/v1.0/files', body: JSON.stringify([{ id: 1, file }]) }]
  const own = `${url}/acme/_proxy/files/${new URL(fake.storageUrl).host}/a.pdf`
  t.strictSame((await get('/acme/_proxy/json/rest/v1.0/files')).json, [{ id: 1, file: own }])
  t.equal((await get('/acme/_proxy/csv/rest/v1.0/files')).text, `id,file\r\n1,${own}\r\n`)
  t.strictSame((await get('/globex/_proxy/json/rest/v1.0/files')).json, [{ id: 1, file }])
})

t.test('a caller that leaves before the first row is no failure of the proxy', async (t) => {
  const match = '/rest/v1.0/slow'
  const headers = { 'retry-after': '30' }
  for (const fault of [{ hang: 'before' as const }, { status: 503, headers }, { status: 429, headers }]) {
    const rig = await startRig(t, { fake: { companies: COMPANIES } })
    rig.fake.faults.api = [{ match, ...fault }]
    const socket = await openSocket(rig.port)
    socket.write('GET /acme/_proxy/csv/rest/v1.0/slow HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await rig.fake.journal.when(({ url }) => url.startsWith(match))
    // The proxy waits then as long as it is asked to.
    if (fault.hang === undefined) await sleep(100)
    socket.destroy()
    while (rig.server.inFlight > 0) await new Promise(setImmediate)
    await new Promise(setImmediate)
    const logged = lines(rig.logText()).find(({ path }) => path === '/acme/_proxy/csv/rest/v1.0/slow')
    t.match(logged, { status: null, cause: 'caller_gone' }, JSON.stringify(fault))
  }
})

t.test('a list that is stopped before it begins asks for nothing', async (t) => {
  const rig = await startRig(t, { fake: { companies: COMPANIES } })
  rig.fake.journal.clear()
  const stopped = { signal: AbortSignal.abort(), watcher: { page: () => {}, passedOver: () => {} } }
  await t.rejects(rig.server.readList('/acme/_proxy/csv/rest/v1.0/projects', stopped))
  t.strictSame(rig.fake.journal.api(), [])
})

t.test('a list names company, environment and request like any other response', async (t) => {
  const rig = await startRig(t, { fake: { companies: COMPANIES } })
  for (const method of ['GET', 'HEAD']) {
    const ask = { method, headers: { 'X-Request-Id': 'mine' } }
    const { headers } = await rig.get('/acme/_proxy/csv/rest/v1.0/projects', ask)
    t.match(headers, { 'procore-proxy-company': 'acme', 'procore-proxy-environment': 'fake' }, method)
    t.equal(headers['x-request-id'], 'mine', method)
  }
})

t.test('a company has its prefix, its ids keep their digits, and version 2 has its envelope', async (t) => {
  const rig = await startRig(t, { fake: { companies: COMPANIES } })
  const rfis = await rig.get(`/globex/_proxy/csv${RFIS}?_columns=project_id,id`)
  t.equal(rfis.text.split('\r\n')[1], '562949955000001,562949955000001000001')
  const budgets = await rig.get(`/_proxy/json/rest/v2.0/companies/${GLOBEX}/projects/*/budgets`)
  t.equal(budgets.json.length, 4)
  t.match(budgets.text, /^\[\n\{"project_id":562949955000001,.*"original_amount":1250\.00,/)
  t.equal((await rig.get(`/acme/_proxy/json/rest/v2.0/companies/${GLOBEX}/projects`)).status, 409)
  t.equal((await rig.get('/acme/_proxy/json/rest/v1.0/me')).headers['procore-proxy-error'], 'list_not_a_list')
})

t.test('a token that ends, a 429 and a used-up budget in the middle are dealt with', async (t) => {
  const rig = await startRig(t, {
    fake: { companies: COMPANIES, rateLimit: { spike: 5, spikeSeconds: 1 } },
    settings: { lists: { perPage: 100, concurrency: 1 } },
  })
  rig.fake.faults.rateLimited(0, { times: 1, match: (_, url) => url.includes('page=2') })
  rig.fake.faults.unauthorized({ times: 1, match: (_, url) => url.includes('page=3') })
  const list = await rig.get(`/acme/_proxy/ndjson${RFIS}`)
  t.equal(lines(list.text).length, 750)
  t.equal(rig.fake.journal.tokenRequests().length, 2)
})

t.test('rules hold for each page, and what Procore refuses is told', async (t) => {
  const rig = await startRig(t, {
    fake: { companies: COMPANIES },
    settings: {
      companies: {
        acme: { id: ACME, serviceAccount: 'app', rules: [{ deny: '/rest/v1.0/projects/1000002/**' }] },
      },
    },
  })
  rig.fake.faults.notConnected({ match: '/rest/v1.0/projects/1000003/' })
  const rows = lines((await rig.get(`/_proxy/ndjson${RFIS}`)).text)
  t.equal(rows.filter((row) => '_error' in row).length, 2)
  t.equal(rows.length, 252)
  const escaped = await rig.get('/_proxy/ndjson/rest/v1.0/projects/%2A/rfis')
  t.same(lines(escaped.text), rows, 'the star may be escaped')
  t.match(await rig.get('/_proxy/csv/rest/v1.0/projects/1000003/rfis'), {
    status: 403,
    json: { errors: [String] },
  })
  t.match(await rig.get('/_proxy/csv/rest/v1.0/projects/1000002/rfis'), {
    status: 403,
    json: { code: 'access_denied' },
  })
})

t.test(
  'a page is judged like any other request, and what a link asks for is no fault of the caller',
  async (t) => {
    const rig = await startRig(t, { fake: { companies: COMPANIES } })
    const follow = async (query: string, rows: unknown[] = [{ id: 1 }]) => {
      const headers = { Link: `</rest/v1.0/linked?page=2&${query}>; rel="next"` }
      const match = '/rest/v1.0/linked'
      rig.fake.faults.api = [
        { match, headers, body: JSON.stringify(rows), times: 1 },
        { match, body: '[{"id":2}]' },
      ]
      rig.fake.journal.clear()
      const list = await rig.get('/acme/_proxy/ndjson/rest/v1.0/linked').catch(() => undefined)
      return { list, asked: rig.fake.journal.api().length }
    }
    for (const query of [`company_id=${ACME}`, 'company_id=', 'x=%zz']) {
      const { list, asked } = await follow(query)
      t.match(list, { status: 200, text: '{"id":1}\n{"id":2}\n' }, query)
      t.equal(asked, 2, query)
    }
    for (const query of [
      `company_id=${GLOBEX}`,
      `x;company_id=${GLOBEX}`,
      `company%5Fid[]=${GLOBEX}`,
      'company_id=%ff',
      '_method=delete',
    ]) {
      t.same(await follow(query), { list: undefined, asked: 1 }, `${query} breaks the list off`)
      const { list, asked } = await follow(query, [])
      t.match(list, { status: 502, json: { code: 'upstream_protocol', detail: /link/ } }, query)
      t.equal(asked, 1, query)
    }
  },
)

t.test('lists can be turned off, and are only read', async (t) => {
  const off = await startRig(t, { fake: { companies: COMPANIES }, settings: { lists: { enabled: false } } })
  for (const method of ['GET', 'HEAD', 'POST', 'DELETE']) {
    const { status, headers } = await off.get('/acme/_proxy/csv/rest/v1.0/projects', { method })
    t.match({ status, headers }, { status: 404, headers: { 'procore-proxy-error': 'route_unknown' } }, method)
  }
  t.match((await off.get('/acme/_proxy/csv/rest/v1.0/projects')).json, { detail: /`lists\.enabled: false`/ })
  const on = await startRig(t, { fake: { companies: COMPANIES } })
  t.equal((await on.get('/acme/_proxy/csv/rest/v1.0/me', { method: 'DELETE' })).status, 405)
  t.match(await on.get('/_proxy/csv/other'), { status: 404, json: { code: 'route_unknown' } })
  for (const path of ['/rest/v1.0/%', '/rest/v1.0/%ff', '/rest/%zz/x?token=abc', '/%']) {
    const answer = await on.get(`/_proxy/csv${path}`)
    t.match(answer, { status: 400, json: { code: 'request_invalid' } }, path)
    t.notMatch(answer.text, 'token=abc')
  }
})
