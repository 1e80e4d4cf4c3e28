// Covers src/observe/{inspector,metrics,mask}.ts: what is remembered of requests, and what never is.
import t from 'tap'
import type { InspectorSettings } from '../../src/config/config.ts'
import { ProxyError } from '../../src/errors.ts'
import { type Exchange, startExchange } from '../../src/observe/exchange.ts'
import { Inspector } from '../../src/observe/inspector.ts'
import { maskHeader } from '../../src/observe/mask.ts'
import { Bodies, Excerpt } from '../../src/observe/recorded-body.ts'
import { EVERYTHING, type Viewer } from '../../src/observe/viewer.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { openSocket, sendRaw, settingsFor, startRig } from '../fixtures/proxy.ts'

const DEFAULTS: InspectorSettings = { enabled: true, requests: 200, showQueryValues: false, bodies: false }

function inspector(
  settings: Partial<InspectorSettings> = {},
  budgetRemaining: () => number | undefined = () => 7,
) {
  return new Inspector(
    { ...DEFAULTS, ...settings },
    { added: () => ['Via'], removed: (names, connection) => [...names, connection ?? '-'], budgetRemaining },
  )
}

function ended(over: Partial<Exchange> = {}): Exchange {
  return { ...startExchange('id', 'GET', '/x?a=1'), company: 'acme', group: 'acme', status: 200, ...over }
}

t.test('a request that went through is remembered with all that explains it', async (t) => {
  const { server, port, fake } = await startRig(t)
  const before = Date.now()
  fake.faults.api = [
    {
      match: '/rest/v1.0/echo',
      headers: {
        Location: 'https://files.example/a?X-Amz-Signature=sig0',
        'Set-Cookie': 's=cookie0',
        'X-Auth-Token': 'tok0',
        'X-Request-Id': 'procore-1',
      },
    },
  ]
  await sendRaw(
    port,
    [
      'POST /acme/rest/v1.0/echo?token=query0 HTTP/1.1',
      'Host: localhost',
      'X-Request-Id: mine-1',
      'Authorization: Bearer caller0',
      'Cookie: c=cookie1',
      'Proxy-Authorization: Basic proxy0',
      'Connection: close, X-Hop',
      'X-Hop: hop0',
      'X-Kept: kept0',
      'Content-Length: 5',
      '\r\nhello',
    ].join('\r\n'),
  )
  const [request, ...others] = server.inspector.requests()
  t.equal(others.length, 0)
  t.match(request, {
    seq: 1,
    id: 'mine-1',
    listener: '127.0.0.1:0',
    method: 'POST',
    target: '/acme/rest/v1.0/echo?token=*',
    company: 'acme',
    why: 'path prefix /acme',
    added: ['Host', 'Accept-Encoding', 'Procore-Company-Id', 'Via', 'Authorization'],
    removed: ['Authorization', 'Cookie', 'Proxy-Authorization', 'Connection', 'X-Hop'],
    status: 200,
    retries: [],
    bytesIn: 5,
    procoreRequestId: 'procore-1',
  })
  t.equal(request?.error, undefined)
  t.ok((request?.at ?? 0) >= before && (request?.at ?? 0) <= Date.now())
  const headers = new Map(request?.responseHeaders)
  t.equal(headers.get('Location'), 'https://files.example/a?X-Amz-Signature=*')
  t.equal(headers.get('X-Auth-Token'), '*')
  t.equal(headers.get('Procore-Proxy-Company'), 'acme')
  const { queuedMs, tokenMs, connectMs, upstreamMs = 0, bodyMs = 0, totalMs } = request!.timing
  for (const ms of [connectMs, upstreamMs, bodyMs]) t.ok(ms >= 0)
  const parts = queuedMs + tokenMs + connectMs + upstreamMs + bodyMs
  t.ok(Math.abs(parts - totalMs) < 1, 'the parts come to the whole')
  t.notMatch(
    JSON.stringify([server.inspector.requests(), server.inspector.series()]),
    /query0|caller0|cookie\d|proxy0|hop0|kept0|sig0|tok0|demo-secret|Bearer/,
  )
})

t.test('a wait for a token shows in the timing', async (t) => {
  const { server, get } = await startRig(t, { cold: true, fake: { tokenDelayMs: 80 } })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  const { tokenMs = 0, totalMs = 0 } = server.inspector.requests()[0]?.timing ?? {}
  t.ok(tokenMs > 30 && tokenMs <= totalMs, `${tokenMs} of ${totalMs}`)
})

