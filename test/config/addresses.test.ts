import t from 'tap'
import {
  checkSerializedOrigin,
  checkSocketPath,
  isLoopbackHost,
  isWildcardAddress,
  leadsTo,
  listenText,
  localHost,
  parseFileHost,
  parseHostName,
  parseListen,
  parseOrigin,
  parsePublicUrl,
  parseUpstreamOrigin,
} from '../../src/config/addresses.ts'
import type { Mistake } from '../../src/config/problems.ts'

const line = (result: unknown) => {
  const { message, fix } = result as Mistake
  return `${message}. ${fix}`
}

t.test('loopback is localhost, 127.0.0.0/8 and ::1, and nothing else', async (t) => {
  for (const host of ['localhost', '127.0.0.1', '127.255.255.254', '::1', '[::1]', '::ffff:127.0.0.1']) {
    t.equal(isLoopbackHost(host), true, host)
  }
  const others = ' 0.0.0.0 :: 128.0.0.1 126.255.255.255 ::2 localhost.example a.localhost example'
  for (const host of others.split(' ')) t.equal(isLoopbackHost(host), false, host)
})

t.test('a listen address is host:port, [v6]:port or unix:/path', async (t) => {
  const cases: [string, string][] = [
    ['127.0.0.1:8377', '127.0.0.1:8377'],
    ['localhost:0', 'localhost:0'],
    ['LocalHost:80', 'localhost:80'],
    ['[::1]:8377', '[::1]:8377'],
    ['[0:0:0:0:0:0:0:1]:8377', '[::1]:8377'],
    ['[fe80::1%eth0]:1', '[fe80::1%eth0]:1'],
    ['0.0.0.0:65535', '0.0.0.0:65535'],
    ['my-host_1.example:1', 'my-host_1.example:1'],
    ['unix:/run/a b.sock', 'unix:/run/a b.sock'],
  ]
  for (const [text, expected] of cases) {
    const address = parseListen(text)
    if ('message' in address) t.fail(line(address))
    else t.equal(listenText(address), expected)
  }
  t.strictSame(parseListen('[::1]:2'), { kind: 'tcp', host: '::1', port: 2 })
  t.strictSame(parseListen('unix:/a'), { kind: 'unix', path: '/a', mode: 0o600 })
})

t.test('a wrong listen address is answered with the right one', async (t) => {
  const cases: [string, RegExp][] = [
    ['8377', /^"8377" is a port without a host\. Write 127\.0\.0\.1:8377$/],
    [':8377', /has no host\. Write 127\.0\.0\.1:8377 .*, or 0\.0\.0\.0:8377/],
    ['localhost', /"localhost" has no port\. Add one: localhost:8377/],
    ['[::1]', /has no port\. Add one: \[::1\]:8377/],
    ['::1', /IPv6 address without brackets\. Write "\[::1\]:8377"/],
    ['http://127.0.0.1:8377/x', /is a URL.*: 127\.0\.0\.1:8377$/],
    ['HTTPS://h:1', /is a URL.*: h:1$/],
    ['https://u:p@h:1', /^"https:\/\/…@h:1" is a URL.*: h:1$/],
    ['/run/a.sock', /is a path\. For a unix socket, write unix:\/run\/a\.sock/],
    ['127.0.0.1:65536', /"65536" is not a port/],
    ['127.0.0.1:http', /"http" is not a port/],
    ['127.0.0.1:', /"" is not a port/],
    ['127.0.0.1:1:2', /"1:2" is not a port/],
    ['[::g]:1', /\[::g\] is not an IPv6 address/],
    ['*:1', /"\*" is not a host\. Write 127\.0\.0\.1:1 /],
    ['127.0.0.256:1', /neither a host name nor an IP address/],
    ['-a:1', /neither a host name nor an IP address/],
    ['a b:1', /neither a host name nor an IP address/],
    ['', /is not a listen address/],
    [']:1', /is not a listen address/],
    ['unix:run/a.sock', /not an absolute path\. Write unix:/],
    ['unix:', /not an absolute path/],
    ['unix:/run/', /not the path of a file/],
    ['unix:/run/a\0b', /not the path of a file/],
    [`unix:/${'a'.repeat(103)}`, /104 bytes.* 103 at most\. Choose a shorter path/],
  ]
  for (const [text, expected] of cases) t.match(line(parseListen(text)), expected, text)
  t.equal(checkSocketPath(`/${'a'.repeat(102)}`), undefined)
})

