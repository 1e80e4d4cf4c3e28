import t from 'tap'
import type { NoProxyEntry } from '../../src/config/config.ts'
import { noProxyEntries, parseNoProxy } from '../../src/config/outbound.ts'
import { proxyFor } from '../../src/network/outbound-proxy.ts'

const proxy = { origin: 'http://proxy.example:3128', authorization: undefined }
const through = (origin: string, variable: string) => {
  const noProxy = noProxyEntries(variable).map((entry) => parseNoProxy(entry) as NoProxyEntry)
  return proxyFor(origin, { proxy, noProxy }) === proxy
}

t.test('NO_PROXY: hosts and all below them, ports, addresses, everything', async (t) => {
  const cases: [origin: string, noProxy: string, proxied: boolean][] = [
    ['https://api.example.com', '', true],
    ['https://api.example.com', 'other.com', true],
    ['https://api.example.com', 'api.example.com', false],
    ['https://api.example.com', 'API.Example.COM.', false],
    ['https://api.example.com.', 'api.example.com', false],
    ['https://api.example.com', 'example.com', false],
    ['https://api.example.com', '.example.com', false],
    ['https://api.example.com', '*.example.com', false],
    ['https://example.com', '.example.com', false],
    ['https://example.com', '*.example.com', false],
    ['https://notexample.com', 'example.com', true],
    ['https://example.com.evil.test', 'example.com', true],
    ['https://example.com', 'api.example.com', true],
    ['https://api.example.com', 'a.test, b.test\tapi.example.com', false],
    ['https://api.example.com', 'a.test,,b.test', true],
    ['https://api.example.com', 'example.com:443', false],
    ['https://api.example.com', 'example.com:8443', true],
    ['https://api.example.com:8443', 'example.com:8443', false],
    ['https://api.example.com:8443', 'example.com:443', true],
    ['https://api.example.com:8443', 'example.com', false],
    ['https://api.example.com', '*', false],
    ['https://api.example.com', 'other.com,*', false],
    ['https://192.0.2.7', '192.0.2.7', false],
    ['https://192.0.2.7', '2.7', true],
    ['https://192.0.2.7', '192.0.2.0/24', true],
    ['https://[2001:db8::1]', '2001:db8::1', false],
    ['https://[2001:db8::1]', '[2001:DB8:0::1]', false],
    ['https://[2001:db8::1]', '[2001:db8::1]:443', false],
    ['https://[2001:db8::1]', '[2001:db8::1]:444', true],
    ['https://[2001:db8::1]', '2001:db8::2', true],
  ]
  for (const [origin, noProxy, proxied] of cases) {
    t.equal(through(origin, noProxy), proxied, `${origin} with NO_PROXY=${noProxy}`)
  }
})

t.test('loopback never goes through a proxy, and nothing does without one', async (t) => {
  for (const host of ['localhost', 'localhost.', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]']) {
    for (const scheme of ['http', 'https']) t.equal(through(`${scheme}://${host}:9001`, ''), false, host)
  }
  t.equal(through('http://api.example.com', ''), false, 'plain http has no tunnel')
  t.equal(proxyFor('https://api.example.com', { proxy: undefined, noProxy: [] }), undefined)
})
