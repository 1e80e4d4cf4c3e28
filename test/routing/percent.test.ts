// Covers src/routing/raw-request.ts
import t from 'tap'
import { decodeBytes, decodeFully } from '../../src/routing/raw-request.ts'

t.test('Escapes are decoded once or fully, byte by byte', async (t) => {
  const cases: [text: string, once: string, fully: string][] = [
    ['abc', 'abc', 'abc'],
    ['%61%2F', 'a/', 'a/'],
    ['%2561', '%61', 'a'],
    ['%25%36%31', '%61', 'a'],
    ['%zz%2', '%zz%2', '%zz%2'],
    ['%c3%a9', '\xc3\xa9', '\xc3\xa9'],
  ]
  for (const [text, once, fully] of cases) t.same([decodeBytes(text), decodeFully(text)], [once, fully], text)
})

t.test('Escapes of escapes cost no more than they are long', async (t) => {
  const before = performance.now()
  t.equal(decodeFully(`%${'25'.repeat(100_000)}2e`), '.')
  t.ok(performance.now() - before < 2_000)
})
