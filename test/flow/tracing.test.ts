// Traces: what a caller sends reaches Procore as it is; where an OTLP endpoint is set, spans tell what became of requests.
import t, { type Test } from 'tap'
import { type Collector, type ReceivedSpan, startCollector } from '../fixtures/otlp.ts'
import { openSocket, type Rig, type RigOptions, sendRaw, startRig } from '../fixtures/proxy.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const SAMPLED = `00-${TRACE}-${SPAN}-01`

interface TracedRig extends Rig {
  readonly collector: Collector
}

/** A rig that sends its spans as JSON, soon, to a collector of its own. */
async function startTraced(
  t: Test,
  { env = {}, ...options }: RigOptions = {},
  collector?: Collector,
): Promise<TracedRig> {
  const to = collector ?? (await startCollector(t))
  const variables = {
    OTEL_EXPORTER_OTLP_ENDPOINT: to.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '5',
    ...env,
  }
  return { ...(await startRig(t, { ...options, env: variables })), collector: to }
}

/** The spans of the only request: its own, and that of the exchange with Procore. */
async function spansOf(
  { collector }: TracedRig,
  count: number,
): Promise<{ server: ReceivedSpan; client: ReceivedSpan | undefined }> {
  const spans = await collector.requests(count)
  const server = spans.find(({ kind }) => kind === 'server')
  if (server === undefined) throw new Error('no span of the request')
  return { server, client: spans.find(({ kind }) => kind === 'client') }
}

t.test(
  'traceparent, tracestate, baggage and X-Request-Id go up unchanged, and nothing is made up',
  async (t) => {
    const { get, fake, logText } = await startRig(t)
    const sent = {
      traceparent: SAMPLED,
      tracestate: 'vendor=a, other=b',
      baggage: 'user=1;x=2',
      'x-request-id': 'trace-1',
    }
    await get('/acme/rest/v1.0/me', { headers: sent })
    t.match(fake.journal.api()[0]?.headers, sent)
    await get('/acme/rest/v1.0/me', { headers: { traceparent: 'not one at all' } })
    t.match(fake.journal.api()[1]?.headers, { traceparent: 'not one at all' })
    await get('/acme/rest/v1.0/me')
    t.notOk('traceparent' in (fake.journal.api()[2]?.headers ?? {}))
    t.notMatch(logText(), 'traceId')
  },
)

t.test('without an endpoint, and with traces turned off, nobody is called', async (t) => {
  const collector = await startCollector(t)
  const off: NodeJS.ProcessEnv[] = [
    { OTEL_EXPORTER_OTLP_ENDPOINT: '', OTEL_TRACES_EXPORTER: 'otlp' },
    { OTEL_SDK_DISABLED: 'true' },
    { OTEL_TRACES_EXPORTER: 'none' },
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
  ]
  for (const env of off) {
    const { get, fake, server } = await startTraced(t, { env }, collector)
    await get('/acme/rest/v1.0/me', { headers: { Traceparent: SAMPLED } })
    t.match(fake.journal.api()[0]?.rawHeaders.join('\n'), `Traceparent\n${SAMPLED}`, JSON.stringify(env))
    await server.drain()
  }
  t.strictSame(collector.deliveries, [])
})

t.test('a request is a span, and its exchange with Procore another below it', async (t) => {
  const rig = await startTraced(t)
  const before = Date.now()
  await rig.get('/acme/rest/v1.0/echo?filters[id]=secret-value&page=2', {
    headers: { 'X-Request-Id': 'mine' },
  })
  const { server, client } = await spansOf(rig, 2)
  t.match(server, {
    name: 'GET',
    kind: 'server',
    parentSpanId: undefined,
    isError: false,
    resource: { 'service.name': 'procore-proxy', 'telemetry.sdk.language': 'nodejs' },
  })
  t.strictSame(server.attributes, {
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'url.scheme': 'http',
    'url.path': '/acme/rest/v1.0/echo',
    'url.query': 'filters[id]=*&page=*',
    'server.address': '127.0.0.1',
    'procore.company': 'acme',
    'procore_proxy.request_id': 'mine',
  })
  const api = new URL(rig.fake.apiUrl)
  t.match(client, { name: 'GET', traceId: server.traceId, parentSpanId: server.spanId, isError: false })
  t.strictSame(client?.attributes, {
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'server.address': '127.0.0.1',
    'server.port': Number(api.port),
    'url.full': `${rig.fake.apiUrl}/rest/v1.0/echo?filters[id]=*&page=*`,
    'procore.environment': 'fake',
    'procore.company': 'acme',
  })
  t.strictSame(client?.events, ['first byte'])
  t.ok(server.startMs >= before && server.startMs <= (client?.startMs ?? 0))
  t.ok((client?.startMs ?? 0) <= (client?.endMs ?? 0) && client?.endMs === server.endMs)
  t.match(rig.fake.journal.api()[0]?.headers, { traceparent: `00-${server.traceId}-${client?.spanId}-01` })
  const line = rig.log().find(({ msg }) => msg === 'request')
  t.equal(line?.['traceId'], server.traceId, 'the log names the trace')
})