t.test('refusals and failures are remembered with their help; own pages are not', async (t) => {
  const { server, get, port, fake } = await startRig(t, { settings: { upstream: { retries: 0 } } })
  await get('/unknown/rest/v1.0/me?a=query0')
  fake.faults.reset('before')
  await get('/acme/rest/v1.0/me')
  fake.faults.clear()
  fake.faults.api = [{ status: 500 }]
  await get('/acme/rest/v1.0/me')
  fake.faults.api = []
  fake.faults.hang()
  const socket = await openSocket(port)
  const calls = fake.journal.api().length
  socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (fake.journal.api().length === calls) await new Promise((resolve) => setTimeout(resolve, 5))
  socket.destroy()
  for (const path of ['/_proxy/status', '/acme/_proxy/metrics', '/_proxy/health/live', '/_proxy/none'])
    await get(path)
  const refused = await get('/_proxy/status', { headers: { host: 'evil.example' } })
  t.equal(refused.status, 403)
  while (server.inspector.requests().length < 5) await new Promise((resolve) => setTimeout(resolve, 5))
  const shown = server.inspector.requests().reverse()
  t.strictSame(shown.map(({ error, status }) => `${error?.code} ${status}`).sort(), [
    'caller_gone null',
    'company_unknown 404',
    'host_not_allowed 403',
    'undefined 500',
    'upstream_protocol 502',
  ])
  const unknown = shown[0]
  t.match(unknown, {
    target: '/unknown/rest/v1.0/me?a=*',
    added: [],
    removed: [],
    error: { detail: /unknown/, help: /./ },
  })
  const errors = server.inspector.errors()
  t.match(
    errors.map(({ code }) => code).sort(),
    ['company_unknown', 'host_not_allowed', 'upstream_protocol', 'upstream_status'],
    'who left is no error',
  )
  t.match(errors.at(-1), { code: 'company_unknown', path: '/unknown/rest/v1.0/me?a=*', status: 404 })
  t.notMatch(JSON.stringify([shown, errors]), 'query0')
})

t.test('the inspector can be off, or smaller, and a reload changes that', async (t) => {
  const rig = await startRig(t, { settings: { inspector: { enabled: false } } })
  const { server, get } = rig
  await get('/acme/rest/v1.0/me')
  await get('/unknown/rest/v1.0/me')
  t.notOk(server.inspector.enabled)
  t.strictSame([server.inspector.requests(), server.inspector.series()], [[], []])
  t.match(server.inspector.errors(), [{ code: 'company_unknown' }])
  const companies = { acme: { id: '7656', serviceAccount: 'app' } }
  await rig.reload(settingsFor(rig.fake, { companies, inspector: { requests: 2, showQueryValues: true } }))
  t.ok(server.inspector.enabled)
  for (const n of [1, 2, 3]) await get(`/acme/rest/v1.0/me?n=${n}`)
  const targets = () => server.inspector.requests().map(({ target }) => target)
  t.strictSame(targets(), ['/acme/rest/v1.0/me?n=3', '/acme/rest/v1.0/me?n=2'])
  await rig.reload(settingsFor(rig.fake, { companies, inspector: { requests: 1 } }))
  t.strictSame(targets(), ['/acme/rest/v1.0/me?n=*'])
})

t.test('a user name and password are masked even where query values are shown', async (t) => {
  const open = inspector({ showQueryValues: true })
  open.record(ended({ target: 'http://user:pass@host/x?a=1' }))
  t.match(open.requests(), [{ target: 'http://*@host/x?a=1' }])
})

t.test('bounded in number and in bytes; readers ask for what is new', async (t) => {
  const few = inspector({ requests: 3 })
  for (let n = 1; n <= 5; n++) few.record(ended({ bytesOut: n }))
  t.match(
    few.requests(),
    [5, 4, 3].map((n) => ({ seq: n, bytesOut: n })),
  )
  t.equal(few.requests().length, 3)
  t.match(few.requests(EVERYTHING, 4), [{ seq: 5 }])
  t.equal(few.requests(EVERYTHING, 4).length, 1)
  t.strictSame(few.requests(EVERYTHING, 5), [])
  few.configure({ ...DEFAULTS, requests: 10 })
  t.equal(few.requests().length, 3)
  few.configure({ ...DEFAULTS, enabled: false })
  t.equal(few.requests().length, 0)
  few.configure(DEFAULTS)
  few.record(ended())
  t.equal(few.requests().length, 1)

  const large = inspector({ requests: 1000 })
  const header = 'x'.repeat(16_000)
  for (let n = 0; n < 500; n++) large.record(ended({ responseHeaders: ['X-Large', header] }))
  const listed = large.requests().length
  t.ok(listed > 50 && listed < 70, `${listed} of 16 KB come to 1 MB`)
  t.ok(large.request('first') === undefined && large.request('id', 260) !== undefined, '4 MB are kept')
  large.record(ended({ responseHeaders: ['X-Huge', 'x'.repeat(5_000_000)] }))
  t.equal(large.requests().length, 1, 'the newest stays, however large')
})

