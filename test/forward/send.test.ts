// Covers what the flows in test/flow cannot show of src/forward/send.ts.
import t from 'tap'
import { Departure } from '../../src/forward/call.ts'
import { send } from '../../src/forward/send.ts'
import { ConnectionPool } from '../../src/forward/upstreams.ts'
import { callOf } from '../fixtures/calls.ts'

t.test('a caller that has left waits for no connection', async (t) => {
  const options = { origin: 'http://127.0.0.1:9', connections: 1, maxQueued: 8, responseTimeoutMs: 60_000 }
  const pool = new ConnectionPool({ ...options, connect: () => {}, isShared: false })
  t.teardown(() => pool.destroy())
  await pool.acquire('another', new Departure())
  const call = callOf('/rest/v1.0/me')
  const tokens = { current: () => ({ value: 'token' }), lives: () => true }
  Object.assign(call.upstream, { pool, tokens, rateLimit: { maxWaitMs: 60_000 } })
  const sent = send(call)
  await null
  t.equal(pool.waiting, 1)
  call.departure.leave()
  await t.rejects(sent, { name: 'CallerGoneError' })
  await t.rejects(send(call), { name: 'CallerGoneError' })
  t.equal(pool.waiting, 0)
})