t.test('the trace is the one of the caller, sampled or not as it says', async (t) => {
  const rig = await startTraced(t)
  const headers = { traceparent: SAMPLED, tracestate: 'vendor=a, other=b', baggage: 'user=1' }
  await rig.get('/acme/rest/v1.0/me', { headers })
  const { server, client } = await spansOf(rig, 2)
  t.match(server, { traceId: TRACE, parentSpanId: SPAN })
  t.match(rig.fake.journal.api()[0]?.headers, {
    ...headers,
    traceparent: `00-${TRACE}-${client?.spanId}-01`,
  })
  await rig.get('/acme/rest/v1.0/me', { headers: { traceparent: `00-${TRACE}-${SPAN}-00` } })
  const [, unsampled] = rig.fake.journal.api()
  const [, traceId, spanId, flags] = String(unsampled?.headers['traceparent']).split('-')
  t.match([traceId, flags], [TRACE, '00'])
  t.not(spanId, SPAN)
  await rig.get('/acme/rest/v1.0/me', { headers: { traceparent: `00-${TRACE}-${SPAN}-03` } })
  t.match(rig.fake.journal.api()[2]?.headers, { traceparent: new RegExp(`^00-${TRACE}-.*-03$`) })
  await rig.server.drain()
  t.equal((await rig.collector.requests(4)).length, 4, 'the one that is not sampled is not sent')
})

t.test('a traceparent that makes no sense, or comes twice, begins another trace', async (t) => {
  const rig = await startTraced(t)
  const bad: readonly string[][] = [
    ['traceparent: not one at all'],
    [`traceparent: ${SAMPLED}`, `TraceParent: ${SAMPLED}`],
    [`traceparent: ${SAMPLED}, ${SAMPLED}`],
    [`traceparent: 00-${TRACE.toUpperCase()}-${SPAN}-01`],
    [`traceparent: 00-${'0'.repeat(32)}-${SPAN}-01`],
    [`traceparent: 00-${TRACE}-${'0'.repeat(16)}-01`],
    [`traceparent: ff-${TRACE}-${SPAN}-01`],
    [`traceparent: ${SAMPLED}-more`],
    ['traceparent:'],
    [],
  ]
  for (const [nth, lines] of bad.entries()) {
    const head = ['GET /acme/rest/v1.0/me HTTP/1.1', 'Host: localhost', 'Connection: close']
    await sendRaw(rig.port, [...head, 'tracestate: vendor=a', ...lines, '', ''].join('\r\n'))
    const sent = rig.fake.journal.api()[nth]?.rawHeaders ?? []
    const parents = sent.filter((_, i) => sent[i - 1]?.toLowerCase() === 'traceparent')
    t.match(parents, [/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/], lines.join(' and '))
    t.equal(parents.length, 1)
    t.notMatch(parents[0], TRACE)
    t.notMatch(sent.join('\n').toLowerCase(), 'tracestate', 'whose list belongs to the trace of the caller')
  }
  const servers = (await rig.collector.requests(2 * bad.length)).filter(({ kind }) => kind === 'server')
  t.ok(servers.every(({ parentSpanId }) => !parentSpanId))
  t.equal(new Set(servers.map(({ traceId }) => traceId)).size, bad.length)
})

t.test('a later version of traceparent is understood as far as it is known', async (t) => {
  const rig = await startTraced(t)
  await rig.get('/acme/rest/v1.0/me', { headers: { traceparent: `cc-${TRACE}-${SPAN}-01-more` } })
  t.match(rig.fake.journal.api()[0]?.headers, { traceparent: new RegExp(`^00-${TRACE}-`) })
})