t.test('an origin is scheme, host and port, and is given in one spelling', async (t) => {
  const cases: [string, string][] = [
    ['https://api.procore.com', 'https://api.procore.com'],
    ['HTTPS://API.procore.com:443/', 'https://api.procore.com'],
    ['http://[::1]:9001', 'http://[::1]:9001'],
  ]
  for (const [text, expected] of cases) t.equal(parseOrigin(text), expected)
  for (const text of ['a.b/c', 'a.b?x', 'a.b/#', 'u@a.b', 'a.b//', 'a.b\\c']) {
    t.match(line(parseOrigin(`https://${text}`)), /is more than an origin\. .*: https:\/\/a\.b$/, text)
  }
  for (const text of [
    '',
    'a.b',
    'ftp://a.b',
    'xhttp://a.b',
    'https://',
    'https:///a',
    'https://a b',
    'https:a.b',
    '*',
    'null',
  ]) {
    t.match(line(parseOrigin(text)), /is not an http or https origin/, text)
  }
})

t.test("Procore's origins are https, or http to this machine alone", async (t) => {
  for (const text of ['https://a.b', 'http://localhost:1', 'http://127.9.9.9', 'http://[::1]']) {
    t.equal(parseUpstreamOrigin(text), text)
  }
  t.match(line(parseUpstreamOrigin('http://a.b:8')), /secrets unencrypted\. Write https:\/\/a\.b:8/)
  t.match(line(parseUpstreamOrigin('http://localhost.a.b')), /unencrypted/)
  t.match(line(parseUpstreamOrigin('http://a.b/c')), /more than an origin.*: https:\/\/a\.b$/)
  t.match(line(parseUpstreamOrigin('http://127.0.0.1/c')), /more than an origin.*: http:\/\/127\.0\.0\.1$/)
})

t.test('a host name has no scheme, port or wildcard, and is given in one spelling', async (t) => {
  const cases: [string, string][] = [
    ['Proxy.Example.COM.', 'proxy.example.com'],
    ['proxy', 'proxy'],
    ['10.0.0.5', '10.0.0.5'],
    ['fd00::1', '[fd00::1]'],
    ['[FD00:0::1]', '[fd00::1]'],
  ]
  for (const [text, expected] of cases) t.equal(parseHostName(text), expected)
  const wrong: [string, RegExp][] = [
    ['https://Proxy.example/x?y', /not a host name.*\. Write proxy\.example$/],
    ['proxy.example:8080', /not a host name.*\. Write proxy\.example$/],
    ['u:p@proxy.example', /Write proxy\.example$/],
    ['*.proxy.example', /is a wildcard, .*\. Write proxy\.example$/],
    ['.proxy.example', /Write proxy\.example$/],
    ['*', /is a wildcard, .*\. Write a host name, such as/],
    ['', /Write a host name, such as/],
    ['a..b', /Write a host name, such as/],
    ['1.2.3.256', /Write a host name, such as/],
    ['bücher.example', /Write xn--bcher-kva\.example$/],
    ['[fe80::1%eth0]', /not a host name/],
    ['a b', /not a host name/],
  ]
  for (const [text, expected] of wrong) t.match(line(parseHostName(text)), expected, text)
})

t.test('an allowed origin is written exactly as browsers send it', async (t) => {
  for (const text of ['https://app.example', 'http://localhost:3000'])
    t.equal(checkSerializedOrigin(text), undefined)
  const wrong: [string, RegExp][] = [
    ['*', /would let any web page in/],
    ['null', /would let any web page in/],
    ['https://app.example/', /not how browsers write this origin\. Write https:\/\/app\.example$/],
    ['https://APP.example:443', /Write https:\/\/app\.example$/],
    ['https://*.example', /is a wildcard/],
    ['app.example', /not an http or https origin/],
  ]
  for (const [text, expected] of wrong) t.match(line(checkSerializedOrigin(text)), expected, text)
})

