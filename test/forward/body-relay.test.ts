// Covers src/forward/body-relay.ts
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate as settle } from 'node:timers/promises'
import t from 'tap'
import { BodyRelay, MOST_KEPT_BYTES } from '../../src/forward/body-relay.ts'

/** A request as far as the relay is concerned: a stream that is fed by hand. */
function request(): Readable {
  return new Readable({ read() {}, highWaterMark: 16 * 1024 })
}

function relayOf(source: Readable) {
  const progress: number[] = []
  const request = Object.assign(source, { headers: {} }) as unknown as IncomingMessage
  const relay = new BodyRelay(request, (bytes) => void progress.push(bytes))
  return { relay, progress }
}

t.test('A body comes through whole, is counted and kept', async (t) => {
  const source = request()
  const { relay, progress } = relayOf(source)
  t.equal(source.readableFlowing, null, 'nothing is read before someone wants it')
  const all = buffer(relay)
  source.push('one')
  await settle()
  t.equal(relay.kept(), undefined, 'not before its end')
  t.notOk(relay.complete)
  source.push('two')
  source.push(null)
  t.equal((await all).toString(), 'onetwo')
  t.strictSame(progress, [3, 3, 0])
  t.ok(relay.complete)
  t.equal(relay.kept()?.toString(), 'onetwo')
})

t.test('An empty body is kept as one', async (t) => {
  const source = request()
  const { relay } = relayOf(source)
  source.push(null)
  t.equal((await buffer(relay)).length, 0)
  t.equal(relay.kept()?.length, 0)
})

t.test('64 KiB are kept, one byte more is not', async (t) => {
  t.equal(MOST_KEPT_BYTES, 65_536)
  for (const [last, kept] of [
    [0, true],
    [1, false],
  ] as const) {
    const source = request()
    const { relay } = relayOf(source)
    const all = buffer(relay)
    for (const size of [1, MOST_KEPT_BYTES - 2, 1, last]) source.push(Buffer.alloc(size, 'x'))
    source.push(null)
    t.equal((await all).length, MOST_KEPT_BYTES + last)
    t.equal(relay.kept()?.length, kept ? MOST_KEPT_BYTES : undefined)
  }
})

t.test('A reader that stops stops the caller; memory does not grow with the body', async (t) => {
  const chunk = Buffer.alloc(16 * 1024)
  let given = 0
  const source = new Readable({
    highWaterMark: 16 * 1024,
    read() {
      given += chunk.length
      this.push(given > 100 * MOST_KEPT_BYTES ? null : chunk)
    },
  })
  const { relay } = relayOf(source)
  relay.read(0)
  for (let i = 0; i < 50; i++) await settle()
  t.ok(given <= 3 * MOST_KEPT_BYTES, `${given} taken from the caller`)
  t.ok(source.isPaused())
  t.notOk(relay.waitsForCaller, 'it is the reader who is awaited')
  t.equal((await buffer(relay)).length, 100 * MOST_KEPT_BYTES, 'and goes on')
})

t.test('It tells when the caller is who is awaited', async (t) => {
  const source = request()
  const { relay } = relayOf(source)
  relay.resume()
  t.ok(relay.waitsForCaller)
  source.push('x')
  await settle()
  t.ok(relay.waitsForCaller, 'taken over')
  source.push(null)
  await once(relay, 'end')
  t.notOk(relay.waitsForCaller)
  const other = relayOf(request()).relay
  other.destroy()
  t.notOk(other.waitsForCaller)
})

t.test('Destroyed, it lets the request drain and does not destroy it', async (t) => {
  for (const started of [false, true]) {
    const source = request()
    const { relay, progress } = relayOf(source)
    if (started) relay.resume()
    source.push('one')
    await settle()
    relay.destroy()
    await once(relay, 'close')
    source.push('two')
    source.push(null)
    await once(source, 'end')
    t.strictSame(progress, started ? [3] : [])
    t.equal(relay.kept(), undefined)
    t.notOk(relay.complete)
  }
})

t.test('An error of the request is the relay’s, and after its end nobody’s', async (t) => {
  const source = request()
  const { relay } = relayOf(source)
  relay.resume()
  source.destroy(new Error('aborted'))
  const [error] = (await once(relay, 'error')) as [Error]
  t.equal(error.message, 'aborted')
  t.ok(relay.destroyed)
  const late = request()
  const { relay: over } = relayOf(late)
  over.resume()
  await settle()
  over.destroy()
  await once(over, 'close')
  late.destroy(new Error('aborted'))
  await new Promise((resolve) => late.once('close', resolve))
  t.pass('no uncaught error')
})