t.test('a refused request is a span alone, with the error code', async (t) => {
  const rig = await startTraced(t)
  const refusals: [string, Record<string, string>, number, string][] = [
    ['/acme/rest/v1.0/me', { origin: 'https://evil.example' }, 403, 'origin_not_allowed'],
    ['/nobody/rest/v1.0/me', {}, 404, 'company_unknown'],
  ]
  for (const [nth, [path, headers, status, code]] of refusals.entries()) {
    await rig.get(path, { headers })
    const span = (await rig.collector.requests(nth + 1))[nth]
    t.match(span, { kind: 'server', name: 'GET', isError: false }, code)
    t.match(span?.attributes, { 'http.response.status_code': status, 'error.type': code, 'url.path': path })
  }
  await sendRaw(rig.port, 'PURGE http://localhost/acme/x?y HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const odd = (await rig.collector.requests(3))[2]
  t.equal(odd?.name, 'HTTP')
  t.match(odd?.attributes, { 'http.request.method': '_OTHER', 'http.request.method_original': 'PURGE' })
  t.match(odd?.attributes, { 'url.path': '/acme/x', 'url.query': '*' })
})

t.test('a request that was sent again has one span for its last try', async (t) => {
  const rig = await startTraced(t)
  rig.fake.faults.reset('before', { times: 1 })
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 200)
  const { server, client } = await spansOf(rig, 2)
  t.match(client?.attributes, {
    'http.request.resend_count': 1,
    'procore_proxy.resend_reasons': ['connection'],
    'http.response.status_code': 200,
  })
  t.equal(rig.fake.journal.api().length, 2)
  for (const { headers } of rig.fake.journal.api()) {
    t.match(headers, { traceparent: `00-${server.traceId}-${client?.spanId}-01` })
  }
  t.ok((client?.startMs ?? 0) > server.startMs)
})

t.test('what Procore refuses is an error of the exchange, and its 5xx one of the request too', async (t) => {
  const rig = await startTraced(t)
  rig.fake.faults.api.push({ match: '/rest/v1.0/missing', status: 404 }, { status: 500 })
  await rig.get('/acme/rest/v1.0/missing')
  const missing = await spansOf(rig, 2)
  t.match(missing.client, { isError: true, attributes: { 'error.type': '404' } })
  t.equal(missing.server.isError, false)
  t.notOk('error.type' in missing.server.attributes)
  await rig.get('/acme/rest/v1.0/me')
  const failed = (await rig.collector.requests(4)).slice(2)
  for (const span of failed) t.match(span, { isError: true, attributes: { 'error.type': '500' } })
})

t.test('an answer that breaks off is an error of both spans', async (t) => {
  const rig = await startTraced(t)
  rig.fake.faults.api.push({ status: 200, body: 'x'.repeat(1000), reset: 'mid-body' })
  await t.rejects(rig.get('/acme/rest/v1.0/me'))
  const { server, client } = await spansOf(rig, 2)
  t.match(server, { isError: true, attributes: { 'error.type': 'upstream_protocol' } })
  t.match(client, { isError: true, attributes: { 'error.type': 'upstream_protocol' } })
})

t.test('a caller that leaves is no error of anybody', async (t) => {
  const rig = await startTraced(t)
  rig.fake.faults.hang()
  const socket = await openSocket(rig.port)
  socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await rig.fake.journal.when((entry) => entry.server === 'api')
  socket.destroy()
  const { server, client } = await spansOf(rig, 2)
  for (const span of [server, client]) {
    t.match(span, { isError: false, attributes: { 'error.type': 'caller_gone' } })
    t.notOk('http.response.status_code' in (span?.attributes ?? {}))
  }
  t.strictSame(client?.events, [], 'there was no first byte')
})

t.test('a token request is a trace of its own', async (t) => {
  const rig = await startTraced(t)
  const token = await rig.collector.until(() => rig.collector.spans()[0])
  t.match(token, { name: 'token request', kind: 'client', isError: false })
  const login = new URL(rig.fake.loginUrl)
  t.strictSame(token.attributes, {
    'http.request.method': 'POST',
    'server.address': '127.0.0.1',
    'server.port': Number(login.port),
    'url.full': `${rig.fake.loginUrl}/oauth/token`,
    'procore.service_account': 'app',
    'procore.environment': 'fake',
  })
  t.ok(token.endMs >= token.startMs)
})

