// Covers src/fake/api.ts.
import t from 'tap'
import { RateLimits } from '../../src/fake/api.ts'

t.test('a reading shows the window nearest exhaustion', async (t) => {
  const limits = new RateLimits({ hourly: 5, spike: 3 }, () => 1_000_100)
  t.same(limits.spend('a', '1'), { limit: 3, remaining: 2, reset: 1011, exceeded: false })
  limits.spend('a', '1')
  t.same(limits.spend('a', '1'), { limit: 3, remaining: 0, reset: 1011, exceeded: false })
  t.same(limits.spend('a', '1'), { limit: 3, remaining: 0, reset: 1011, exceeded: true })
})

t.test('a window that is over begins anew, and the hour goes on', async (t) => {
  let now = 0
  const limits = new RateLimits({ hourly: 3, spike: 2 }, () => now)
  limits.spend('a', '1')
  limits.spend('a', '1')
  t.equal(limits.spend('a', '1')?.exceeded, true)
  now = 10_000
  t.same(limits.spend('a', '1'), { limit: 3, remaining: 0, reset: 3600, exceeded: false })
  now = 3_600_000
  t.match(limits.spend('a', '1'), { limit: 2, remaining: 1 })
})

t.test('each client and each company has a budget of its own, by default 100 and 3600', async (t) => {
  const limits = new RateLimits({}, () => 0)
  limits.spend('a', '1')
  t.match(limits.spend('a', '2'), { limit: 100, remaining: 99 })
  t.match(limits.spend('b', '1'), { limit: 100, remaining: 99 })
  const hourly = new RateLimits({ spike: Number.POSITIVE_INFINITY }, () => 0)
  t.match(hourly.spend('a', '1'), { limit: 3600, remaining: 3599 })
})

t.test('without limits there is no reading', async (t) => {
  const none = Number.POSITIVE_INFINITY
  t.equal(new RateLimits({ hourly: none, spike: none }, () => 0).spend('a', '1'), undefined)
})
