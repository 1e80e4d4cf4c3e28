// Covers src/observe/log.ts, and the request ids and masked targets of its lines.

import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import type { Readable } from 'node:stream'
import t from 'tap'
import { errors } from 'undici'
import { ProxyError } from '../../src/errors.ts'
import { type Exchange, endExchange, requestIdOf, startExchange } from '../../src/observe/exchange.ts'
import {
  createLogger,
  errorText,
  type Logger,
  LogOutput,
  type LogStream,
  logExchange,
  readableLine,
} from '../../src/observe/log.ts'
import { maskQuery } from '../../src/observe/mask.ts'
import { fakeTime } from '../fixtures/clock.ts'

type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

function logger(level: Level = 'info', format: 'auto' | 'json' | 'readable' = 'json', isTTY = false) {
  const lines: string[] = []
  const log = createLogger({ level, format }, { write: (line: string) => void lines.push(line), isTTY })
  return { log, lines, records: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

function logEnded(log: Logger, ended: Exchange, status: number | null): void {
  endExchange(ended, status)
  logExchange(log, ended)
}

function exchange(over: Partial<Exchange> = {}): Exchange {
  return { ...startExchange('id-1', 'GET', '/acme/rest/v1.0/x?token=abc&b'), ...over }
}

t.test('A request is one line with the fields of the contract', async (t) => {
  const { log, records } = logger()
  const started = performance.now() - 100
  const ended = {
    company: 'acme',
    upstreamMs: 12.345,
    bytesIn: 3,
    bytesOut: 5,
    retries: 1,
    startedAt: started,
  }
  logEnded(log, exchange(ended), 200)
  const [line] = records()
  t.strictSame(Object.keys(line!).sort(), [
    ...['bytesIn', 'bytesOut', 'company', 'durationMs', 'level', 'method', 'msg', 'path', 'reqId', 'retries'],
    ...['status', 'time', 'upstreamMs'],
  ])
  t.match(line, {
    level: 'info',
    msg: 'request',
    time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    reqId: 'id-1',
    method: 'GET',
    path: '/acme/rest/v1.0/x?token=*&*',
    company: 'acme',
    status: 200,
    upstreamMs: 12.3,
    bytesIn: 3,
    bytesOut: 5,
    retries: 1,
  })
  const { durationMs } = line as { durationMs: number }
  t.ok(durationMs >= 100 && durationMs < 5000)
  t.equal(durationMs, Math.round(durationMs * 10) / 10)
})

t.test('What the proxy refused or broke off is a warning with its cause; who left is no fault', async (t) => {
  const { log, records } = logger()
  const error = new ProxyError('upstream_timeout', 'Too late.', { cause: new Error('socket') })
  logEnded(log, exchange({ cause: 'upstream_timeout', error }), 504)
  logEnded(log, exchange({ cause: 'caller_gone' }), null)
  const [refused, left] = records()
  t.match(refused, {
    level: 'warn',
    cause: 'upstream_timeout',
    status: 504,
    error: 'Too late. Cause: socket',
  })
  t.match(left, { level: 'info', cause: 'caller_gone', status: null })
  for (const name of ['company', 'upstreamMs', 'error']) t.notOk(name in left!, name)
})

t.test('Levels are honoured, and cost nothing where off', async (t) => {
  const quiet = logger('warn')
  const untouchable = exchange()
  Object.defineProperty(untouchable, 'target', { get: () => t.fail('masked for nothing') })
  logEnded(quiet.log, untouchable, 200)
  logEnded(quiet.log, exchange({ cause: 'overloaded' }), 503)
  t.equal(quiet.lines.length, 1)
  const silent = logger('silent')
  logEnded(silent.log, exchange({ cause: 'overloaded' }), 503)
  t.equal(silent.lines.length, 0)
})

t.test(
  'Probes and scrapes are logged at debug only, which also tells how requests were treated',
  async (t) => {
    const probes = ['/_proxy/health/live', '/acme/_proxy/health/ready?strict=1', '/_proxy/metrics']
    const { log, records } = logger('debug')
    for (const target of probes) {
      const ended = exchange({ own: true, target })
      logEnded(log, ended, 200)
      const info = logger('info')
      logEnded(info.log, ended, 503)
      t.strictSame(info.lines, [], target)
      logEnded(info.log, { ...ended, cause: 'key_required' }, 401)
      t.equal(info.lines.length, 1, 'a refused one is a warning')
    }
    const treated = {
      why: 'path prefix /acme',
      listener: { kind: 'tcp', host: '127.0.0.1', port: 8377 },
      queuedMs: 5.04,
      upstreamUrl: 'https://api.procore.com/x?a=1',
      retryReasons: ['429'],
    } as const
    logEnded(log, exchange({ ...treated, retryReasons: ['429'] }), 200)
    t.match(records().at(-1), {
      listener: '127.0.0.1:8377',
      companyChosenBy: 'path prefix /acme',
      queuedMs: 5,
      retryReasons: ['429'],
      upstreamUrl: 'https://api.procore.com/x?a=*',
    })
    const info = logger('info')
    logEnded(info.log, exchange({ ...treated, retryReasons: ['429'] }), 200)
    t.notMatch(info.lines[0], /companyChosenBy|upstreamUrl/)
  },
)

t.test(
  'The line names caller, pages, cache and the cause that Procore told; known secrets are hidden',
  async (t) => {
    const lines: string[] = []
    const log = createLogger(
      { level: 'info', format: 'json' },
      { write: (line: string) => void lines.push(line) },
      (text) => text.replaceAll('t0ken-of-procore', '*'),
    )
    const refusal = { cause: 'The app is not connected to this company.', fix: 'Connect it.' }
    const cacheStatus = 'procore-proxy; hit; ttl=41'
    const target = '/rest/v1.0/t0ken-of-procore'
    logEnded(log, exchange({ target, caller: 'excel', pages: 3, cacheStatus, refusal }), 403)
    t.match(JSON.parse(lines[0] ?? ''), {
      path: '/rest/v1.0/*',
      caller: 'excel',
      pages: 3,
      cache: cacheStatus,
      procoreCause: refusal.cause,
    })
  },
)

t.test('auto is readable on a terminal and JSON elsewhere', async (t) => {
  const isJson = (line: string | undefined) => line?.startsWith('{') === true
  for (const [format, isTTY, json] of [
    ['auto', true, false],
    ['auto', false, true],
    ['json', true, true],
    ['readable', false, false],
  ] as const) {
    const { log, lines } = logger('info', format, isTTY)
    log.info('hello')
    t.equal(isJson(lines[0]), json, `${format} ${isTTY}`)
  }
  t.ok(
    createLogger({ level: 'silent', format: 'auto' }).isLevelEnabled('silent'),
    'standard output by default',
  )
})

t.test('Of an error only the chain of messages and codes is printed', async (t) => {
  const secret = { headers: { authorization: 'Bearer s3cret' }, toString: () => 's3cret' }
  const coded = (code: unknown, message: string, cause?: unknown) =>
    Object.assign(new Error(message, { cause }), { code, request: secret })
  let deep: unknown = 'bottom'
  for (let i = 9; i > 0; i--) deep = new Error(`e${i}`, { cause: deep })
  const parser = Object.assign(new errors.HTTPParserError('Response does not match'), {
    code: 'HPE_INVALID',
    data: 's3cret',
  })
  const cases: [error: unknown, text: string][] = [
    [undefined, ''],
    [null, ''],
    ['just text', 'just text'],
    [42, '42'],
    [Symbol('s'), 'Symbol(s)'],
    [new Error('plain'), 'plain'],
    [new TypeError(''), 'TypeError'],
    [coded('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:9'), 'connect ECONNREFUSED 127.0.0.1:9'],
    [coded('ETIMEDOUT', 'too slow'), 'too slow (ETIMEDOUT)'],
    [coded(secret, 'odd code'), 'odd code'],
    [coded('A', 'outer', coded('B', 'inner', 'why')), 'outer (A): inner (B): why'],
    [secret, 'not an Error (object)'],
    [Object.create(null), 'not an Error (object)'],
    [() => 's3cret', 'not an Error (function)'],
    [new Error('x', { cause: secret }), 'x: not an Error (object)'],
    [new AggregateError([new Error('s3cret')], ''), 'AggregateError'],
    [parser, 'Response does not match (HPE_INVALID)'],
    [deep, 'e1: e2: e3: e4: e5'],
    [
      new ProxyError('token_unavailable', 'No token: too slow.', { cause: new Error('too slow') }),
      'No token: too slow.',
    ],
    [
      new ProxyError('token_unavailable', 'No token.', { cause: coded('EPIPE', 'too slow') }),
      'No token. Cause: too slow (EPIPE)',
    ],
    [new Error('x: too slow', { cause: coded('EPIPE', 'too slow') }), 'x: too slow (EPIPE)'],
  ]
  for (const [error, text] of cases) {
    t.equal(errorText(error), text)
    const { log, lines } = logger()
    log.warn({ error }, 'failed')
    t.notMatch(lines[0], 's3cret')
  }
  const circle = new Error('round')
  circle.cause = circle
  t.equal(errorText(circle), 'round')
})

t.test('Query values are masked, names and path are not', async (t) => {
  const cases: [target: string, masked: string][] = [
    ['/rest/v1.0/me', '/rest/v1.0/me'],
    ['/x?', '/x?*'],
    ['/x?a=1&b=2', '/x?a=*&b=*'],
    ['/x?secret', '/x?*'],
    ['/x?a=1=2&&c=', '/x?a=*&*&c=*'],
    ['/x?a=?b=c', '/x?a=*'],
    ['/x?filters[id][]=5&X-Amz-Signature=abc', '/x?filters[id][]=*&X-Amz-Signature=*'],
    ['http://localhost/x?a=1', 'http://localhost/x?a=*'],
    ['*', '*'],
    ['', ''],
    ['HTTP://user:p@ss@localhost/a?b=c', 'HTTP://*@localhost/a?b=*'],
    ['http://localhost/a@b', 'http://localhost/a@b'],
    ['ftp://user:p@localhost/a', 'ftp://*@localhost/a'],
    ['user:p@localhost:443', '*@localhost:443'],
    ['/a:b@c', '/a:b@c'],
  ]
  for (const [target, masked] of cases) t.equal(maskQuery(target), masked, target)
})

t.test('A readable line says it in the order a person reads', async (t) => {
  const line = (record: Record<string, unknown>) =>
    readableLine(JSON.stringify({ level: 'info', time: '2026-01-02T03:04:05.678Z', ...record }))
  const request = {
    reqId: 'id',
    method: 'GET',
    path: '/x?a=*',
    company: 'acme',
    status: 200,
    durationMs: 1.5,
  }
  t.equal(
    line({ ...request, upstreamMs: 1, bytesIn: 0, bytesOut: 10, retries: 0, msg: 'request' }),
    '03:04:05 INFO  GET /x?a=* 200 1.5ms company=acme upstreamMs=1 bytesOut=10\n',
  )
  t.equal(
    line({
      ...request,
      level: 'warn',
      status: null,
      retries: 1,
      bytesIn: 2,
      cause: 'caller_gone',
      msg: 'request',
    }),
    '03:04:05 WARN  GET /x?a=* null 1.5ms company=acme retries=1 bytesIn=2 cause=caller_gone\n',
  )
  t.equal(
    line({ msg: 'hello there', a: 'two words', b: 'say "x"', c: '', d: { e: [1] }, f: true, g: null }),
    '03:04:05 INFO  hello there a="two words" b="say \\"x\\"" c="" d={"e":[1]} f=true g=null\n',
  )
  t.equal(line({ a: 1 }), '03:04:05 INFO   a=1\n', 'without a message')
  t.equal(readableLine('{"level":"error","time":17,"msg":"m"}'), ' ERROR m\n')
  for (const other of ['no json\n', '', '{']) t.equal(readableLine(other), other)
})

t.test('A line is one line that cannot steer a terminal', async (t) => {
  const evil = '\x1b[31m\r\n\x9b2J\x07\u200f\u202e\u2066\u2028\x7f\0'
  const { log, lines } = logger('info', 'readable')
  logEnded(log, { ...exchange(), target: `/x${evil}é?${evil}=1`, company: evil }, 200)
  log.info({ error: new Error(evil), [`k${evil}`]: evil }, evil)
  for (const each of lines) {
    t.match(each, /^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*\n$/)
  }
  t.match(lines[0], '/x\\u001b[31m\\u000d\\u000a\\u009b2J\\u0007\\u200f\\u202e\\u2066\\u2028\\u007f\\u0000é?')
  const json = logger('info', 'json')
  logEnded(json.log, { ...exchange(), target: `/x${evil}é` }, 200)
  t.match(json.lines[0], /^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*\n$/)
  t.equal(json.records()[0]?.['path'], `/x${evil}é`, 'the same value, in other words')
})

t.test('A request id is the caller’s where it is a plain one', async (t) => {
  const long = 'x'.repeat(128)
  for (const id of ['a', 'A-b_c.9', '0f8fad5b-d9cb-469f-a165-70867728950e', long])
    t.equal(requestIdOf(id), id)
  const made = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
  const bad = ['', ' ', 'a b', 'a\n', 'a\r\nX: 1', '<script>', 'é', 'a,b', 'a/b', `${long}x`, '"', '$(x)']
  for (const id of [...bad, undefined, ['a', 'b'], []]) t.match(requestIdOf(id), made, JSON.stringify(id))
  t.not(requestIdOf(), requestIdOf())
})

/** An output whose reader, disk and size a test decides on. */
class FakeStream extends EventEmitter {
  writableLength = 0
  isTTY = false
  fails: Error | undefined
  readonly written: string[] = []

  write(text: string, done: (error?: Error | null) => void): boolean {
    if (this.fails === undefined) this.written.push(text)
    else this.emit('error', this.fails)
    done(this.fails)
    return true
  }
}

function open(isTTY = false) {
  const stream = new FakeStream()
  stream.isTTY = isTTY
  const output = new LogOutput(stream as unknown as LogStream)
  const log = createLogger({ level: 'info', format: 'json' }, output)
  return { stream, output, log }
}

t.test('Lines are written together after 100 ms, or once they come to 64 KB', async (t) => {
  const time = fakeTime(t)
  const { stream, output, log } = open()
  log.info('one')
  log.info('two')
  await time.pass(99)
  t.equal(stream.written.length, 0)
  await time.pass(1)
  t.match(stream.written, [/"one".*\n.*"two".*\n$/])
  t.equal(time.timers().holding, 0, 'no process waits for it')
  for (let n = 0; n < 700; n++) output.write(`${'x'.repeat(99)}\n`)
  t.equal(stream.written[1]?.length, 65_600)
  await time.pass(100)
  t.equal(stream.written.join('').length, 70_000 + (stream.written[0]?.length ?? 0), 'and none is lost')
})

t.test('A fatal line is written at once, and so is each line on a terminal', async (t) => {
  const { stream, log } = open()
  log.info('before')
  log.fatal('end')
  t.match(stream.written, [/before.*\n.*end/])
  const terminal = open(true)
  terminal.log.info('now')
  t.match(terminal.stream.written, [/now/])
})

t.test(
  'A reader that is slow loses lines beyond 1 MB, and the log says how many once it reads again',
  async (t) => {
    const { stream, output, log } = open()
    stream.writableLength = 1024 * 1024 + 1
    for (let n = 0; n < 3; n++) log.info('lost')
    output.flushSync()
    t.equal(output.lost, 3)
    stream.writableLength = 0
    log.info('read')
    output.flushSync()
    output.flushSync()
    t.match(stream.written, [/"read"/, /"level":"warn".*"lines":3,"msg":"log lines were lost/])
    log.info('more')
    output.flushSync()
    t.equal(stream.written.length, 3, 'that is said once')
  },
)

t.test(
  'A closed pipe and a full disk lose lines and nothing else; what follows begins a line of its own',
  async (t) => {
    const { stream, output, log } = open()
    for (const code of ['EPIPE', 'ENOSPC']) {
      stream.fails = Object.assign(new Error(code), { code })
      log.info('lost')
      output.flushSync()
    }
    t.equal(output.lost, 2)
    stream.fails = undefined
    log.info('back')
    output.flushSync()
    output.flushSync()
    t.match(stream.written, [/^\n\{.*"back"/, /^\{.*"lines":2/])
  },
)

t.test('The end waits for a slow reader, but not for ever', async (t) => {
  const { stream, output, log } = open()
  log.info('last')
  stream.writableLength = 5
  const started = performance.now()
  await output.finish(60)
  t.ok(performance.now() - started >= 60)
  t.equal(stream.written.length, 1)
  stream.writableLength = 0
  await output.finish(60_000)
})

const WRITER = `
  import { LogOutput } from ${JSON.stringify(new URL('../../src/observe/log.ts', import.meta.url).href)}
  const output = new LogOutput(process.stdout)
  for (let round = 0; round < 4; round++) {
    for (let n = 0; n < 10_000; n++) output.write('x'.repeat(99) + '\\n')
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  process.stderr.write(String(output.lost))
  await output.finish(100)
  process.exit(0)
`

t.test('A process goes on and ends although its output is closed, full, or not read', async (t) => {
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  for (const [name, stdout] of [
    ['closed', 'pipe'],
    ['full', full],
    ['not read', 'pipe'],
  ] as const) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER], {
      stdio: ['ignore', stdout, 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    if (name === 'closed') child.stdout?.destroy()
    const [lost] = (await once(child.stderr as Readable, 'data')) as [Buffer]
    t.ok(Number(lost) > 10_000, `${name}: ${lost} lines were lost`)
    t.strictSame(await once(child, 'exit'), [0, null], name)
  }
})

t.test('A program may make any number of logs', async (t) => {
  const before = process.listenerCount('exit')
  for (let nth = 0; nth < 50; nth++) {
    const stream = Object.assign(new EventEmitter(), { writableLength: 0, write: () => true })
    new LogOutput(stream as unknown as LogStream).write('line\n')
  }
  t.equal(process.listenerCount('exit'), before)
})
