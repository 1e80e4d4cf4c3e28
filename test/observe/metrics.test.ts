// Covers src/observe/{metrics,metrics-registry,exchange}.ts: counts, refusals of Procore's with their warnings, and the metrics page.
import t from 'tap'
import { type Exchange, startExchange } from '../../src/observe/exchange.ts'
import { createLogger } from '../../src/observe/log.ts'
import { CompanyHistory, Metrics } from '../../src/observe/metrics.ts'
import { VERSION } from '../../src/observe/own-files.ts'
import { EVERYTHING } from '../../src/observe/viewer.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { testConfig } from '../fixtures/config.ts'
import { testLive } from '../fixtures/live.ts'
import { isCounted, metricsOf, type Samples } from '../fixtures/metrics.ts'
import { ACME, openSocket, type Rig, startRig } from '../fixtures/proxy.ts'

const requestsOf = (samples: Samples, company: string, status: string, method = 'read', caller = '') =>
  samples('procore_proxy_requests_total', { company, caller, method, status })

const read = async (rig: Rig): Promise<Samples> => metricsOf((await rig.get('/_proxy/metrics')).text)

t.test(
  'requests are counted by company, method class and status class, with bytes and durations',
  async (t) => {
    const rig = await startRig(t)
    const { get, fake } = rig
    await get('/acme/rest/v1.0/me')
    await get('/acme/rest/v1.0/echo?x=1', { method: 'POST', body: 'hello' })
    await get('/acme/rest/v1.0/nope')
    fake.faults.api = [{ match: '/rest/v1.0/me', status: 302 }]
    await get('/acme/rest/v1.0/me', { method: 'HEAD' })
    fake.faults.api = [{ match: '/rest/v1.0/me', status: 500 }]
    await get('/globex/rest/v1.0/me', { method: 'OPTIONS' })
    await get('/unknown/rest/v1.0/me')
    const { text, headers } = await get('/_proxy/metrics')
    t.match(headers, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'cache-control': 'no-store',
    })
    const samples = metricsOf(text)
    t.equal(requestsOf(samples, 'acme', '2xx'), 1)
    t.equal(requestsOf(samples, 'acme', '2xx', 'write'), 1)
    t.equal(requestsOf(samples, 'acme', '4xx'), 1)
    t.equal(requestsOf(samples, 'acme', '3xx'), 1)
    t.equal(requestsOf(samples, 'globex', '5xx'), 1)
    t.equal(requestsOf(samples, '_proxy', '4xx'), 1)
    t.equal(samples('procore_proxy_request_bytes_total', { company: 'acme' }), 5)
    t.ok((samples('procore_proxy_response_bytes_total', { company: 'acme' }) ?? 0) > 100)
    for (const name of [
      'procore_proxy_request_duration_seconds',
      'procore_proxy_upstream_duration_seconds',
    ]) {
      t.equal(samples(`${name}_count`, { company: 'acme' }), 4)
      t.equal(samples(`${name}_bucket`, { company: 'acme', le: '+Inf' }), 4)
      const sum = samples(`${name}_sum`, { company: 'acme' }) ?? 0
      t.ok(sum > 0 && sum < 10)
      t.ok((samples(`${name}_bucket`, { company: 'acme', le: '10' }) ?? 0) >= 3)
    }
    t.equal(samples('procore_proxy_upstream_duration_seconds_count', { company: '_proxy' }), 0)
    t.equal(samples('procore_proxy_errors_total', { code: 'company_unknown' }), 1)
    t.equal(samples('procore_proxy_errors_total', { code: 'rate_limited' }), 0, 'every code is there')
    t.equal(samples('procore_proxy_ready'), 1)
    t.equal(samples('procore_proxy_build_info', { version: VERSION, node: process.versions.node }), 1)
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_start_time_seconds',
    ]) {
      t.ok((samples(name) ?? 0) > 0, name)
    }
    t.ok((samples('procore_proxy_event_loop_lag_seconds', { quantile: '0.99' }) ?? -1) >= 0)
  },
)

