// Covers src/guards/headers.ts
import t from 'tap'
import { judgeFraming } from '../../src/guards/headers.ts'

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
