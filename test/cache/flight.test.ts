// Covers src/cache/flight.ts
import t from 'tap'
import { cacheRequestOf } from '../../src/cache/cache-request.ts'
import { CollectedResponse, Flight, type WholeResponse } from '../../src/cache/flight.ts'
import { CallerGoneError } from '../../src/forward/call.ts'
import { callOf, FakeResponse, fakeSend, settle, textOf } from '../fixtures/calls.ts'
import { watch } from '../fixtures/clock.ts'

/** Memory for responses that are being collected. */
function memoryOf(bytes: number) {
  const memory = {
    taken: 0,
    take(wanted: number) {
      const fits = memory.taken + wanted <= bytes
      if (fits) memory.taken += wanted
      return fits
    },
    give(back: number) {
      memory.taken -= back
    },
  }
  return memory
}

function start(isWanted = true) {
  const leader = callOf('/rest/v1.0/projects')
  const follower = callOf('/rest/v1.0/projects')
  const { send, sent } = fakeSend()
  const memory = memoryOf(1_600)
  const flight = new Flight(cacheRequestOf(leader)!, leader)
  const led = watch(flight.lead({ send, memory, mostBytes: 100, isWanted: () => isWanted }))
  return { leader, follower, flight, led, memory, sent: sent[0]! }
}

