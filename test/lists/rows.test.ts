// Twin of src/lists/rows.ts.
import fc from 'fast-check'
import t from 'tap'
import { findMember, idText, readRows, SeenIds, splitArray, withProject } from '../../src/lists/rows.ts'

const V1 = '/rest/v1.0/rfis'
const V2 = '/rest/v2.0/companies/1/rfis'
const read = (text: string, path = V1) => [...readRows(path, Buffer.from(text))]

t.test('an array is a list, and so is the data of version 2', async (t) => {
  t.same(read('[{"id":1}]'), [{ id: 1 }])
  t.same(read('{"data":[{"id":"1"}]}', V2), [{ id: '1' }])
  t.equal(readRows(V1, Buffer.from('[1,2]')).length, 2)
  t.same(read(' {"meta":{},"data":[1],"more":[2]}\r\n', V2), [1])
  t.same(read('\n[1] \n'), [1])
  t.throws(() => read('[1,{"a":b}]'), { code: 'list_not_a_list' })
  for (const [text, path] of [
    ['{"data":[]}', V1],
    ['{"data":{}}', V2],
    ['<html>', V1],
    ['', V1],
    ['7', V2],
    ['[{"id":1}] x', V1],
    ['[{"id":1}],[2]', V1],
    ['[]]', V1],
    ['[] []', V2],
    ['{"data":[]', V2],
    ['{"data":[]} {}', V2],
    ['{"data":[],"meta":{}} x', V2],
  ] as const) {
    t.throws(() => read(text, path), { code: 'list_not_a_list' }, text)
  }
})

t.test('what is nested deeper than can be written is no list', async (t) => {
  const nested = (depth: number) => `[{"id":1.0,"a":${'['.repeat(depth)}${']'.repeat(depth)}}]`
  const text = (depth: number) => JSON.stringify(read(nested(depth)))
  t.equal(text(900), nested(900))
  t.throws(() => text(100_000), { code: 'list_not_a_list' })
})

t.test('numbers keep their digits, whatever they are', async (t) => {
  for (const number of [
    '562949953443325123',
    '12345678.123456789',
    '1.50',
    '0.0',
    '-0',
    '1e5',
    '1E+2',
    '0.0000001',
    '1e400',
    '123456789012345',
    '1234567890123456',
    '-0.5',
    '0.000001',
    '7',
  ]) {
    t.equal(
      JSON.stringify(read(`[{"a":[${number}],"b":"${number}"}]`)),
      `[{"a":[${number}],"b":"${number}"}]`,
    )
  }
})

t.test('any number comes out as it went in', async () => {
  const number = fc.stringMatching(/^-?(0|[1-9]\d{0,20})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/)
  fc.assert(
    fc.property(fc.array(number), (numbers) => JSON.stringify(read(`[${numbers}]`)) === `[${numbers}]`),
    { numRuns: 200 },
  )
})

t.test('an id that came before is not new, as number or as text', async (t) => {
  const seen = new SeenIds()
  const isNew = (text: string) => read(text).map((row) => seen.isNew(row))
  const [yes, no] = [true, false]
  t.same(isNew('[{"id":1},{"id":"1"},{"id":12345678901234567890},{"id":null},{"id":null},{"name":"x"},5]'), [
    yes,
    no,
    yes,
    yes,
    yes,
    yes,
    yes,
  ])
  t.same(isNew('[{"id":"12345678901234567890"},{"id":2},{"id":"02"}]'), [no, yes, yes])
  t.same(isNew('[{"id":12345678901234567891},{"id":"12345678901234567891"}]'), [yes, no])
  t.same([idText(7), idText('a'), idText(null), idText({})], ['7', 'a', undefined, undefined])
})

t.test('many ids are told apart, also those that differ by powers of two', async (t) => {
  for (const step of [1, 2 ** 16, 2 ** 32, 2 ** 36]) {
    const seen = new SeenIds()
    const ids = Array.from({ length: 10_000 }, (_, nth) => ({ id: (nth + 1) * step }))
    t.ok(ids.every((row) => seen.isNew(row)))
    t.notOk(ids.some((row) => seen.isNew({ id: String(row.id) })))
  }
  const seen = new SeenIds()
  t.same(
    [0, -1, 0, -1, 1.5, 1.5].map((id) => seen.isNew({ id })),
    [true, true, false, false, true, false],
  )
})

t.test('a project stands first in its rows, and never twice', async (t) => {
  t.equal(JSON.stringify(withProject(5, { id: 1 })), '{"project_id":5,"id":1}')
  t.equal(JSON.stringify(withProject(5, { id: 1, project_id: '5' })), '{"project_id":"5","id":1}')
  t.equal(JSON.stringify(withProject(5, 'x')), '{"project_id":5,"value":"x"}')
})

const split = (text: string, start?: number) => {
  const json = Buffer.from(text)
  const places = splitArray(json, start)
  return places?.flatMap((at, index) => (index % 2 === 0 ? json.toString('utf8', at, places[index + 1]) : []))
}

t.test('elements come as they are written', async (t) => {
  t.same(split('[]'), [])
  t.same(split(' [ 1.50 ,"a]\\",",\n{"a":[{}],"b":"}"}, null,[[1],2],true ] '), [
    '1.50',
    '"a]\\","',
    '{"a":[{}],"b":"}"}',
    'null',
    '[[1],2]',
    'true',
  ])
  t.same(split('["\\\\","\\"\\\\"]'), ['"\\\\"', '"\\"\\\\"'])
})

t.test('what is no complete array has none', async (t) => {
  for (const text of [
    '',
    ' ',
    '{}',
    '7',
    '<html>',
    '[',
    '[1',
    '[1,',
    '[1,]',
    '[,1]',
    '[1 2]',
    '["a',
    '["a\\"]',
    '[{"a":1]',
    '[{"a":"]',
  ]) {
    t.equal(split(text), undefined, text)
  }
})

t.test('a member is found in an object alone, at its first level', async (t) => {
  const text = ' {"a" : {"data":1}, "b":"\\"data", "data" : [7] }'
  t.same(split(text, findMember(Buffer.from(text), 'data')), ['7'])
  for (const none of [
    '',
    '[]',
    '{}',
    '{"a":{"data":[]}}',
    '{"a" 1}',
    '{"a',
    '{"a":',
    '{"a":1,"data"}',
    '{data:[]}',
  ]) {
    t.equal(findMember(Buffer.from(none), 'data'), undefined, none)
  }
})

t.test('any array is split as it was joined', async () => {
  const element = fc.jsonValue().map((value) => JSON.stringify(value))
  const agrees = (elements: string[]) =>
    JSON.stringify(split(`[${elements.join(', ')}]`)) === JSON.stringify(elements)
  fc.assert(fc.property(fc.array(element), agrees), { numRuns: 200 })
})