t.test('a public URL is an origin, perhaps with a plain path', async (t) => {
  const good: [string, string][] = [
    ['https://Proxy.example', 'https://proxy.example'],
    ['https://proxy.example:443/', 'https://proxy.example'],
    ['http://10.0.0.1:8080/Procore/x.y_z~-/', 'http://10.0.0.1:8080/Procore/x.y_z~-'],
    ['HTTP://[::1]:1', 'http://[::1]:1'],
  ]
  for (const [text, url] of good) t.equal(parsePublicUrl(text), url)
  const plain = [
    '',
    'proxy.example',
    'https://',
    'ftp://proxy.example',
    'xhttp://proxy.example',
    'https://user@proxy.example',
  ]
  const paths = ['?x', '/#x', '/a//b', '//', '/../x', '/a/..', '/./', '/%41', '/a b', '\\x']
  const longer = paths.map((path) => `https://proxy.example${path}`)
  for (const text of [...plain, ...longer, 'https://a b', 'https://1.2.3.999']) {
    t.match(line(parsePublicUrl(text)), /is not the URL of a proxy\. Write a scheme/, text)
  }
})

t.test('a wildcard is reached by the loopback address of its family', async (t) => {
  for (const [host, local] of Object.entries({ '0.0.0.0': '127.0.0.1', '::': '::1' })) {
    t.equal(localHost(host), local)
    t.ok(isWildcardAddress(host), host)
  }
  for (const host of ['127.0.0.1', 'proxy.example']) {
    t.equal(localHost(host), host)
    t.notOk(isWildcardAddress(host), host)
  }
  t.ok(isWildcardAddress('[::]'))
})

t.test('an origin leads to a listen address if host and port are plainly the same', async (t) => {
  const cases: [string, string, boolean][] = [
    ['http://127.0.0.1:8377', '127.0.0.1:8377', true],
    ['http://localhost:8377', '127.0.0.1:8377', true],
    ['http://localhost:8377', '[::1]:8377', true],
    ['http://[::1]:8377', 'localhost:8377', true],
    ['http://127.0.0.1:8377', '0.0.0.0:8377', true],
    ['http://0.0.0.0:8377', '127.0.0.1:8377', true],
    ['https://proxy.example', 'proxy.example:443', true],
    ['http://localhost', '127.0.0.1:80', true],
    ['http://127.0.0.2:8377', '127.0.0.1:8377', false],
    ['http://127.0.0.2:8377', 'localhost:8377', false],
    ['http://127.0.0.1:8377', '[::1]:8377', false],
    ['http://127.0.0.1:8378', '127.0.0.1:8377', false],
    ['http://127.0.0.1:1', '127.0.0.1:0', false],
    ['https://api.example:8377', '0.0.0.0:8377', false],
    ['http://127.0.0.1:8377', 'unix:/a', false],
  ]
  for (const [origin, listen, expected] of cases) {
    const address = parseListen(listen)
    t.equal('kind' in address && leadsTo(origin, address), expected, `${origin} ${listen}`)
  }
})

t.test('a file host is a name, or all hosts below a name', async (t) => {
  const cases: [string, unknown][] = [
    ['Storage.Example.com', 'storage.example.com'],
    ['*.Example.com', '*.example.com'],
    ['localhost', 'localhost'],
    ['127.0.0.1', '127.0.0.1'],
  ]
  for (const [text, expected] of cases) t.equal(parseFileHost(text), expected)
  for (const text of ['*', '*.com', '*.127.0.0.1', '[::1]', '*.[::1]', 'a.*.com', 'https://a.b', 'a.b:1']) {
    t.type(parseFileHost(text), 'object', text)
  }
})
