// A few seconds of random faults, with the same seed each time
import t from 'tap'
import { chaos } from '../fixtures/chaos.ts'

t.test('Whatever fails, each request is answered once, sent once, and to its own company', async (t) => {
  const { violations, ...figures } = await chaos({ seconds: 5, seed: 1, folder: t.testdir() })
  t.strictSame(violations, [])
  t.ok(figures.requests > 100, JSON.stringify(figures))
  t.ok(figures.successes > 50, JSON.stringify(figures))
  t.ok(figures.reloads > 0)
})
