// Twin of src/server/listeners.ts, for what takes too long to wait for from outside (test/cli/start.test.ts has the rest).
import t from 'tap'
import { Drain } from '../../src/server/listeners.ts'
import { fakeTime, watch } from '../fixtures/clock.ts'

t.test('closing takes no longer than five seconds', async (t) => {
  const time = fakeTime(t)
  const listeners = { close: async () => {}, destroy: () => {} }
  const fate = watch(new Drain(listeners).run(1_000, () => new Promise(() => {})))
  await time.pass(4_900)
  t.notOk(fate.settled)
  await time.pass(200)
  t.match(fate, { settled: true, value: true }, 'and no request was cut off')
})

t.test('a drain that ends leaves no timer', async (t) => {
  const time = fakeTime(t)
  const listeners = { close: async () => {}, destroy: () => {} }
  const fate = watch(new Drain(listeners).run(1_000, async () => {}))
  await time.settle()
  t.match(fate, { settled: true, value: true })
  t.equal(time.timers().set, 0)
})
