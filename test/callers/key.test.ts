// Covers src/callers/key.ts
import t from 'tap'
import { keyInstructions, newKey } from '../../src/callers/key.ts'

t.test('A key is long, random and needs no quotes; its lines fit the configuration', async (t) => {
  const keys = new Set(Array.from({ length: 500 }, newKey))
  t.equal(keys.size, 500)
  for (const key of keys) t.ok(/^[A-Za-z0-9_][A-Za-z0-9_-]{31}$/.test(key), key)
  t.match(
    keyInstructions('ci-job', 'KEY1'),
    /KEY1.*CI_JOB_KEY.*callers:\n {2}ci-job:\n {4}key: \{ env: CI_JOB_KEY \}/s,
  )
  for (const name of ['', 'A', 'a b', '-a', 'a:'])
    t.throws(() => keyInstructions(name, 'k'), /small letters/, name)
})
