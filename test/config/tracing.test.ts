import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readTracing, TRACING_VARIABLES } from '../../src/config/tracing.ts'

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }
const read = (env: NodeJS.ProcessEnv) => readTracing({ ...ENDPOINT, ...env })

t.test('without an endpoint there are no traces and no warnings, whatever else is set', async (t) => {
  const off = { tracing: undefined, warnings: [] }
  t.strictSame(readTracing({}), off)
  t.strictSame(readTracing({ OTEL_TRACES_EXPORTER: 'otlp', OTEL_TRACES_SAMPLER: 'nonsense' }), off)
  t.strictSame(readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: ' ' }), off)
  t.strictSame(read({ OTEL_SDK_DISABLED: 'TRUE' }), off)
  t.strictSame(read({ OTEL_TRACES_EXPORTER: 'none' }), off)
})

t.test('an endpoint alone gives the defaults of the specification', async (t) => {
  const { tracing, warnings } = read({})
  t.strictSame(warnings, [])
  t.match(tracing, {
    origin: 'http://collector:4318',
    protocol: 'http/protobuf',
    headers: {},
    timeoutMs: 10_000,
    compression: 'none',
    sampler: { parentBased: true, ratio: 1 },
    attributes: { 'service.name': 'procore-proxy' },
    delayMs: 5_000,
    maxQueued: 2_048,
  })
  t.equal(tracing?.url.reveal(), 'http://collector:4318/v1/traces')
})