function bodiesOf(text: string): Bodies {
  const bodies = new Bodies()
  for (const way of ['request', 'response'] as const) {
    bodies[way] = new Excerpt(['Content-Type', 'text/plain'])
    bodies[way]?.add(Buffer.from(text))
    bodies[way]?.end()
  }
  return bodies
}

t.test('bodies count among the bytes, and go with their requests or when switched off', async (t) => {
  const long = 'x'.repeat(2048)
  const one = inspector({ requests: 10_000, bodies: true })
  t.ok(one.keepsBodies)
  for (let n = 0; n < 2_000; n++) one.record(ended({ bodies: bodiesOf(long) }))
  const isKept = (seq: number) => one.request('id', seq) !== undefined
  t.ok(!isKept(1_100) && isKept(1_300), 'some 800 of 5 KiB each')
  t.equal(one.request('id')?.requestBody?.text, long)
  one.configure({ ...DEFAULTS, requests: 10_000 })
  t.notOk(one.keepsBodies)
  t.match(one.request('id'), { bodies: false, requestBody: undefined, answerBody: undefined })
  for (let n = 0; n < 2_000; n++) one.record(ended())
  t.ok(isKept(1_300), 'what was forgotten made room')
  t.equal(one.requests().length, 200, 'no list is longer')
})

t.test('nothing of a request outlives it but what is shown', async (t) => {
  const one = inspector()
  const cause = new ProxyError('overloaded', 'Too many.')
  const exchange = ended({
    bodies: bodiesOf('Seen'),
    rawHeaders: ['A', 'value0', 'CONNECTION', 'x'],
    cause: 'overloaded',
    error: cause,
    sentAt: 1,
  })
  one.record(exchange)
  t.equal(exchange.rawHeaders, undefined)
  t.equal(exchange.bodies, undefined, 'what comes late is not added')
  t.equal(exchange.error, undefined)
  t.match(one.requests()[0], {
    removed: ['A', 'CONNECTION', 'x'],
    error: { code: 'overloaded', detail: 'Too many.' },
  })
  one.record(ended({ cause: 'odd', error: new Error('text') }))
  t.match(one.requests()[0]?.error, { code: 'odd', detail: 'text' })
  for (let n = 0; n < 30; n++) one.record(ended({ cause: 'overloaded', error: cause }))
  t.equal(one.errors().length, 20)
  one.record(ended({ responseHeaders: ['X-Request-Id', 'id'] }))
  t.equal(one.requests()[0]?.procoreRequestId, undefined, 'our own id is not Procore’s')
  one.record(ended({ group: undefined, company: undefined }))
  t.match(one.series(), [{ company: 'acme' }])
})

t.test('ten minutes of each company, in buckets of ten seconds', async (t) => {
  const time = fakeTime(t)
  let left = 100
  const one = inspector({}, () => left)
  await time.pass(10_000 - (Date.now() % 10_000))
  const first = Date.now()
  const request = (durationMs: number, status: number | null) =>
    one.record(ended({ at: Date.now(), durationMs, status }))
  for (const status of [200, 302, 404, 503, null]) request(100, status)
  for (let n = 0; n < 95; n++) request(10, 200)
  for (let n = 0; n < 10; n++) request(2_000, 200)
  await time.pass(20_000)
  left = 40
  request(0, 200)
  left = 39
  const [series] = one.series()
  t.match(series, { company: 'acme', bucketSeconds: 10 })
  t.equal(series?.buckets.length, 60)
  const [old, empty, now] = series!.buckets.slice(-3)
  t.match(old, {
    at: first,
    counts: { '2xx': 106, '3xx': 1, '4xx': 1, '5xx': 1, none: 1 },
    budgetRemaining: 100,
  })
  t.ok(old!.p50Ms! >= 10 && old!.p50Ms! < 13, String(old?.p50Ms))
  t.ok(old!.p95Ms! >= 2_000 && old!.p95Ms! < 2_600, String(old?.p95Ms))
  t.match(empty, { counts: { '2xx': 0 }, p50Ms: null, p95Ms: null, budgetRemaining: null })
  t.match(now, { at: first + 20_000, counts: { '2xx': 1 }, p50Ms: 0.5, budgetRemaining: 39 })
  await time.pass(600_000)
  request(1, 500)
  const later = one.series()[0]!.buckets
  t.match(later.at(-1), { counts: { '2xx': 0, '5xx': 1 } }, 'a place is used anew')
  t.equal(later.filter(({ counts }) => counts['2xx'] > 0).length, 0, 'what is older is gone')
})

