// Covers src/routing/raw-request.ts
import t from 'tap'
import { headerValues } from '../../src/routing/raw-request.ts'

t.test('Every value of a header is given, in any case of its name and in order', async (t) => {
  const raw = ['Host', 'a', 'X-Thing', '1', 'HOST', '', 'host', 'c', 'Hostt', 'd']
  t.same(headerValues(raw, 'host'), ['a', '', 'c'])
  t.same(headerValues(raw, 'x-thing'), ['1'])
})

t.test('A header that is missing has no values', async (t) => {
  t.same(headerValues(['A', 'host'], 'host'), [])
  t.same(headerValues([], 'host'), [])
  t.same(headerValues(['host'], 'host'), [], 'a name without a value is no header')
})