t.test('the endpoint for all gets the path for traces, the one for traces is taken whole', async (t) => {
  const url = (env: NodeJS.ProcessEnv) => readTracing(env).tracing?.url.reveal()
  t.equal(url({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c.test/otlp/' }), 'https://c.test/otlp/v1/traces')
  t.equal(
    url({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c.test/otlp?k=1#x' }),
    'https://c.test/otlp/v1/traces?k=1',
  )
  t.equal(url({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c.test' }), 'https://c.test/')
  t.equal(
    url({ ...ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c.test/own' }),
    'https://c.test/own',
  )
})

t.test('a mistake is a warning that names the variable and says what holds', async (t) => {
  const cases: [env: Record<string, string>, on: boolean, warning: RegExp][] = [
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }, false, /no http:\/\/ or https:\/\/ URL\. No traces/],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'not a secret-url' }, false, /no http:\/\/ or https:\/\/ URL/],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c:4317' }, true, /port 4317 .* 4318/],
    [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, false, /grpc is not supported.*Set it to http\/protobuf/],
    [{ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http' }, true, /"http" is neither .*http\/protobuf is used/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'no pair' }, false, /no list of headers/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'a=secret-%zz' }, false, /no list of headers/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'a b=secret-1' }, false, /no list of headers/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'a(b)=secret-1' }, false, /no list of headers/],
    [{ OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'a=secret-%0A' }, false, /no list of headers/],
    [{ OTEL_EXPORTER_OTLP_TIMEOUT: '10s' }, true, /"10s" is no whole number from 1 .*10000 is used/],
    [{ OTEL_EXPORTER_OTLP_TIMEOUT: '0' }, true, /"0" is no whole number/],
    [{ OTEL_EXPORTER_OTLP_COMPRESSION: 'zstd' }, true, /"zstd" is neither none nor gzip/],
    [{ OTEL_TRACES_EXPORTER: 'zipkin' }, false, /not "zipkin"\. No traces/],
    [{ OTEL_TRACES_EXPORTER: 'otlp,console' }, true, /not "console"\.$/],
    [{ OTEL_SDK_DISABLED: '1' }, true, /"1" is neither true nor false/],
    [{ OTEL_TRACES_SAMPLER: 'xray' }, true, /"xray" is not supported: parentbased_always_on is used/],
    [{ OTEL_TRACES_SAMPLER: 'constructor' }, true, /is not supported/],
    [
      { OTEL_TRACES_SAMPLER_ARG: '10%', OTEL_TRACES_SAMPLER: 'traceidratio' },
      true,
      /"10%" is no number from 0 to 1/,
    ],
    [
      { OTEL_TRACES_SAMPLER_ARG: '2', OTEL_TRACES_SAMPLER: 'parentbased_traceidratio' },
      true,
      /"2" is no number/,
    ],
    [{ OTEL_RESOURCE_ATTRIBUTES: 'a=1,b' }, true, /all of it is ignored/],
    [{ OTEL_BSP_SCHEDULE_DELAY: '-1' }, true, /5000 is used/],
    [{ OTEL_BSP_MAX_QUEUE_SIZE: '1e9' }, true, /2048 is used/],
    [{ OTEL_EXPORTER_OTLP_CERTIFICATE: '/no/such/file' }, true, /"\/no\/such\/file" can't be read/],
    [{ OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: '/no/such/file' }, true, /can't be read/],
  ]
  for (const [env, on, warning] of cases) {
    const { tracing, warnings } = read(env)
    const title = JSON.stringify(env)
    t.equal(warnings.length, 1, title)
    t.match(warnings[0], warning, title)
    t.ok(warnings[0]?.startsWith(`${Object.keys(env)[0]}: `), `${title}: names it`)
    t.notMatch(warnings[0], 'secret-', `${title}: shows nothing secret`)
    t.equal(tracing !== undefined, on, title)
  }
})

t.test('every mistake is told', async (t) => {
  const { warnings } = read({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'x',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    OTEL_EXPORTER_OTLP_HEADERS: 'x',
  })
  t.equal(warnings.length, 3)
})

t.test('samplers', async (t) => {
  const sampler = (name: string, arg?: string) =>
    read({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: arg }).tracing?.sampler
  t.strictSame(sampler('always_on'), { parentBased: false, ratio: 1 })
  t.strictSame(sampler('ALWAYS_OFF'), { parentBased: false, ratio: 0 })
  t.strictSame(sampler('parentbased_always_off'), { parentBased: true, ratio: 0 })
  t.strictSame(sampler('traceidratio', '0.25'), { parentBased: false, ratio: 0.25 })
  t.strictSame(sampler('parentbased_traceidratio'), { parentBased: true, ratio: 1 })
})

t.test('headers are secrets, decoded; those for traces go before those for all', async (t) => {
  const { tracing, warnings } = read({
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20YTpi, x-tenant = one ,x-empty=,',
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-tenant=two;three=3',
  })
  t.strictSame(warnings, [])
  t.strictSame(
    Object.entries(tracing?.headers ?? {}).map(([name, value]) => [name, value.reveal()]),
    [
      ['authorization', 'Basic YTpi'],
      ['x-tenant', 'two;three=3'],
      ['x-empty', ''],
    ],
  )
  t.notMatch(JSON.stringify(tracing), 'YTpi')
})

t.test('nothing secret of an endpoint is for printing', async (t) => {
  const { tracing } = readTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://me:word@c.test:1/key?key=2' })
  t.equal(tracing?.origin, 'https://c.test:1')
  t.equal(tracing?.url.reveal(), 'https://me:word@c.test:1/key/v1/traces?key=2')
  t.notMatch(JSON.stringify(tracing), /word|key=2/)
})

t.test('a certificate that can be read is no warning', async (t) => {
  const file = join(t.testdir({ 'ca.pem': '' }), 'ca.pem')
  chmodSync(file, 0o600)
  t.strictSame(read({ OTEL_EXPORTER_OTLP_CERTIFICATE: file }).warnings, [])
})

t.test('the service name goes before the attribute', async (t) => {
  const name = (env: NodeJS.ProcessEnv) => read(env).tracing?.attributes['service.name']
  t.equal(name({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=a,x=1' }), 'a')
  t.equal(name({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=a', OTEL_SERVICE_NAME: 'b' }), 'b')
})

t.test('the table holds each variable once', async (t) => {
  const names = TRACING_VARIABLES.map(({ variable }) => variable)
  t.equal(new Set(names).size, names.length)
  for (const name of names) t.match(name, /^OTEL_[A-Z_]+$/)
})