t.test('a request that got no token says how long it waited, and was not sent', async (t) => {
  const rig = await startTraced(t, {
    cold: true,
    before: (fake) => {
      fake.faults.token = { status: 401 }
    },
  })
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 502)
  const { server, client } = await spansOf(rig, 1)
  t.equal(client, undefined)
  t.match(server, { isError: true, attributes: { 'error.type': 'credentials_rejected' } })
  const token = await rig.collector.until(() => rig.collector.spans().find(({ name }) => name !== 'GET'))
  t.match(token, {
    isError: true,
    attributes: { 'error.type': 'rejected', 'procore.service_account': 'app' },
  })
})

t.test('waits for a token and for the rate budget are told', async (t) => {
  const rig = await startTraced(t, { cold: true, fake: { tokenDelayMs: 30 } })
  rig.fake.faults.rateLimited(1, { times: 1 })
  t.equal((await rig.get('/acme/rest/v1.0/me')).status, 200)
  const { server, client } = await spansOf(rig, 2)
  t.ok((server.attributes['procore_proxy.token_ms'] as number) > 0)
  t.ok((server.attributes['procore_proxy.queued_ms'] as number) > 0)
  t.match(client?.attributes, { 'procore_proxy.resend_reasons': ['429'] })
})

t.test("the proxy's own pages are no spans", async (t) => {
  const rig = await startTraced(t)
  for (const path of ['/_proxy/health/live', '/_proxy/metrics', '/_proxy/status']) await rig.get(path)
  await rig.get('/acme/rest/v1.0/me')
  await rig.server.drain()
  t.strictSame(
    (await rig.collector.requests(2)).map(({ attributes }) => attributes['url.path'] ?? 'sent'),
    ['sent', '/acme/rest/v1.0/me'],
  )
})

t.test('samplers: never, a share, and whatever the caller says', async (t) => {
  const collector = await startCollector(t)
  const unsampled = { traceparent: `00-${TRACE}-${SPAN}-00` }
  const cases: [sampler: string, arg: string, headers: Record<string, string>, flags: string][] = [
    ['always_off', '', { traceparent: SAMPLED }, '00'],
    ['always_on', '', unsampled, '01'],
    ['parentbased_always_off', '', {}, '00'],
    ['parentbased_always_off', '', { traceparent: SAMPLED }, '01'],
    ['parentbased_traceidratio', '0', {}, '00'],
    ['parentbased_traceidratio', '1', {}, '01'],
    ['parentbased_traceidratio', '1', unsampled, '00'],
    ['traceidratio', '0', { traceparent: SAMPLED }, '00'],
  ]
  for (const [sampler, arg, headers, flags] of cases) {
    const env = { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: arg }
    const rig = await startTraced(t, { env }, collector)
    const before = collector.spans().length
    await rig.get('/acme/rest/v1.0/me', { headers })
    const title = `${sampler} ${arg} ${JSON.stringify(headers)}`
    t.match(rig.fake.journal.api()[0]?.headers, { traceparent: new RegExp(`-${flags}$`) }, title)
    await rig.server.drain()
    const sent = collector.spans().slice(before)
    t.equal(sent.filter(({ name }) => name === 'GET').length, flags === '01' ? 2 : 0, title)
  }
})

t.test('resource attributes and the service name are those of the variables', async (t) => {
  const env = {
    OTEL_SERVICE_NAME: 'bridge',
    OTEL_RESOURCE_ATTRIBUTES: 'service.name=other,deployment.environment.name=a%2Cb',
  }
  const rig = await startTraced(t, { env })
  await rig.get('/acme/rest/v1.0/me')
  const { server } = await spansOf(rig, 2)
  t.match(server.resource, { 'service.name': 'bridge', 'deployment.environment.name': 'a,b' })
})

