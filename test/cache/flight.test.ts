// Covers src/cache/flight.ts
import t from 'tap'
import { cacheRequestOf } from '../../src/cache/cache-request.ts'
import { Flight, type WholeResponse } from '../../src/cache/flight.ts'
import { KeptResponses } from '../../src/cache/kept-responses.ts'
import { CallerGoneError } from '../../src/forward/call.ts'
import { callOf, fakeSend, settle, textOf } from '../fixtures/calls.ts'
import { watch } from '../fixtures/clock.ts'

function start(isWanted = true) {
  const leader = callOf('/rest/v1.0/projects')
  const follower = callOf('/rest/v1.0/projects')
  const { send, sent } = fakeSend()
  const memory = new KeptResponses(1_600)
  const flight = new Flight(cacheRequestOf(leader)!, leader)
  const led = watch(flight.lead({ send, memory, mostBytes: 100, isWanted: () => isWanted }))
  return { leader, follower, flight, led, memory, sent: sent[0]! }
}

t.test('a leader that leaves does not end it for its followers', async (t) => {
  for (const moment of ['before the head', 'within the body']) {
    const { leader, follower, flight, led, sent } = start()
    const followed = watch(flight.follow(follower))
    if (moment === 'before the head') leader.departure.leave()
    const response = sent.head()
    await settle()
    response.push('one ')
    if (moment === 'within the body') {
      const reading = watch(textOf(led.value!))
      leader.departure.leave()
      await settle()
      t.match(reading.error, { name: 'CallerGoneError' })
    } else t.match(led.error, { name: 'CallerGoneError' }, 'it does not wait')
    response.push('two')
    response.end()
    await settle()
    t.equal(String((followed.value as WholeResponse).body()), 'one two', moment)
    t.notOk(sent.call.departure.hasLeft)
    t.notOk(response.aborted)
  }
})

t.test('a request that no caller waits for is ended', async (t) => {
  for (const order of ['leader first', 'follower first']) {
    const { leader, follower, flight, sent, memory } = start()
    const followed = watch(flight.follow(follower))
    const response = sent.head()
    await settle()
    response.push('one ')
    const [first, last] = order === 'leader first' ? [leader, follower] : [follower, leader]
    first.departure.leave()
    await settle()
    t.notOk(response.aborted, order)
    last.departure.leave()
    await settle()
    t.match(response.aborted, { name: 'CallerGoneError' }, order)
    t.ok(sent.call.departure.hasLeft)
    t.match(followed.error, { name: 'CallerGoneError' })
    t.equal(memory.stats.underWayBytes, 0)
  }
})

t.test('before the head, the request is ended once all have left', async (t) => {
  const { leader, follower, flight, sent, led } = start()
  const followed = watch(flight.follow(follower))
  leader.departure.leave()
  t.notOk(sent.call.departure.hasLeft)
  follower.departure.leave()
  await settle()
  t.ok(sent.call.departure.hasLeft)
  sent.fail(new CallerGoneError())
  await settle()
  t.match([led.error, followed.error], [{ name: 'CallerGoneError' }, { name: 'CallerGoneError' }])
})

t.test('a response that is not wanted, too long or broken off is for the leader alone', async (t) => {
  const cases = [
    { isWanted: false, headers: [], push: 'short' },
    { isWanted: true, headers: ['Content-Length', '101'], push: 'short' },
    { isWanted: true, headers: [], push: 'x'.repeat(101) },
  ]
  for (const { isWanted, headers, push } of cases) {
    const { follower, flight, led, sent } = start(isWanted)
    const followed = watch(flight.follow(follower))
    const response = sent.head(200, headers)
    await settle()
    const text = watch(textOf(led.value!))
    response.push(push)
    response.end()
    await settle()
    t.same(followed, { value: undefined, error: undefined, settled: true })
    t.equal(text.value, push)
  }
  const { follower, flight, led, sent } = start()
  const followed = watch(flight.follow(follower))
  const response = sent.head()
  await settle()
  const text = watch(textOf(led.value!))
  response.fail(new Error('broke off'))
  await settle()
  t.same(followed, { value: undefined, error: undefined, settled: true })
  t.match(text.error, { message: 'broke off' })
})

t.test(
  'a response that arrives after its leader has left, and that no caller can use, is ended',
  async (t) => {
    const { leader, follower, flight, sent } = start(false)
    const followed = watch(flight.follow(follower))
    leader.departure.leave()
    const response = sent.head()
    await settle()
    t.match(response.aborted, { name: 'CallerGoneError' })
    t.same(followed, { value: undefined, error: undefined, settled: true })
  },
)

t.test('a failure is the outcome for all', async (t) => {
  const { follower, flight, led, sent } = start()
  const followed = watch(flight.follow(follower))
  const failure = new Error('no connection')
  sent.fail(failure)
  await settle()
  t.equal(led.error, failure)
  t.equal(followed.value, failure)
  const odd = start()
  odd.sent.fail('no error at all' as unknown as Error)
  t.equal(await odd.flight.outcome, undefined)
})
