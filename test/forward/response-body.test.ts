// Covers src/forward/response-body.ts; how it works on real answers is in test/flow/file-urls.test.ts and compression.test.ts
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { type BodyPlan, planBody } from '../../src/forward/headers.ts'
import { transformed } from '../../src/forward/response-body.ts'
import { FakeResponse } from '../fixtures/calls.ts'
import { watch } from '../fixtures/clock.ts'

const replace = () => undefined
const JSON_TYPE = { 'content-type': 'application/json' }
const GZIP = { 'content-encoding': 'gzip' }

t.test('what is done follows from the answer and from what was asked', async (t) => {
  const cases: [status: number, headers: Record<string, unknown>, plan: string][] = [
    [200, {}, '- -'],
    [200, JSON_TYPE, '- json'],
    [201, JSON_TYPE, '- json'],
    [404, JSON_TYPE, '- -'],
    [300, JSON_TYPE, '- -'],
    [200, GZIP, 'gzip -'],
    [500, { ...GZIP, ...JSON_TYPE }, 'gzip -'],
    [200, { ...GZIP, ...JSON_TYPE }, 'gzip json'],
    [200, { 'content-encoding': ['', 'GZIP'] }, 'gzip -'],
    [200, { 'content-encoding': 'gzip, br', ...JSON_TYPE }, '- -'],
    [200, { 'content-encoding': 'compress', ...JSON_TYPE }, '- -'],
    [200, { 'content-type': 'Application/JSON;charset=utf-8' }, '- json'],
    [200, { 'content-type': 'application/problem+json' }, '- json'],
    [200, { 'content-type': 'application/json-seq' }, '- -'],
    [200, { 'content-type': 'text/json' }, '- -'],
    [200, { ...GZIP, ...JSON_TYPE, 'content-range': 'bytes 0-1/2' }, '- -'],
    ...[199, 204, 205, 206, 304].map((status): [number, Record<string, unknown>, string] => [
      status,
      { ...GZIP, ...JSON_TYPE },
      '- -',
    ]),
  ]
  for (const [status, headers, expected] of cases) {
    const plan = planBody(status, headers, { unpack: true, replace })
    t.equal(
      `${plan?.coding ?? '-'} ${plan?.replace ? 'json' : '-'}`,
      expected,
      `${status} ${JSON.stringify(headers)}`,
    )
  }
  t.equal(planBody(200, { ...GZIP, ...JSON_TYPE }, { unpack: false, replace: undefined }), undefined)
  t.equal(planBody(200, GZIP, { unpack: false, replace }), undefined, 'the caller asked for it')
  t.match(planBody(200, { ...GZIP, ...JSON_TYPE }, { unpack: false, replace }), { coding: 'gzip' })
})

/** Pipes `packed` through the plan; the reader wants more only when `resume` is called. */
function slowly(packed: Buffer, plan: BodyPlan) {
  const source = new FakeResponse()
  const body = transformed(source, plan)
  const pieces: Buffer[] = []
  const fate = watch(body.pipe((piece) => pieces.push(piece) < 0))
  source.push(packed)
  return { source, body, pieces, fate, text: () => Buffer.concat(pieces).toString() }
}

const GUNZIP: BodyPlan = { coding: 'gzip', replace: undefined }
const turn = () => new Promise(setImmediate)

t.test('nothing more is unpacked than the reader takes', async (t) => {
  const whole = Buffer.alloc(2_000_000, 'abc')
  const { source, body, pieces, fate, text } = slowly(gzipSync(whole), GUNZIP)
  source.end()
  for (let turns = 0; turns < 50; turns++) await turn()
  t.equal(pieces.length, 1, 'it waits')
  while (!fate.settled) {
    body.resume()
    await turn()
  }
  t.equal(fate.error, undefined)
  t.ok(text() === whole.toString())
})

t.test('a full unpacker stops its source, and lets it go on', async (t) => {
  const packed = gzipSync(Buffer.from(Array.from({ length: 200_000 }, () => Math.random()).join()))
  const { source, body, fate } = slowly(packed.subarray(0, -100), GUNZIP)
  t.equal(source.isStopped, true)
  while (source.isStopped) {
    body.resume()
    await turn()
  }
  source.end()
  while (!fate.settled) {
    body.resume()
    await turn()
  }
  t.match(fate.error, { code: 'upstream_protocol', proxyStatus: 'http_response_content_coding' }, 'cut short')
})

t.test('what is held back of a rewritten body comes at its end', async (t) => {
  const { source, body, fate, text } = slowly(Buffer.from('["h'), { coding: undefined, replace: () => 'x' })
  t.equal(source.isStopped, true, 'the reader decides')
  body.resume()
  t.equal(source.isStopped, false)
  source.push('i')
  source.end()
  while (!fate.settled) await turn()
  t.equal(text(), '["hi')
})

t.test('an empty compressed body is empty; a source that breaks off is never taken for whole', async (t) => {
  const empty = new FakeResponse()
  const read = transformed(empty, GUNZIP).pipe(() => true)
  empty.end()
  await read
  const { source, fate } = slowly(gzipSync('abc').subarray(0, 5), GUNZIP)
  source.fail(new Error('broke off'))
  while (!fate.settled) await turn()
  t.match(fate.error, { message: 'broke off' })
})

t.test('what unpacks to far more than it could honestly be is broken off', async (t) => {
  const { source, body, fate } = slowly(gzipSync(Buffer.alloc(40 * 1024 * 1024)), GUNZIP)
  source.end()
  while (!fate.settled) {
    body.resume()
    await turn()
  }
  t.match(fate.error, { code: 'upstream_protocol' })
})
