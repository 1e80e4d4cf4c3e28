// Covers src/forward/upstreams.ts: who gets a connection, who waits, and how long connections live.

import type { Test } from 'tap'
import t from 'tap'
import type { Attempt } from '../../src/forward/attempt.ts'
import { Departure } from '../../src/forward/call.ts'
import { type Connection, ConnectionPool, type ConnectionPoolOptions } from '../../src/forward/upstreams.ts'
import { type Fate, fakeTime, watch } from '../fixtures/clock.ts'

const WAIT_MS = 5_000

/** A pool that never connects, because nothing is sent on its connections. */
function start(t: Test, options: Partial<ConnectionPoolOptions> = {}) {
  const pool = new ConnectionPool({
    origin: 'http://127.0.0.1:9',
    connect: () => {},
    connections: 4,
    maxQueued: 8,
    responseTimeoutMs: WAIT_MS,
    isShared: true,
    ...options,
  })
  t.teardown(() => pool.destroy())
  const take = (caller: string, departure = new Departure()): Fate<Connection> =>
    watch((async () => pool.acquire(caller, departure))())
  return { pool, take }
}

t.test('where several callers can reach a company, none holds more than three quarters', async (t) => {
  const time = fakeTime(t)
  const { pool, take } = start(t)
  const greedy = Array.from({ length: 6 }, () => take('greedy'))
  const modest = [take('modest'), take('modest')]
  await time.settle()
  const held = (fates: readonly Fate<Connection>[]) => fates.filter(({ value }) => value !== undefined).length
  t.equal(held(greedy), 3)
  t.equal(held(modest), 1, 'the fourth is for another')
  t.equal(pool.waiting, 4)
  pool.release(greedy[0]!.value!, 'greedy')
  await time.settle()
  t.equal(held(greedy), 4, 'in turn')
  pool.release(greedy[1]!.value!, 'greedy')
  await time.settle()
  t.equal(held(modest), 2, 'the other one before its next')
  for (const { value } of modest) pool.release(value!, 'modest')
  await time.settle()
  t.equal(held(greedy), 5, 'three at a time, also after that')
})

t.test('an only caller gets all, and a pool of one connection serves everybody', async (t) => {
  const time = fakeTime(t)
  const only = start(t, { isShared: false })
  const all = Array.from({ length: 4 }, () => only.take('only'))
  await time.settle()
  t.ok(all.every(({ value }) => value !== undefined))
  const { pool, take } = start(t, { connections: 1 })
  const first = take('one')
  const second = take('two')
  await time.settle()
  pool.release(first.value!, 'one')
  await time.settle()
  t.equal(second.value, first.value, 'the same connection')
})

t.test('the queue has a bound, and so has the wait', async (t) => {
  const time = fakeTime(t)
  const { pool, take } = start(t)
  const fates = Array.from({ length: 3 + 6 + 1 }, () => take('greedy'))
  await time.settle()
  t.match(fates.at(-1)?.error, { code: 'overloaded', retryAfterSeconds: 1, message: /maxQueued is 8/ })
  t.equal(pool.waiting, 6)
  const others = Array.from({ length: 1 + 2 + 1 }, () => take('other'))
  await time.settle()
  t.notOk(others[2]?.settled, 'the queue is shared out too')
  t.match(others[3]?.error, { code: 'overloaded' })
  await time.pass(WAIT_MS - 1)
  t.equal(pool.waiting, 8)
  await time.pass(1)
  t.match(fates[3]?.error, { code: 'overloaded', message: /responseTimeout/ })
  t.equal(pool.waiting, 0)
  t.equal(time.timers().set, 0)
})

t.test('a caller that leaves gives its place up', async (t) => {
  const time = fakeTime(t)
  const { pool, take } = start(t, { connections: 1 })
  const first = take('one')
  const departure = new Departure()
  const leaver = take('two', departure)
  const next = take('two')
  await time.settle()
  departure.leave()
  await time.settle()
  t.match(leaver.error, { name: 'CallerGoneError' })
  pool.release(first.value!, 'one')
  await time.settle()
  t.ok(next.value)
  t.equal(time.timers().set, 0)
})

t.test('an old connection is replaced; the one that was used last goes first', async (t) => {
  const time = fakeTime(t)
  const { pool, take } = start(t)
  const [a, b] = [take('x'), take('x')]
  await time.settle()
  a.value!.attempt = {} as Attempt
  pool.release(a.value!, 'x')
  pool.release(b.value!, 'x')
  t.equal(a.value!.attempt, undefined)
  const again = take('x')
  await time.settle()
  t.equal(again.value, b.value)
  await time.pass(300_001)
  pool.release(again.value!, 'x')
  t.ok(b.value!.client.closed)
  const later = take('x')
  await time.settle()
  t.equal(later.value, a.value, 'an idle one is looked at when it was used')
})

t.test('a pool that is not used any more keeps no connection beyond its request', async (t) => {
  const time = fakeTime(t)
  const { pool, take } = start(t)
  const [busy, idle] = [take('x'), take('x')]
  await time.settle()
  pool.release(idle.value!, 'x')
  pool.retire()
  t.ok(idle.value!.client.closed)
  t.notOk(busy.value!.client.closed)
  pool.release(busy.value!, 'x')
  t.ok(busy.value!.client.closed)
})

t.test('a new connection does not overtake an idle one, which undici looks at for a turn', async (t) => {
  let opened = 0
  const { take } = start(t, { connect: () => void opened++ })
  const fate = take('x')
  await Promise.resolve()
  const handler = { onRequestStart: () => {}, onResponseError: () => {} }
  fate.value!.client.dispatch({ method: 'GET', path: '/' }, handler)
  await Promise.resolve()
  t.equal(opened, 0)
  await new Promise(setImmediate)
  t.equal(opened, 1)
})
