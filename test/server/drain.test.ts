// Twin of src/server/drain.ts, for what takes too long to wait for from outside (test/cli/start.test.ts has the rest).
import t from 'tap'
import { Drain } from '../../src/server/drain.ts'
import type { Listeners } from '../../src/server/listeners.ts'
import { fakeTime, watch } from '../fixtures/clock.ts'

t.test('closing takes no longer than five seconds', async (t) => {
  const time = fakeTime(t)
  const listeners = { close: async () => {}, destroy: () => {} } as unknown as Listeners
  const fate = watch(new Drain().run(1_000, listeners, () => new Promise(() => {})))
  await time.pass(4_900)
  t.notOk(fate.settled)
  await time.pass(200)
  t.match(fate, { settled: true, value: true }, 'and no request was cut off')
})

t.test('a drain that ends leaves no timer', async (t) => {
  const time = fakeTime(t)
  const listeners = { close: async () => {}, destroy: () => {} } as unknown as Listeners
  const fate = watch(new Drain().run(1_000, listeners, async () => {}))
  await time.settle()
  t.match(fate, { settled: true, value: true })
  t.equal(time.timers().set, 0)
})
