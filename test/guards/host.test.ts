// Covers src/guards/headers.ts
import t from 'tap'
import { readHost } from '../../src/guards/headers.ts'

const invalid = { name: 'ProxyError', code: 'request_invalid' }

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

t.test('Anything that is not exactly host[:port] is refused', async (t) => {
  const values = [
    '',
    '.',
    ':80',
    'localhost:0',
    'localhost:080',
    'localhost:65536',
    'localhost:99999',
    'localhost:123456',
    'localhost:http',
    'localhost:80:80',
    'localhost:-1',
    'localhost:+80',
    '127.0.0.1:evil.com',
    'user@localhost',
    'localhost@evil.com',
    'user:pw@localhost:80',
    'local host',
    ' localhost',
    'localhost ',
    'localhost\t',
    'localhost\n',
    'localhost, evil.com',
    'localhost,localhost',
    'localhost/x',
    'localhost?x',
    'localhost#x',
    'localhost\\x',
    'http://localhost',
    '%6cocalhost',
    'localhost%00',
    'localhost\0',
    '::1',
    '[::1',
    '::1]',
    '[]',
    '[::1]x',
    '[::1].',
    '[::1]::',
    'localhost::',
    'localhost:80:',
    '[::1]:80:',
    ':',
    '[fe80::1%eth0]',
    '[localhost]',
    '[[::1]]',
    'loc\u212alhost',
    '\u212a',
    'ﬂ',
    'löcalhost',
    '*',
    '*.localhost',
  ]
  for (const value of values) t.throws(() => readHost(['Host', value], '1.1'), invalid, JSON.stringify(value))
})

t.test('A request without a Host, or with two, is refused in every version of HTTP', async (t) => {
  for (const version of ['1.0', '1.1']) {
    t.throws(() => readHost([], version), { ...invalid, message: new RegExp(`HTTP/${version}`) })
    t.throws(() => readHost(['X-Host', 'localhost'], version), invalid)
    t.throws(() => readHost(['Host', 'localhost', 'host', 'localhost'], version), invalid)
    t.throws(() => readHost(['Host', 'localhost', 'HOST', 'evil.com'], version), invalid)
    t.equal(readHost(['Host', 'localhost'], version).hostname, 'localhost')
  }
})
