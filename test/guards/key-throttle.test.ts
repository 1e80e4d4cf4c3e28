// Covers src/guards/callers.ts
import t from 'tap'
import { KeyThrottle } from '../../src/guards/callers.ts'

function throttle() {
  const clock = { now: 0 }
  return { clock, throttle: new KeyThrottle(() => clock.now) }
}

t.test('After ten wrong keys within a minute, each further one costs a second', async (t) => {
  const { clock, throttle: guesses } = throttle()
  for (let i = 0; i < 10; i++) t.equal(guesses.delayMs('10.0.0.1'), 0)
  for (let i = 0; i < 30; i++) {
    clock.now += 1_000
    t.equal(guesses.delayMs('10.0.0.1'), 1_000)
  }
  t.equal(guesses.delayMs('10.0.0.2'), 0, 'another address is another guesser')
  clock.now += 60_000
  t.equal(guesses.delayMs('10.0.0.1'), 0, 'after a minute without one it is forgiven')
})

t.test('Ten wrong keys spread over more than a minute cost nothing', async (t) => {
  const { clock, throttle: guesses } = throttle()
  for (let i = 0; i < 50; i++) {
    t.equal(guesses.delayMs('::1'), 0)
    clock.now += 6_100
  }
})

t.test('One subscriber counts once: an IPv4 address in any form, and an IPv6 /64', async (t) => {
  const pairs: [string | undefined, string | undefined, boolean][] = [
    ['::ffff:10.0.0.1', '10.0.0.1', true],
    ['2001:db8::1', '2001:db8::ffff:1', true],
    ['2001:db8:0:0:1::', '2001:db8::2', true],
    ['2001:db8:0:1::1', '2001:db8::1', false],
    [undefined, undefined, true],
  ]
  for (const [one, other, same] of pairs) {
    const { throttle: guesses } = throttle()
    for (let i = 0; i < 10; i++) guesses.delayMs(one)
    t.equal(guesses.delayMs(other), same ? 1_000 : 0, `${one} ${other}`)
  }
})

t.test('A thousand addresses are remembered, no more', async (t) => {
  const { throttle: guesses } = throttle()
  for (let i = 0; i < 5_000; i++) guesses.delayMs(`10.0.${i >> 8}.${i & 255}`)
  t.equal(guesses.size, 1_000)
})
