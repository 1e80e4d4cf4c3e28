// Covers src/guards/access.ts
import t from 'tap'
import { judgeAccess } from '../../src/guards/access.ts'

const denied = { name: 'ProxyError', code: 'access_denied' }
const WRITES = ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPPATCH', 'MKCOL', 'LINK', 'QUERY', 'get', '']

t.test('A read-write company takes every method', async (t) => {
  const rawHeaders = ['X-HTTP-Method-Override', 'DELETE']
  for (const method of ['GET', ...WRITES]) {
    t.doesNotThrow(() => judgeAccess('read-write', { method, rawHeaders, query: '?_method=delete' }), method)
  }
})

t.test('A read-only company takes GET, HEAD and OPTIONS alone', async (t) => {
  for (const method of ['GET', 'HEAD', 'OPTIONS']) {
    t.doesNotThrow(() => judgeAccess('read-only', { method, rawHeaders: [], query: '' }), method)
  }
  for (const method of WRITES) {
    t.throws(() => judgeAccess('read-only', { method, rawHeaders: [], query: '' }), denied, method)
  }
})

t.test('A read-only company takes no read that asks to be taken for a write', async (t) => {
  const names = ['X-HTTP-Method-Override', 'x-http-method', 'X-METHOD-OVERRIDE', 'X_HTTP_Method_Override']
  for (const name of names) {
    for (const value of ['DELETE', 'post', ' Put ', 'GET, POST', 'anything']) {
      const rawHeaders = ['Accept', '*/*', name, value]
      t.throws(
        () => judgeAccess('read-only', { method: 'GET', rawHeaders, query: '' }),
        denied,
        `${name}: ${value}`,
      )
    }
    const twice = [name, 'GET', name, 'DELETE']
    t.throws(() => judgeAccess('read-only', { method: 'GET', rawHeaders: twice, query: '' }), denied)
    for (const value of ['get', 'HEAD', '']) {
      const rawHeaders = [name, value]
      t.doesNotThrow(
        () => judgeAccess('read-only', { method: 'GET', rawHeaders, query: '' }),
        `${name}: ${value}`,
      )
    }
  }
  for (const query of [
    '?_method=delete',
    '?a=1&_method=POST',
    '?%5Fmethod=put',
    '?_method[]=x',
    '?_method=get&_method=put',
  ]) {
    t.throws(() => judgeAccess('read-only', { method: 'GET', rawHeaders: [], query }), denied, query)
  }
  for (const query of ['?_method=get', '?_method=', '?http_method=POST', '?a=_method']) {
    const rawHeaders = ['X-Method-Overrides', 'DELETE', 'X-Some-Header', 'DELETE']
    t.doesNotThrow(() => judgeAccess('read-only', { method: 'GET', rawHeaders, query }), query)
  }
  const undecodable = { method: 'GET', rawHeaders: [], query: '?_method=%zz' }
  t.throws(() => judgeAccess('read-only', undecodable), { code: 'request_invalid' })
})