t.test('protobuf is the default; headers and compression are those of the variables', async (t) => {
  const collector = await startCollector(t)
  const env = {
    OTEL_EXPORTER_OTLP_PROTOCOL: '',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/own/path?key=1`,
    OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20collector-secret,x-other=1',
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-other=2',
  }
  const rig = await startTraced(t, { env }, collector)
  await rig.get('/acme/rest/v1.0/me', { headers: { traceparent: SAMPLED } })
  await rig.server.drain()
  const [delivery] = collector.deliveries
  t.equal(delivery?.target, '/own/path?key=1')
  t.match(delivery?.headers, {
    'content-type': 'application/x-protobuf',
    authorization: 'Bearer collector-secret',
    'x-other': '2',
    'user-agent': /^procore-proxy\/\d/,
  })
  const all = Buffer.concat(collector.deliveries.map(({ body }) => body))
  t.ok(all.includes(Buffer.from(TRACE, 'hex')), 'the trace id, in bytes')
  const packed = await startTraced(t, { env: { OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' } })
  await packed.get('/acme/rest/v1.0/me')
  await packed.server.drain()
  t.equal(packed.collector.deliveries[0]?.headers['content-encoding'], 'gzip')
})

t.test('no secret stands in what is sent or in the log, and no value of a query or header', async (t) => {
  const collector = await startCollector(t)
  const url = new URL(collector.url)
  url.username = 'collector-user'
  url.password = 'collector-password'
  url.pathname = '/collector-key'
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url.href,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=collector-secret',
  }
  const rig = await startTraced(t, { env }, collector)
  collector.answers.push({ status: 401, reason: 'x-api-key collector-secret', body: 'collector-secret' })
  await rig.collector.until(() => collector.deliveries[0])
  await rig.get('/acme/rest/v1.0/echo?token=query-secret', {
    headers: { authorization: 'Bearer caller-secret', cookie: 'a=cookie-secret', 'x-note': 'note-secret' },
  })
  rig.fake.faults.unauthorized({ times: 1 })
  rig.fake.faults.token = { status: 401, times: 1 }
  await rig.get('/acme/rest/v1.0/me?token=query-secret')
  await rig.server.drain()
  t.equal(rig.collector.deliveries[0]?.headers['x-api-key'], 'collector-secret')
  const bearers = rig.fake.journal.api().map(({ headers }) => String(headers['authorization']).slice(7))
  t.ok(bearers.length > 1 && bearers.every((bearer) => bearer.length > 10))
  const printed = rig.logText() + rig.collector.text()
  t.match(printed, 'HTTP 401')
  t.match(printed, 'token request')
  for (const secret of [
    'demo-secret',
    'demo-client',
    'collector-secret',
    'collector-password',
    'collector-key',
    'caller-secret',
    'cookie-secret',
    'note-secret',
    'query-secret',
    ...bearers,
  ]) {
    t.notMatch(printed, secret)
  }
})

t.test('a collector that is down, slow or full delays no request, and is told of once', async (t) => {
  const collector = await startCollector(t)
  const env = { OTEL_EXPORTER_OTLP_TIMEOUT: '50', OTEL_BSP_SCHEDULE_DELAY: '1' }
  const warnings = (rig: Rig) => rig.log().filter(({ msg }) => /traces could not be sent/.test(String(msg)))
  const down = await startTraced(t, { env: { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' } })
  for (let i = 0; i < 20; i++) t.equal((await down.get('/acme/rest/v1.0/me')).status, 200)
  t.ok(await down.server.drain())
  t.match(warnings(down)[0], { level: 'warn', error: /ECONNREFUSED/, msg: /127\.0\.0\.1:9$/ })
  t.ok(warnings(down).length <= 2, 'the second is that of the end')
  const lost = warnings(down).reduce((sum, line) => sum + Number(line['lost']), 0)
  t.equal(lost, 41, 'a token request, and 20 requests with two spans each')

  const silent = await startTraced(t, { env }, collector)
  collector.answers.push(...Array.from({ length: 100 }, () => 'never' as const))
  for (let i = 0; i < 20; i++) t.equal((await silent.get('/acme/rest/v1.0/me')).status, 200)
  t.ok(await silent.server.drain())
  t.match(warnings(silent)[0], { level: 'warn' })
})

t.test('a collector that asks for another try gets it', async (t) => {
  const collector = await startCollector(t)
  collector.answers.push({ status: 503, headers: { 'retry-after': '0' } }, { status: 429 })
  const rig = await startTraced(t, {}, collector)
  const token = await collector.until(() => collector.spans()[0])
  t.equal(token.name, 'token request')
  t.equal(collector.deliveries.length, 3)
  t.notMatch(rig.logText(), 'could not be sent')
})

t.test('the drain sends what waits', async (t) => {
  const rig = await startTraced(t, { env: { OTEL_BSP_SCHEDULE_DELAY: '3600000' } })
  await rig.get('/acme/rest/v1.0/me')
  t.strictSame(rig.collector.deliveries, [])
  t.ok(await rig.server.drain())
  t.equal(rig.collector.spans().length, 3)
})
