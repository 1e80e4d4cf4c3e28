// Covers src/guards/headers.ts: Host, hops, framing and CORS; callers.test.ts has the rest
import t from 'tap'
import {
  corsHeaders,
  isPreflight,
  judgeFraming,
  judgeLoop,
  readHost,
  withOneHopLess,
} from '../../src/guards/headers.ts'

t.test('A Host is read in lower case, without its trailing dot, its port apart', async (t) => {
  const cases: [value: string, hostname: string, port: number | undefined][] = [
    ['localhost', 'localhost', undefined],
    ['LocalHost:8377', 'localhost', 8377],
    ['localhost.', 'localhost', undefined],
    ['localhost.:80', 'localhost', 80],
    ['localhost..', 'localhost.', undefined],
    ['acme.LOCALHOST:1', 'acme.localhost', 1],
    ['127.0.0.1:65535', '127.0.0.1', 65535],
    ['[::1]', '[::1]', undefined],
    ['[::FFFF:127.0.0.1]:8377', '[::ffff:127.0.0.1]', 8377],
    ['my_host-1', 'my_host-1', undefined],
    ['localhost:', 'localhost', undefined],
    ['[::1]:', '[::1]', undefined],
  ]
  for (const [value, hostname, port] of cases) {
    t.same(
      readHost(['HOST', value], '1.1'),
      { hostname, port, authority: value.toLowerCase().replace(/:$/, '') },
      value,
    )
  }
})

t.test('A Host that only lower-casing makes ASCII is refused', async (t) => {
  t.throws(() => readHost(['Host', 'hoo\u212a.localhost'], '1.1'), { code: 'request_invalid' })
})

t.test('Ordinary requests pass', async (t) => {
  const cases: [method: string, version: string, headers: string[]][] = [
    ['GET', '1.1', ['Host', 'localhost', 'Accept', '*/*', "X!#$%&'*+-.^_`|~9", '\x80 "any" value\t']],
    ['POST', '1.1', ['Content-Length', '0']],
    ['POST', '1.0', ['content-length', '12']],
    ['PATCH', '1.1', ['TRANSFER-ENCODING', 'chunked']],
    ['GET', '1.1', ['Connection', 'Upgrade, HTTP2-Settings', 'Upgrade', 'h2c', 'HTTP2-Settings', 'AAMAAABk']],
    ['GET', '1.1', ['Upgrade', 'H2C']],
    ['GET', '1.1', ['Upgrade-Insecure-Requests', '1', 'Content-Lengthy', '1', 'Transfer_Coding', 'x']],
    ['GET', '1.1', ['X-Upgrad', 'x', 'Forward', 'x', 'Accept-Charset', 'x', 'X-Some-Other-Name', 'y']],
    ['OPTIONS', '1.1', []],
    ['POST', '1.1', ['Transfer-Encoding', 'Chunked']],
    ['POST', '1.1', ['Upgrade', 'h2c', 'Content-Length', '5']],
    ['POST', '1.1', ['Upgrade', 'h2c', 'Transfer-Encoding', 'chunked']],
    ['GET', '1.1', Array.from({ length: 2000 }, () => 'a')],
    ['DELETE', '1.1', ['Empty', '']],
  ]
  for (const [method, version, headers] of cases) {
    t.doesNotThrow(
      () => judgeFraming(headers, method, version),
      `${method} ${headers.join(' ').slice(0, 100)}`,
    )
  }
})

t.test('TRACE and CONNECT are refused, whatever else is wrong', async (t) => {
  for (const method of ['TRACE', 'CONNECT']) {
    t.throws(() => judgeFraming([], method, '1.1'), { code: 'method_not_allowed' })
    t.throws(() => judgeFraming(['Upgrade', 'x'], method, '1.0'), { code: 'method_not_allowed' })
  }
})

