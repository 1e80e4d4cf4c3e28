// Covers src/forward/links.ts
import t from 'tap'
import type { Environment } from '../../src/config/config.ts'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/environments.ts'
import { absoluteReference, rewriteFileUrl } from '../../src/forward/links.ts'
import { words } from '../fixtures/words.ts'

const [PRODUCTION] = BUILT_IN_ENVIRONMENTS as [Environment]
const BASE = { origin: 'http://localhost:8377', prefix: '/acme' }
const rewrite = (value: string) => rewriteFileUrl(value, PRODUCTION, BASE)

t.test('the URL of a file becomes the proxy’s own', async (t) => {
  const cases: [url: string, host: string, rest: string][] = [
    [
      'https://storage.procore.com/a/b.pdf?companyId=1&sig=x%2F',
      'storage.procore.com',
      '/a/b.pdf?companyId=1&sig=x%2F',
    ],
    ['HTTPS://Storage.Procore.com/A', 'storage.procore.com', '/A'],
    ['https://procore.com', 'procore.com', ''],
    ['https://procore.com?x', 'procore.com', '?x'],
    ['https://procore.com/#x', 'procore.com', '/#x'],
    [
      'https://us.procore.com/bücher/"x"?q=https://evil.example',
      'us.procore.com',
      '/bücher/"x"?q=https://evil.example',
    ],
    ['https://us.procore.com/a//b%20c', 'us.procore.com', '/a//b%20c'],
  ]
  for (const [url, host, rest] of cases)
    t.equal(rewrite(url), `http://localhost:8377/acme/_proxy/files/${host}${rest}`, url)
})

t.test('everything else stays', async (t) => {
  for (const value of [
    '',
    'https://',
    'see https://storage.procore.com/a',
    'https://storage.procore.com/a b',
    'https://storage.procore.com/a\n',
    'https://storage.procore.com/\u0085',
    'https://storage.procore.com\\x',
    'https://storage.procore.com/a\\b',
    '//storage.procore.com/a',
    'http://storage.procore.com/a',
    'ftp://storage.procore.com/a',
    'https:/storage.procore.com/a',
    'https://api.procore.com/rest/v1.0/me',
    'https://login.procore.com/x',
    'https://sandbox.procore.com/x',
    'https://evilprocore.com/x',
    'https://procore.com.evil.example/x',
    'https://procore.com@evil.example/x',
    'https://user@storage.procore.com/x',
    'https://storage.procore.com:443/x',
    'https://storage.procore.com./x',
    'https://evil.example/x?https://storage.procore.com/',
    'https://s3.amazonaws.com/x',
  ]) {
    t.equal(rewrite(value), undefined, JSON.stringify(value))
  }
})

t.test('what the proxy would refuse, or what needs no bearer, stays too', async (t) => {
  for (const rest of words`
    /rest/v1.0/me /a/../b //x /%zz /a\ud800 /x?a=1&X-Amz-Signature=2 /x?AWSAccessKeyId=1&Signature=2
  `) {
    t.equal(rewrite(`https://storage.procore.com${rest}`), undefined, rest)
  }
})

t.test('a test server’s URLs are plain http', async (t) => {
  const fake = {
    name: 'fake',
    apiUrl: 'http://127.0.0.1:1',
    loginUrl: 'http://127.0.0.1:2',
    fileDomain: 'localhost',
  }
  t.equal(
    rewriteFileUrl('http://localhost:3/x', fake, { ...BASE, prefix: '' }),
    'http://localhost:8377/_proxy/files/localhost:3/x',
  )
  t.equal(rewriteFileUrl('https://localhost:3/x', fake, BASE), undefined)
})

t.test('references become absolute', async (t) => {
  const cases: [reference: string, absolute: string][] = [
    ['https://x.example/../a', 'https://x.example/../a'],
    ['mailto:x', 'mailto:x'],
    ['/b?c', 'https://s.procore.com/b?c'],
    ['b', 'https://s.procore.com/a/b'],
    ['?b', 'https://s.procore.com/a/x?b'],
    ['//t.example/b', 'https://t.example/b'],
    ['//[', '//['],
  ]
  for (const [reference, absolute] of cases)
    t.equal(absoluteReference(reference, 'https://s.procore.com/a/x'), absolute)
})
