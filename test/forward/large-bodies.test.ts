// Twin of src/forward/large-bodies.ts: it is told of large bodies only, and of the end of each, however it ends.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { LARGE_BYTES, largeBodies } from '../../src/forward/large-bodies.ts'
import { startRig } from '../fixtures/proxy.ts'

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
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => api.close())
  const apiUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`
  const { get } = await startRig(t, {
    settings: (fake) => ({ environments: { fake: { apiUrl, loginUrl: fake.loginUrl } } }),
  })
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
