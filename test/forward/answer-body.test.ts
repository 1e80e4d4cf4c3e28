// Covers src/forward/answer-body.ts; how it works on real answers is in test/flow/file-urls.test.ts and compression.test.ts
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { AnswerBody, type BodyOutlet, planBody } from '../../src/forward/answer-body.ts'

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

/** An outlet that takes one piece at a time. */
class Slow implements BodyOutlet {
  readonly taken: Buffer[] = []
  readies = 0
  error: Error | undefined
  readonly ended = Promise.withResolvers<void>()
  take(chunk: Buffer) {
    this.taken.push(chunk)
    return false
  }
  ready() {
    this.readies++
  }
  end() {
    this.ended.resolve()
  }
  fail(error: Error) {
    this.error = error
    this.ended.resolve()
  }
}

t.test('nothing more is unpacked than the outlet takes', async (t) => {
  const outlet = new Slow()
  const body = new AnswerBody({ coding: 'gzip', replace: undefined }, outlet)
  const packed = gzipSync(Buffer.alloc(2_000_000, 'abc'))
  t.equal(body.write(packed.subarray(0, 1000)), true)
  body.write(packed.subarray(1000))
  body.end()
  for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate)
  t.equal(outlet.taken.length, 1, 'it waits')
  let sum = 0
  const pump = setInterval(() => body.resume(), 1)
  await outlet.ended.promise
  clearInterval(pump)
  for (const piece of outlet.taken) sum += piece.length
  t.equal(sum, 2_000_000)
  t.equal(outlet.error, undefined)
})

t.test('without a coding the outlet’s own word counts', async (t) => {
  const outlet = new Slow()
  const body = new AnswerBody({ coding: undefined, replace: () => 'x' }, outlet)
  t.equal(body.write(Buffer.from('["h')), false)
  t.equal(body.write(Buffer.from('i')), true, 'nothing to send on yet')
  body.resume()
  t.equal(outlet.readies, 1)
  body.end()
  await outlet.ended.promise
  t.equal(Buffer.concat(outlet.taken).toString(), '["hi', 'what was held comes at the end')
  body.destroy()
})

t.test('a full unpacker says so, and when it takes more; a broken body fails once', async (t) => {
  const outlet = new Slow()
  outlet.take = () => true
  const body = new AnswerBody({ coding: 'gzip', replace: undefined }, outlet)
  const packed = gzipSync(Buffer.from(Array.from({ length: 200_000 }, () => Math.random()).join()))
  t.equal(body.write(packed.subarray(0, -100)), false)
  while (outlet.readies === 0) await new Promise(setImmediate)
  body.end()
  await outlet.ended.promise
  t.match(outlet.error, { code: 'upstream_protocol', proxyStatus: 'http_response_content_coding' })
})