t.test('What could be framed in two ways is refused', async (t) => {
  const cases: [headers: string[], version?: string][] = [
    [['Upgrade', 'websocket']],
    [['UPGRADE', 'TLS/1.0']],
    [['Upgrade', 'h2c, websocket']],
    [['Upgrade', 'h2c', 'upgrade', 'websocket']],
    [['Upgrade', '']],
    [['Content-Length', '1', 'Transfer-Encoding', 'chunked']],
    [['Transfer-Encoding', 'chunked', 'content-length', '0']],
    [['Content-Length', '1', 'Content-Length', '1']],
    [['Content-Length', '1', 'CONTENT-length', '2']],
    [['Content-Length', '1, 1']],
    [['Content-Length', '+1']],
    [['Content-Length', '0x1']],
    [['Content-Length', '']],
    [['Content-Length', '9007199254740992']],
    [['Transfer-Encoding', 'gzip, chunked']],
    [['Transfer-Encoding', 'identity']],
    [['Transfer-Encoding', 'chunked ']],
    [['Transfer-Encoding', 'xchunked']],
    [['Transfer-Encoding', '']],
    [['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
    [['Transfer-Encoding', 'chunked'], '1.0'],
    [['Content_Length', '1']],
    [['Transfer_Encoding', 'chunked']],
    [['X Y', '1']],
    [['X:', '1']],
    [['', '1']],
    [['X\r\nY', '1']],
    [['X\u212a', '1']],
    [['X', 'a\rb']],
    [['X', 'a\nb']],
    [['X', 'a\0b']],
    [['Expect', '200-maybe']],
    [Array.from({ length: 2002 }, () => 'a')],
  ]
  for (const [headers, version = '1.1'] of cases) {
    const title = JSON.stringify(headers).slice(0, 100)
    t.throws(() => judgeFraming(headers, 'POST', version), { code: 'request_invalid' }, title)
  }
})

t.test('OPTIONS with Max-Forwards: 0 is answered here, a larger number is one less', async (t) => {
  t.equal(withOneHopLess('OPTIONS', ['max-forwards', '0']), undefined)
  const cases: [value: string, sent: string][] = [
    ['1', '0'],
    ['5', '4'],
    ['007', '6'],
    ['99999999999999999999999', '255'],
  ]
  for (const [value, sent] of cases) {
    t.same(
      withOneHopLess('OPTIONS', ['A', 'b', 'Max-Forwards', value]),
      ['A', 'b', 'Max-Forwards', sent],
      value,
    )
  }
  for (const headers of [
    ['Max-Forwards', '-1'],
    ['Max-Forwards', ''],
    ['Max-Forwards', '1.5'],
    ['Max-Forwards', 'x'],
    ['Max-Forwards', '1, 2'],
    ['Max-Forwards', '1', 'max-forwards', '1'],
  ]) {
    t.throws(() => withOneHopLess('OPTIONS', headers), { code: 'request_invalid' }, headers.join(' '))
  }
  const untouched = ['Max-Forwards', 'x']
  t.equal(withOneHopLess('GET', untouched), untouched)
  const none = ['A', 'b']
  t.equal(withOneHopLess('OPTIONS', none), none)
})

t.test('A request that was here twice goes in a circle', async (t) => {
  for (const via of [
    [],
    ['1.1 procore-proxy'],
    ['1.1 other, 1.1 procore-proxy (x, y), 1.0 another'],
    ['1.1 procore-proxy2, 1.1 my-procore-proxy, 1.1 procore-proxy.example, 1.1 procore-proxy'],
    ['procore-proxy, procore-proxy'],
  ]) {
    t.doesNotThrow(() => judgeLoop(via.flatMap((value) => ['Via', value])), via.join())
  }
  for (const via of [
    ['1.1 procore-proxy, 1.1 procore-proxy'],
    ['1.1 procore-proxy', 'HTTP/1.1 Procore-Proxy (comment)'],
    ['1.1 a,1.1 procore-proxy ,1.1 b, 1.0 procore-proxy(c)'],
  ]) {
    const headers = via.flatMap((value) => ['via', value])
    t.throws(() => judgeLoop(headers), { code: 'loop_detected', status: 508 }, via.join())
  }
})

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
    t.notOk('access-control-allow-methods' in headers, JSON.stringify(value))
    t.notOk('access-control-allow-headers' in headers, JSON.stringify(value))
    t.notOk('access-control-allow-credentials' in headers)
  }
  const twice = ['Access-Control-Request-Method', 'GET', 'Access-Control-Request-Method', 'PUT']
  t.notOk(corsHeaders(ORIGIN, { method: 'OPTIONS', rawHeaders: twice })['access-control-allow-methods'])
})
