// Twin of src/lists/rows.ts.
import fc from 'fast-check'
import t from 'tap'
import { idText, readRows, SeenIds, withProject } from '../../src/lists/rows.ts'

const V1 = '/rest/v1.0/rfis'
const V2 = '/rest/v2.0/companies/1/rfis'
const read = (text: string, path = V1) => [...readRows(path, Buffer.from(text))]

t.test('an array is a list, and so is the data of version 2', async (t) => {
  t.same(read('[{"id":1}]'), [{ id: 1 }])
  t.same(read('{"data":[{"id":"1"}]}', V2), [{ id: '1' }])
  t.equal(readRows(V1, Buffer.from('[1,2]')).length, 2)
  t.throws(() => read('[1,{"a":b}]'), { code: 'list_not_a_list' })
  for (const [text, path] of [
    ['{"data":[]}', V1],
    ['{"data":{}}', V2],
    ['<html>', V1],
    ['', V1],
    ['7', V2],
  ] as const) {
    t.throws(() => read(text, path), { code: 'list_not_a_list' }, text)
  }
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