t.test('a leader that leaves does not end it for its followers', async (t) => {
  for (const moment of ['before the head', 'within the body']) {
    const { leader, follower, flight, led, memory, sent } = start()
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
    t.equal(memory.taken, 0, 'no one has yet to read it')
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
    t.equal(memory.taken, 0)
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

// --- collected responses

function collect(mostBytes = 100, memoryBytes = 1000) {
  const source = new FakeResponse(200, ['A', 'b'])
  const memory = memoryOf(memoryBytes)
  let aborts = 0
  const response = new CollectedResponse(source, { mostBytes, memory, onAbort: () => aborts++ })
  return { source, memory, response, whole: watch(response.isWhole), aborts: () => aborts }
}

/** Takes pieces, and wants no more after each until `resume`. */
function slowReader(response: CollectedResponse) {
  const pieces: string[] = []
  const reading = watch(
    response.pipe((piece) => {
      pieces.push(String(piece))
      return false
    }),
  )
  return { pieces, reading }
}

t.test('it has the head of its source, streams, and is whole at the end', async (t) => {
  const { source, response, whole, memory } = collect()
  t.match(response, { status: 200, statusText: 'OK', rawHeaders: ['A', 'b'], head: { a: 'b' } })
  const text = watch(textOf(response))
  source.push('one ')
  source.push('two')
  await settle()
  t.equal(memory.taken, 7)
  source.end()
  await settle()
  t.equal(text.value, 'one two')
  t.equal(whole.value, true)
  t.equal(String(response.body()), 'one two')
  t.equal(response.body().buffer.byteLength, 7, 'it holds on to no more memory than it needs')
  t.equal(memory.taken, 0)
})

t.test('a slow caller holds up no other while it fits', async (t) => {
  const { source, response } = collect()
  const { pieces, reading } = slowReader(response)
  source.push('a')
  source.push('b')
  source.push('c')
  source.end()
  await settle()
  t.notOk(source.isStopped)
  t.equal(String(response.body()), 'abc')
  t.strictSame(pieces, ['a'])
  response.resume()
  await settle()
  t.strictSame(pieces, ['a', 'bc'])
  t.ok(reading.settled)
})

t.test('what a slow caller has yet to take of a whole response counts to the memory of all', async (t) => {
  const length = 200_000
  const complete = async () => {
    const it = collect(length, length)
    it.source.push('x'.repeat(length))
    it.source.end()
    await settle()
    t.equal(it.memory.taken, length)
    return it
  }
  const read = await complete()
  t.equal(read.response.body().length, length)
  const { pieces, reading } = slowReader(read.response)
  while (!reading.settled) {
    t.equal(read.memory.taken, length)
    read.response.resume()
    await settle()
  }
  t.equal(read.memory.taken, 0)
  t.equal(
    Math.max(...pieces.map((piece) => piece.length)),
    65_536,
    'little of it is in the buffer of its socket',
  )
  const whole = await complete()
  t.equal(whole.response.whole(length)?.length, length)
  t.equal(whole.memory.taken, 0)
  const left = await complete()
  left.response.abort(new Error('enough'))
  t.equal(left.memory.taken, 0)
})

t.test('the small pieces that a slow caller has yet to take are put together', async (t) => {
  const { source, response } = collect(50_000, 50_000)
  const { pieces } = slowReader(response)
  for (let at = 0; at < 40_000; at++) source.push('x')
  source.end()
  await settle()
  for (let at = 0; at < 30; at++) {
    response.resume()
    await settle()
  }
  t.ok(pieces.length < 30, `${pieces.length} pieces`)
  t.equal(pieces.join('').length, 40_000)
  t.equal(response.body().length, 40_000)
})

t.test('beyond that, back-pressure reaches the source, and memory is bounded', async (t) => {
  const { source, response, whole, memory } = collect(10)
  const { pieces, reading } = slowReader(response)
  source.push('12345')
  await settle()
  source.push('6789')
  source.push('beyond')
  await settle()
  t.equal(whole.value, false)
  t.ok(source.isStopped)
  t.equal(memory.taken, 4, 'only what the caller has not taken')
  response.resume()
  await settle()
  t.equal(memory.taken, 0)
  t.ok(source.isStopped, 'one piece is left')
  response.resume()
  await settle()
  t.notOk(source.isStopped, 'the caller has caught up')
  source.push('more')
  t.ok(source.isStopped)
  response.resume()
  source.end()
  await settle()
  t.strictSame(pieces, ['12345', '6789', 'beyond', 'more'])
  t.ok(reading.settled)
})

t.test('a source that gives its next piece while it is resumed is read on', async (t) => {
  const { source, response } = collect(5)
  const rest = ['two ', 'three ', 'four']
  source.resume = () => {
    const next = rest.shift()
    if (next === undefined) source.end()
    else source.push(next)
  }
  const text = watch(textOf(response))
  source.push('more than fits, ')
  await settle()
  t.equal(text.value, 'more than fits, two three four')
})

t.test('where the memory of all is full, it is not collected', async (t) => {
  const { source, whole } = collect(100, 5)
  source.push('123456')
  await settle()
  t.equal(whole.value, false)
})

t.test('what breaks off is never taken for whole', async (t) => {
  const { source, response, whole, memory } = collect()
  const { reading } = slowReader(response)
  source.push('half')
  source.push('more')
  source.fail(new Error('broke off'))
  await settle()
  t.match(reading.error, { message: 'broke off' })
  t.equal(whole.value, false)
  t.equal(memory.taken, 0)
  await t.rejects(textOf(response), { message: 'broke off' })
})

t.test('a caller that takes no more leaves it to the others', async (t) => {
  const { source, response, aborts } = collect()
  source.push('abc')
  response.abort(new Error('enough'))
  response.abort(new Error('again'))
  t.equal(aborts(), 1)
  await t.rejects(
    response.pipe(() => true),
    { message: 'enough' },
    'nothing is left to read',
  )
  source.push('def')
  source.end()
  await settle()
  t.equal(String(response.body()), 'abcdef')
})

t.test('a caller that takes no more ends what is not collected', async (t) => {
  const late = collect(2)
  const reading = slowReader(late.response).reading
  late.source.push('abc')
  await settle()
  late.response.abort(new Error('enough'))
  await settle()
  t.match(late.source.aborted, { message: 'enough' })
  t.match(reading.error, { message: 'enough' })
  t.equal(late.aborts(), 0)

  const early = collect(2)
  early.response.abort(new Error('enough'))
  early.source.push('abc')
  t.match(early.source.aborted, { name: 'CallerGoneError' })
  t.equal(early.memory.taken, 0)
  early.source.push('late')
  early.response.stop(new Error('too late'))
  await settle()
  t.match(early.source.aborted, { name: 'CallerGoneError' })
})
