// Twin of src/lists/split.ts.
import fc from 'fast-check'
import t from 'tap'
import { findMember, splitArray } from '../../src/lists/split.ts'

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
