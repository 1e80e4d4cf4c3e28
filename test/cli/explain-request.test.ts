// The request that `explain` makes out of its arguments.
import t from 'tap'
import { imagineRequest } from '../../src/cli/explain.ts'
import type { ListenAddress } from '../../src/config/config.ts'
import { testConfig } from '../fixtures/config.ts'

const tcp = (host: string, port: number): ListenAddress => ({ kind: 'tcp', host, port })
const unix: ListenAddress = { kind: 'unix', path: '/run/x.sock', mode: 0o600 }
const imagine = (listen: ListenAddress[], url: string, headers: string[] = []) =>
  imagineRequest(testConfig({ listen }), { method: 'get', url, headerLines: headers })

t.test('a path is asked of the first address', async (t) => {
  const cases: [ListenAddress, string][] = [
    [tcp('127.0.0.1', 8377), '127.0.0.1:8377'],
    [tcp('0.0.0.0', 8377), '127.0.0.1:8377'],
    [tcp('::', 8377), '[::1]:8377'],
    [tcp('10.0.0.1', 0), '10.0.0.1'],
    [unix, 'localhost'],
  ]
  for (const [address, host] of cases) {
    const { raw, target, listener, notes } = imagine([address], '/rest/a?b', ['Accept: x:y ', 'Empty:'])
    t.strictSame(raw.rawHeaders, ['Host', host, 'Accept', 'x:y', 'Empty', ''])
    t.match({ method: raw.method, target, notes }, { method: 'GET', target: '/rest/a?b', notes: [] })
    t.equal(listener.address, address)
  }
  t.strictSame(imagine([unix], '/rest/a', ['hOST: other']).raw.rawHeaders, ['hOST', 'other'])
})

t.test('a URL is asked of the address with its port, its bytes kept', async (t) => {
  const listen = [unix, tcp('0.0.0.0', 80), tcp('127.0.0.1', 8377)]
  const cases: [url: string, host: string, target: string, address: ListenAddress, ip: string | undefined][] =
    [
      ['http://localhost:8377', 'localhost:8377', '/', listen[2]!, undefined],
      ['http://localhost:8377?a=b', 'localhost:8377', '/?a=b', listen[2]!, undefined],
      ['HTTP://10.0.0.1/rest/../%2e//x?y#z', '10.0.0.1', '/rest/../%2e//x?y', listen[1]!, '10.0.0.1'],
      ['http://u:p@[::1]:8377/rest', '[::1]:8377', '/rest', listen[2]!, '::1'],
    ]
  for (const [url, host, target, address, ip] of cases) {
    const request = imagine(listen, url)
    t.strictSame(request.raw.rawHeaders, ['Host', host], url)
    t.equal(request.target, target, url)
    t.equal(request.listener.address, address, url)
    t.equal(request.raw.socket.localAddress, ip, url)
    t.strictSame(request.notes, [], url)
  }
})

t.test('a port without a listener is noted, unless any port may be meant', async (t) => {
  const url = 'http://localhost:9999/rest'
  t.strictSame(imagine([tcp('127.0.0.1', 8377)], url).notes, [
    'nothing listens on port 9999; judged as if sent to 127.0.0.1:8377',
  ])
  t.strictSame(imagine([tcp('127.0.0.1', 0)], url).notes, [])
})