t.test('a viewer sees the requests, errors and series of its own companies and caller alone', async (t) => {
  const one = inspector()
  const seen: Partial<Exchange>[] = [
    { reqId: 'a', caller: 'excel' },
    { reqId: 'b', group: 'globex', company: 'globex' },
    { reqId: 'c', group: '*', company: '5' },
    { reqId: 'd', group: undefined, company: undefined, caller: 'excel' },
    { reqId: 'e' },
    { reqId: 'f', method: 'POST' },
    { reqId: 'g', method: 'POST', caller: 'excel' },
  ]
  for (const each of seen) one.record(ended({ cause: 'overloaded', ...each }))
  const cases: [Viewer, string, string][] = [
    [EVERYTHING, 'gfedcba', 'acme,globex,*'],
    [{ companies: new Set(['acme']), caller: undefined }, 'gfea', 'acme'],
    [{ companies: new Set(['*', 'globex']), caller: undefined }, 'cb', 'globex,*'],
    [{ companies: new Set(['acme']), caller: 'excel' }, 'gfeda', 'acme'],
    [{ companies: new Set(['acme']), caller: 'excel', readsOnly: true }, 'geda', 'acme'],
    [{ companies: new Set(['acme']), caller: 'excel', limitedBy: 'projects' }, 'gda', 'acme'],
    [{ companies: undefined, caller: 'excel', limitedBy: 'rules' }, 'gda', 'acme,globex,*'],
    [{ companies: undefined, caller: 'other' }, 'gfedcba', 'acme,globex,*'],
    [{ companies: undefined, caller: 'other', readsOnly: true }, 'edcba', 'acme,globex,*'],
    [{ companies: undefined, caller: 'other', limitedBy: 'projects' }, '', 'acme,globex,*'],
    [{ companies: new Set(), caller: undefined }, '', ''],
  ]
  for (const [viewer, ids, companies] of cases) {
    const listed = [
      one.requests(viewer).map(({ id }) => id),
      one.errors(viewer).map((error) => error.requestId),
    ]
    for (const list of listed) t.equal(list.join(''), ids)
    const series = one.series(viewer)
    t.equal(series.map(({ company }) => company).join(), companies)
    for (const { reqId = '' } of seen)
      t.equal(one.request(reqId, undefined, viewer) !== undefined, ids.includes(reqId), reqId)
  }
})

t.test('a request tells who answered it, where it went, and why Procore may have refused it', async (t) => {
  const one = inspector()
  const shown = (over: Partial<Exchange>) => {
    one.record(ended(over))
    return one.requests()[0]
  }
  const upstreamUrl = 'https://api.procore.com/rest/v1.0/me?a=1'
  t.match(shown({ upstreamMs: 1, upstreamUrl, sentAt: 1 }), {
    answeredBy: 'procore',
    upstreamUrl: 'https://api.procore.com/rest/v1.0/me?a=*',
    causes: [],
  })
  const error = new ProxyError('overloaded', 'Too many.')
  t.match(shown({ cause: 'overloaded', error, status: 503 }), { answeredBy: 'proxy' })
  t.match(shown({ saved: 'kept' }), { answeredBy: 'cache', saved: 'kept' })
  t.match(shown({ status: null, cause: 'caller_gone' }), { answeredBy: undefined })
  t.equal(shown({ upstreamMs: 1, status: 403 })?.causes.length, 6)
  const refusal = { cause: 'One.', fix: 'Fix it.' }
  t.strictSame(shown({ upstreamMs: 1, status: 403, refusal })?.causes, [refusal])
})

t.test('header values that may be secret are masked', async (t) => {
  const cases: [name: string, value: string, shown: string][] = [
    ['Location', '/x?a=1&b=2', '/x?a=*&b=*'],
    [
      'Link',
      '<http://h/x?page=2>; rel="next", <http://h/x?page=9>; rel="last"',
      '<http://h/x?page=*>; rel="next", <http://h/x?page=*>; rel="last"',
    ],
    ['X-File', 'https://h/f?Signature=s', 'https://h/f?Signature=*'],
    ['X-Question', 'why?', 'why?'],
    ['Total', '5', '5'],
    ['X-Api-Key', 'k', '*'],
    ['Set-Cookie', 'c', '*'],
    ['X-Session-Id', 's', '*'],
    ['X-Signature', 's', '*'],
    ['X-Auth', 's', '*'],
    ['ETag', '"e"', '"e"'],
    ['X-Request-Id', 'r', 'r'],
  ]
  for (const [name, value, shown] of cases) t.equal(maskHeader(name, value), shown, name)
})