t.test('who leaves before an answer counts as none', async (t) => {
  const rig = await startRig(t)
  rig.fake.faults.hang()
  const socket = await openSocket(rig.port)
  socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (rig.fake.journal.api().length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal((await read(rig))('procore_proxy_in_flight', { company: 'acme' }), 1)
  socket.destroy()
  const gone = { company: 'acme', caller: '', method: 'read', status: 'none' }
  await isCounted(() => read(rig), 'procore_proxy_requests_total', gone)
  t.equal((await read(rig))('procore_proxy_in_flight', { company: 'acme' }), 0)
})

t.test('companies under "*" are one, whatever ids callers name, and paths stand nowhere', async (t) => {
  const rig = await startRig(t, { settings: { companies: { '*': { serviceAccount: 'app' } } } })
  await Promise.all([1, 2, 3].map((id) => rig.get(`/${id}/rest/v1.0/me?secret=value`)))
  await rig.get(`/${ACME}/rest/v1.0/me`)
  const { text } = await rig.get('/_proxy/metrics')
  const samples = metricsOf(text)
  t.equal(requestsOf(samples, '*', '4xx'), 3)
  t.equal(requestsOf(samples, '*', '2xx'), 1)
  t.equal(samples('procore_proxy_in_flight', { company: '*' }), 0)
  t.type(samples('procore_proxy_budget_remaining', { company: '*' }), 'number')
  t.notMatch(text, ACME)
  t.notMatch(text, /rest\/|secret/)
  const companies = new Set([...text.matchAll(/company="([^"]*)"/g)].map(([, name]) => name))
  t.strictSame([...companies].sort(), ['*', '_proxy'])
})

t.test('retries are counted by reason', async (t) => {
  const rig = await startRig(t)
  const { get, fake } = rig
  const at = (reason: string) => ({ company: 'acme', reason })
  const once = { times: 1 }
  const faults = [
    () => fake.faults.unauthorized(once),
    () => fake.faults.rateLimited(0, once),
    () => fake.faults.unavailable(0, once),
    () => fake.faults.reset('before', once),
  ]
  for (const strike of faults) {
    strike()
    t.equal((await get('/acme/rest/v1.0/me')).status, 200)
    fake.faults.clear()
  }
  const samples = await read(rig)
  for (const reason of ['401', '429', '503', 'connection']) {
    t.equal(samples('procore_proxy_retries_total', at(reason)), 1, reason)
  }
  const recorded = rig.server.inspector.requests().reverse()
  t.match(
    recorded,
    ['401', '429', '503', 'connection'].map((reason) => ({ retries: [reason] })),
  )
  t.ok((recorded[2]?.timing.queuedMs ?? 0) > 0, 'the wait before another try')
})

t.test('tokens: issued, failed by reason, age and end; budgets', async (t) => {
  const rig = await startRig(t, {
    settings: {
      serviceAccounts: {
        app: { clientId: 'demo-client', clientSecret: 'demo-secret' },
        bad: { clientId: 'demo-client', clientSecret: 'wrong' },
      },
      companies: { acme: { id: ACME, serviceAccount: 'app' }, bad: { id: '1', serviceAccount: 'bad' } },
    },
    cold: true,
  })
  await rig.get('/acme/rest/v1.0/me')
  await rig.get('/bad/rest/v1.0/me')
  const samples = await read(rig)
  const app = { account: 'app', environment: 'fake' }
  const bad = { account: 'bad', environment: 'fake' }
  t.equal(samples('procore_proxy_tokens_issued_total', app), 1)
  t.equal(samples('procore_proxy_token_failures_total', { ...bad, reason: 'rejected' }), 1)
  t.equal(samples('procore_proxy_token_failures_total', { ...bad, reason: 'timeout' }), 0)
  t.equal(samples('procore_proxy_token_valid', app), 1)
  t.equal(samples('procore_proxy_token_valid', bad), 0)
  const lifetime = samples('procore_proxy_token_lifetime_seconds', app) ?? 0
  const left = samples('procore_proxy_token_expires_in_seconds', app) ?? 0
  t.ok(left > lifetime * 0.9 && left <= lifetime)
  t.ok((samples('procore_proxy_token_age_seconds', app) ?? -1) >= 0)
  t.equal(samples('procore_proxy_token_expires_in_seconds', bad), undefined)
  t.equal(samples('procore_proxy_errors_total', { code: 'credentials_rejected' }), 1)
  t.equal(samples('procore_proxy_budget_limit', { company: 'acme' }), 100)
  t.ok((samples('procore_proxy_budget_remaining', { company: 'acme' }) ?? -1) >= 0)
  t.ok((samples('procore_proxy_budget_reset_seconds', { company: 'acme' }) ?? -1) >= 0)
  t.equal(samples('procore_proxy_budget_limit', { company: 'bad' }), undefined, 'nothing is known of it')
})

t.test('what waits is seen: for the budget, and for a connection', async (t) => {
  const rig = await startRig(t, { settings: { upstream: { connections: 1 } } })
  rig.fake.faults.hang()
  const sockets = await Promise.all([1, 2, 3].map(() => openSocket(rig.port)))
  for (const socket of sockets) socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (rig.fake.journal.api().length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const samples = await read(rig)
  t.equal(samples('procore_proxy_queued', { company: 'acme', for: 'connection' }), 2)
  t.equal(samples('procore_proxy_queued', { company: 'acme', for: 'budget' }), 0)
  t.equal(samples('procore_proxy_in_flight', { company: 'acme' }), 3)
  for (const socket of sockets) socket.destroy()
})

t.test('not ready is 0', async (t) => {
  const rig = await startRig(t, { cold: true, fake: { tokenDelayMs: 60_000 } })
  const samples = await read(rig)
  t.equal(samples('procore_proxy_ready'), 0)
  t.equal(samples('procore_proxy_token_valid', { account: 'app', environment: 'fake' }), 0)
})

const LIVE = testLive({ logLinesLost: 7, shared: { up: false, errors: { timeout: 3 } } })

function request(over: Partial<Exchange> = {}): Exchange {
  return { ...startExchange('id', 'GET', '/x'), group: 'acme', status: 200, ...over }
}

t.test('what happened before prom-client was loaded is counted, however much it was', async (t) => {
  const metrics = new Metrics(
    () => LIVE,
    () => undefined,
  )
  t.teardown(() => metrics.close())
  for (let n = 0; n < 2_500; n++) metrics.add(request({ bytesIn: 2, durationMs: 20 }))
  const { text } = await metrics.text(EVERYTHING)
  const samples = metricsOf(text)
  t.equal(requestsOf(samples, 'acme', '2xx'), 2_500)
  t.equal(samples('procore_proxy_request_bytes_total', { company: 'acme' }), 5_000)
  t.equal(samples('procore_proxy_request_duration_seconds_bucket', { company: 'acme', le: '0.025' }), 2_500)
  t.equal(samples('procore_proxy_log_lines_lost_total'), 7)
  t.equal(samples('procore_proxy_shared_up'), 0)
  t.equal(samples('procore_proxy_shared_errors_total', { kind: 'timeout' }), 3)
  t.equal(samples('procore_proxy_config_last_reload_successful'), 1)
})

t.test('saved requests, callers and the last reload', async (t) => {
  const cache = { coalesce: true, keep: [], refusalsMs: 0, sizeBytes: 1 }
  const caller = {
    keys: [],
    companies: undefined,
    access: 'read-write',
    rules: [],
    projects: undefined,
  } as const
  const callers = ['excel', 'agent'].map((name) => ({ ...caller, name, share: undefined }))
  const live = { ...LIVE, shared: undefined, config: { ...testConfig(), cache, callers } }
  const metrics = new Metrics(
    () => live,
    () => ({ at: 5_000, ok: false, errors: ['wrong'] }),
  )
  t.teardown(() => metrics.close())
  for (const by of ['kept', 'coalesced', undefined] as const) {
    metrics.add(request({ saved: by, caller: 'excel' }))
  }
  metrics.add(
    request({
      saved: 'refusal',
      status: 403,
      group: 'globex',
      caller: 'agent',
    }),
  )
  const { text } = await metrics.text(EVERYTHING)
  const samples = metricsOf(text)
  const saved = (company: string, by: string) =>
    samples('procore_proxy_saved_requests_total', { company, by })
  t.strictSame(
    [saved('acme', 'kept'), saved('acme', 'coalesced'), saved('acme', 'refusal'), saved('globex', 'refusal')],
    [1, 1, 0, 1],
  )
  const of = (caller: string) =>
    samples('procore_proxy_requests_total', { company: 'acme', caller, method: 'read', status: '2xx' })
  t.strictSame([of('excel'), of('agent'), of('')], [3, 0, 0])
  t.equal(samples('procore_proxy_config_last_reload_successful'), 0)
  t.equal(samples('procore_proxy_config_last_reload_timestamp_seconds'), 5)
  t.notMatch(text, /^procore_proxy_shared_up /m)

  const companies = new Set(['acme'])
  const some = (await metrics.text({ companies, caller: 'excel' })).text
  t.match(some, /requests_total\{company="acme",caller="excel",.*\} 3\n/)
  t.match(some, /^procore_proxy_ready 1$/m)
  t.match(some, 'caller=""')
  t.notMatch(some, /globex|agent|_proxy"|^process_|errors_total\{/m)
  const own = (await metrics.text({ companies, caller: 'excel', limitedBy: 'projects' })).text
  t.match(own, /requests_total\{company="acme",caller="excel",.*\} 3\n/)
  t.notMatch(own, /caller=""|agent/)
  const nameless = (await metrics.text({ companies, caller: undefined })).text
  t.match(nameless, 'caller=""')
  t.notMatch(nameless, /excel|agent/, 'no more than in the status')
})

t.test('where prom-client can not be loaded, later requests and the next scrape try again', async (t) => {
  let tries = 0
  const metrics = new Metrics(
    () => LIVE,
    () => undefined,
    async () => {
      if (tries++ === 0) throw new Error('the file is gone')
      return import('../../src/observe/metrics-registry.ts')
    },
  )
  t.teardown(() => metrics.close())
  metrics.add(request())
  await t.rejects(metrics.text(EVERYTHING), { message: 'the file is gone' })
  const samples = metricsOf((await metrics.text(EVERYTHING)).text)
  const labels = { company: 'acme', caller: '', method: 'read', status: '2xx' }
  t.equal(samples('procore_proxy_requests_total', labels), 1, 'nothing is lost')

  let opened = 0
  const unread = new Metrics(
    () => LIVE,
    () => undefined,
    async () => {
      opened++
      throw new Error('too many open files')
    },
  )
  for (let count = 0; count < 3_000; count++) unread.add(request())
  t.equal(opened, 3)
})

t.test('where prom-client can never be loaded, the oldest requests are forgotten', async (t) => {
  let isThere = false
  let tries = 0
  const metrics = new Metrics(
    () => LIVE,
    () => undefined,
    async () => {
      tries++
      if (!isThere) throw new Error('the file is gone')
      return import('../../src/observe/metrics-registry.ts')
    },
  )
  t.teardown(() => metrics.close())
  for (let count = 0; count < 30_500; count++) metrics.add(request({ bytesIn: count < 20_500 ? 0 : 1 }))
  t.equal(tries, 30)
  isThere = true
  const samples = metricsOf((await metrics.text(EVERYTHING)).text)
  t.equal(requestsOf(samples, 'acme', '2xx'), 9_500)
  t.equal(samples('procore_proxy_request_bytes_total', { company: 'acme' }), 9_500, 'the newest are counted')
})

function start() {
  const lines: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'info', format: 'json' },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  )
  const history = new CompanyHistory(log)
  const add = (over: Partial<Exchange>) =>
    history.add({
      ...startExchange('id', 'GET', '/x'),
      company: 'acme',
      group: 'acme',
      upstreamMs: 1,
      ...over,
    })
  return { history, lines, add }
}

t.test('requests are counted by class of status, by caller, and by how they were saved', async (t) => {
  const { history, add } = start()
  for (const status of [200, 204, 302, 404, 503, null]) add({ status, caller: 'excel' })
  add({ status: 200, saved: 'kept' })
  add({ status: 200, group: undefined })
  t.match(history.of('acme'), {
    requests: { '2xx': 3, '3xx': 1, '4xx': 1, '5xx': 1, none: 1 },
    saved: { coalesced: 0, kept: 1, refusal: 0 },
  })
  t.match(history.of('other'), {
    requests: { '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, none: 0 },
    saved: { coalesced: 0, kept: 0, refusal: 0 },
  })
  t.equal(history.requestsOfCaller('excel'), 6)
  t.equal(history.requestsOfCaller('other'), 0)
})

t.test('Procore’s refusals are counted until it answers otherwise', async (t) => {
  const { history, add } = start()
  add({ status: 403 })
  add({ status: 401 })
  t.match(history.of('acme').refusals, { status: 401, count: 2, causes: Array(5).fill({ cause: /./ }) })
  const refusal = { cause: 'The app is not connected to this company.', fix: 'Connect it.' }
  add({ status: 403, refusal })
  add({ status: 404, upstreamMs: undefined })
  add({ status: 403, cause: 'access_denied' })
  add({ status: 500 })
  t.match(
    history.of('acme').refusals,
    { status: 403, count: 3, causes: [refusal] },
    'the proxy’s own are none',
  )
  add({ status: 302 })
  t.equal(history.of('acme').refusals, undefined)
  t.equal(history.of('other').refusals, undefined)
})

t.test('the log warns once in ten minutes for each status and company', async (t) => {
  const time = fakeTime(t)
  const { lines, add } = start()
  add({ status: 403, company: '1', group: '*' })
  add({ status: 403, company: '2', group: '*' })
  add({ status: 404, company: '2', group: '*', cause: 'caller_gone' })
  add({ status: 403, refusal: { cause: 'The tool is switched off.', fix: 'Switch it on.' } })
  t.match(lines, [
    {
      level: 'warn',
      reqId: 'id',
      company: '1',
      msg: 'Procore answered 403: likely causes',
      causes: Array(6).fill(/./),
    },
    { company: '2', status: 404 },
    {
      causes: ['The tool is switched off. Switch it on.'],
    },
  ])
  await time.pass(600_000)
  add({ status: 403 })
  t.equal(lines.length, 4)
})
