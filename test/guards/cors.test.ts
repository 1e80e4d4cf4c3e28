// Covers src/guards/headers.ts
import t from 'tap'
import { corsHeaders, isPreflight } from '../../src/guards/headers.ts'

const ORIGIN = 'https://app.example'

t.test('A preflight is an OPTIONS request that asks for a method', async (t) => {
  const asks = ['Access-Control-Request-Method', 'PATCH']
  t.equal(isPreflight({ method: 'OPTIONS', rawHeaders: asks }), true)
  t.equal(isPreflight({ method: 'OPTIONS', rawHeaders: [] }), false)
  t.equal(isPreflight({ method: 'GET', rawHeaders: asks }), false)
})

t.test('An answer names the origin and what its pages may read', async (t) => {
  const headers = corsHeaders(ORIGIN, { method: 'GET', rawHeaders: [] })
  t.match(headers, { 'access-control-allow-origin': ORIGIN, vary: 'Origin' })
  t.match(
    headers['access-control-expose-headers'],
    /\bLink\b.*\bX-Rate-Limit-Remaining\b.*\bProcore-Proxy-Error\b/,
  )
  t.equal(Object.keys(headers).length, 3)
})

t.test('A preflight is granted what it asks for', async (t) => {
  const rawHeaders = [
    ...['Access-Control-Request-Method', 'PATCH'],
    ...['Access-Control-Request-Headers', 'content-type, procore-company-id,x-a'],
    ...['Access-Control-Request-Private-Network', 'true'],
  ]
  t.same(corsHeaders(ORIGIN, { method: 'OPTIONS', rawHeaders }), {
    'access-control-allow-origin': ORIGIN,
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    'access-control-max-age': '600',
    'access-control-allow-methods': 'PATCH',
    'access-control-allow-headers': 'content-type, procore-company-id,x-a',
    'access-control-allow-private-network': 'true',
  })
})

t.test('Nothing but lists of tokens is reflected, and never a star or credentials', async (t) => {
  for (const value of ['*', 'a, *', '', 'a b', 'a,,b', 'a\r\nSet-Cookie: x', 'a;b', '<x>', 'ü']) {
    const rawHeaders = ['Access-Control-Request-Method', value, 'Access-Control-Request-Headers', value]
    const headers = corsHeaders(ORIGIN, { method: 'OPTIONS', rawHeaders })
    t.notOk(headers['access-control-allow-methods'], JSON.stringify(value))
    t.notOk(headers['access-control-allow-headers'], JSON.stringify(value))
    t.notOk('access-control-allow-credentials' in headers)
  }
  const twice = ['Access-Control-Request-Method', 'GET', 'Access-Control-Request-Method', 'PUT']
  t.notOk(corsHeaders(ORIGIN, { method: 'OPTIONS', rawHeaders: twice })['access-control-allow-methods'])
})
