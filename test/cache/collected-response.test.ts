// Covers src/cache/collected-response.ts
import t from 'tap'
import { CollectedResponse } from '../../src/cache/collected-response.ts'
import { FakeResponse, settle, textOf } from '../fixtures/calls.ts'
import { watch } from '../fixtures/clock.ts'

function start(mostBytes = 100, memoryBytes = 1000) {
  const source = new FakeResponse(200, ['A', 'b'])
  const memory = {
    taken: 0,
    take(bytes: number) {
      const fits = memory.taken + bytes <= memoryBytes
      if (fits) memory.taken += bytes
      return fits
    },
    give(bytes: number) {
      memory.taken -= bytes
    },
  }
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
  const { source, response, whole, memory } = start()
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
  const { source, response } = start()
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

t.test('beyond that, back-pressure reaches the source, and memory is bounded', async (t) => {
  const { source, response, whole, memory } = start(10)
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

t.test('where the memory of all is full, it is not collected', async (t) => {
  const { source, whole } = start(100, 5)
  source.push('123456')
  await settle()
  t.equal(whole.value, false)
})

t.test('what breaks off is never taken for whole', async (t) => {
  const { source, response, whole, memory } = start()
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
  const { source, response, aborts } = start()
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
  const late = start(2)
  const reading = slowReader(late.response).reading
  late.source.push('abc')
  await settle()
  late.response.abort(new Error('enough'))
  await settle()
  t.match(late.source.aborted, { message: 'enough' })
  t.match(reading.error, { message: 'enough' })
  t.equal(late.aborts(), 0)

  const early = start(2)
  early.response.abort(new Error('enough'))
  early.source.push('abc')
  t.match(early.source.aborted, { name: 'CallerGoneError' })
  t.equal(early.memory.taken, 0)
  early.source.push('late')
  early.response.stop(new Error('too late'))
  await settle()
  t.match(early.source.aborted, { name: 'CallerGoneError' })
})
