// Twin of src/forward/large-bodies.ts: it is told of large bodies only, and of the end of each, however it ends.
import { once } from 'node:events'
import { createServer, type IncomingMessage, get as request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { LARGE_BYTES, largeBodies } from '../../src/forward/large-bodies.ts'
import { startRig } from '../fixtures/proxy.ts'

/** A proxy whose API is `api`; the login server is the fake's. */
async function startInFrontOf(t: Test, api: Server) {
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => api.close())
  const apiUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
  return startRig(t, {
    settings: (fake) => ({ environments: { fake: { apiUrl, loginUrl: fake.loginUrl } } }),
  })
}

t.test('the first begins, the last ends', async (t) => {
  const said: boolean[] = []
  largeBodies.onChange = (some) => said.push(some)
  t.teardown(() => {
    largeBodies.onChange = undefined
  })
  largeBodies.begin()
  largeBodies.begin()
  largeBodies.end()
  t.strictSame(said, [true])
  largeBodies.end()
  t.strictSame(said, [true, false])
})

t.test('bodies either way, and such as break off', async (t) => {
  const large = Buffer.alloc(3 * LARGE_BYTES, 'x')
  const api = createServer((request, response) => {
    request.resume()
    if (request.url === '/rest/v1.0/breaks') {
      response.writeHead(200, { 'content-length': 2 * large.length })
      response.write(large, () => response.destroy())
      return
    }
    request.on('end', () => response.end(request.url === '/rest/v1.0/large' ? large : '{}'))
  })
  const { get } = await startInFrontOf(t, api)
  const said: boolean[] = []
  largeBodies.onChange = (some) => said.push(some)
  t.teardown(() => {
    largeBodies.onChange = undefined
  })
  t.equal((await get('/acme/rest/v1.0/small', { method: 'POST', body: 'x'.repeat(LARGE_BYTES) })).status, 200)
  t.strictSame(said, [])
  t.equal((await get('/acme/rest/v1.0/large')).text.length, large.length)
  t.strictSame(said.splice(0), [true, false])
  t.equal((await get('/acme/rest/v1.0/small', { method: 'POST', body: large })).status, 200)
  t.strictSame(said.splice(0), [true, false])
  await t.rejects(get('/acme/rest/v1.0/breaks'))
  t.strictSame(said, [true, false])
})

t.test('what a caller has yet to take is never written over by what another gets', async (t) => {
  const bodyOf = (letter: string) => Buffer.alloc(24 * LARGE_BYTES, letter)
  const api = createServer((request, response) => response.end(bodyOf(request.url?.at(-1) ?? '')))
  const { url } = await startInFrontOf(t, api)
  const begin = async (letter: string) => {
    const asked = request(`${url}/acme/rest/v1.0/${letter}`, { agent: false })
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    return answer
  }
  // Nobody reads them until the others are through.
  const waiting = [await begin('a'), await begin('b')]
  for (const letter of 'cde') t.ok((await buffer(await begin(letter))).equals(bodyOf(letter)), letter)
  t.ok((await buffer(waiting[0]!)).equals(bodyOf('a')))
  t.ok((await buffer(waiting[1]!)).equals(bodyOf('b')))
})

t.test('nor by what comes behind it', async (t) => {
  // Each longer than what is copied, and short enough that another is read while it waits for the caller.
  const pieces = Array.from({ length: 300 }, (_, n) => Buffer.alloc(40 * 1024, String(n).padStart(8, '.')))
  const whole = Buffer.concat(pieces)
  const sent = Promise.withResolvers<void>()
  const api = createServer(async (_, response) => {
    response.writeHead(200, { 'content-length': whole.length })
    for (const piece of pieces) {
      response.write(piece)
      // One read each.
      await sleep(2)
    }
    response.end()
    sent.resolve()
  })
  const { url } = await startInFrontOf(t, api)
  const asked = request(`${url}/acme/rest/v1.0/pieces`, { agent: false })
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  await sent.promise
  t.ok((await buffer(answer)).equals(whole))
})
