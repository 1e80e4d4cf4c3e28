// Covers src/forward/links.ts
import fc from 'fast-check'
import t from 'tap'
import type { Environment } from '../../src/config/config.ts'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/config.ts'
import {
  absoluteReference,
  type CallerBase,
  rewriteFileUrl,
  rewriteLink,
  rewriteUrl,
} from '../../src/forward/links.ts'
import { words } from '../fixtures/words.ts'

const API = 'https://api.procore.com'
const PREFIXED: CallerBase = { origin: 'http://localhost:8377', prefix: '/acme' }
const BARE: CallerBase = { origin: 'http://acme.localhost:8377', prefix: '' }

t.test('URLs of the API origin come to the proxy, with the caller’s prefix', async (t) => {
  const cases: [reference: string, rest: string][] = [
    [API, ''],
    [`${API}/`, '/'],
    [`${API}?a=b`, '?a=b'],
    [`${API}#x`, '#x'],
    [`${API}/rest/v1.0/projects?page=2&q=%C3%A9%zz#f`, '/rest/v1.0/projects?page=2&q=%C3%A9%zz#f'],
    [`${API}//evil.example/x`, '//evil.example/x'],
    [`${API}/@evil`, '/@evil'],
    [`${API}:443/x`, '/x'],
    [`${API}:0443/x`, '/x'],
    [`${API}:/x`, '/x'],
    ['HTTPS://API.Procore.COM/Rest/X', '/Rest/X'],
    ['https://api.procore%2ecom/x', '/x'],
    ['//api.procore.com/x', '/x'],
    ['//API.procore.com:443?x', '?x'],
  ]
  for (const [reference, rest] of cases) {
    t.equal(rewriteUrl(reference, API, PREFIXED), `http://localhost:8377/acme${rest}`, reference)
    t.equal(rewriteUrl(reference, API, BARE), `http://acme.localhost:8377${rest}`, reference)
  }
})

t.test('URLs of any other origin stay as they are', async (t) => {
  for (const reference of [
    ...words`
      https://api.procore.com.evil.example/x https://api.procore.comx https://api.procore.com@evil.example/x
      https://api.procore.com:443@evil.example/ https://api.procore.com:x@evil.example/
      https://user@api.procore.com/x https://user:pw@api.procore.com/x https://:pw@api.procore.com/x
      https://api.procore.com:8443/x https://api.procore.com:99999/x https://api.procore.com./x
      https://login.procore.com/x http://api.procore.com/x ftp://api.procore.com/x
      javascript://api.procore.com/%0aalert(1) mailto:a@api.procore.com https:/api.procore.com/x
      https:api.procore.com/x https:// // ///api.procore.com/x //evil.example/x /\\evil.example/x
      /\\api.procore.com/x \\\\api.procore.com\\x https:\\\\api.procore.com\\x
      https://api.procore.com\\@evil.example/x https://api.procore.com\\.evil.example/x
      https://api.procore.com:443\\@evil.example/x https://[bad/x
      https://storage.example/file?next=https://api.procore.com/x
    `,
    ' https://api.procore.com/x',
  ]) {
    t.equal(rewriteUrl(reference, API, PREFIXED), reference, reference)
    t.equal(rewriteUrl(reference, API, BARE), reference, reference)
  }
})

t.test('A path gets the prefix; what is relative to the request’s own path needs none', async (t) => {
  t.equal(rewriteUrl('/rest/v1.0/x?page=2', API, PREFIXED), '/acme/rest/v1.0/x?page=2')
  t.equal(rewriteUrl('/rest/v1.0/x?page=2', API, BARE), '/rest/v1.0/x?page=2')
  t.equal(rewriteUrl('/', API, PREFIXED), '/acme/')
  for (const reference of ['', '?page=2', '#x', 'projects/5', './x', '../x', '*']) {
    t.equal(rewriteUrl(reference, API, PREFIXED), reference, reference)
  }
})

t.test('An API origin with a port is one with that port', async (t) => {
  const api = 'http://127.0.0.1:9001'
  t.equal(rewriteUrl(`${api}/x`, api, PREFIXED), 'http://localhost:8377/acme/x')
  t.equal(rewriteUrl('//127.0.0.1:9001/x', api, PREFIXED), 'http://localhost:8377/acme/x')
  t.equal(
    rewriteUrl('HTTP://0x7f.1:9001/x', api, PREFIXED),
    'http://localhost:8377/acme/x',
    'another spelling',
  )
  for (const other of [`${api}0/x`, 'http://127.0.0.1/x', 'https://127.0.0.1:9001/x', `${api}@evil/x`]) {
    t.equal(rewriteUrl(other, api, PREFIXED), other)
  }
  const six = 'http://[::1]:9001'
  t.equal(rewriteUrl(`${six}/x`, six, PREFIXED), 'http://localhost:8377/acme/x')
  t.equal(rewriteUrl('http://[0:0::1]:9001/x', six, PREFIXED), 'http://localhost:8377/acme/x')
})

t.test('Link: the targets change, everything around them stays byte for byte', async (t) => {
  const here = 'http://localhost:8377/acme'
  const cases: [value: string, wanted: string][] = [
    [`<${API}/x?page=2>; rel="next"`, `<${here}/x?page=2>; rel="next"`],
    [
      `<${API}/x?page=1>; rel="first", <${API}/x?page=9>;rel=last ,<https://other.example/y>; rel="z",`,
      `<${here}/x?page=1>; rel="first", <${here}/x?page=9>;rel=last ,<https://other.example/y>; rel="z",`,
    ],
    ['</rest/x?a=1,2;3>; rel="next"', '</acme/rest/x?a=1,2;3>; rel="next"'],
    [
      `<${API}/x>; rel="next"; title="a, <${API}/y> \\" <${API}/z>", <${API}/w>`,
      `<${here}/x>; rel="next"; title="a, <${API}/y> \\" <${API}/z>", <${here}/w>`,
    ],
    [`<${API}/x"y>; rel="next"`, `<${here}/x"y>; rel="next"`],
    [`<${API}/x>; title="never ends, <${API}/y>`, `<${here}/x>; title="never ends, <${API}/y>`],
    [`<<${API}/x>>`, `<<${here}/x>>`],
    [`<${API}/x`, `<${API}/x`],
    [`${API}/x`, `${API}/x`],
    ['<>', '<>'],
    ['', ''],
  ]
  for (const [value, wanted] of cases) t.equal(rewriteLink(value, API, PREFIXED), wanted, value)
})

t.test('A hostile Link takes no time', async (t) => {
  const started = performance.now()
  for (const unit of ['"\\', '\\"', '<', '<"', '"', '"<', '">', '<a']) {
    rewriteLink(`"${unit.repeat(500_000)}`, API, PREFIXED)
  }
  t.ok(performance.now() - started < 5_000, 'not even of a megabyte, and a header has 32 KB')
})

t.test('Whatever comes: only what led to the API is changed, and then it leads to the proxy', async () => {
  const piece = fc.constantFrom(
    ...words`https: HTTPS: http: / // \\\\ api.procore.com API.PROCORE.COM .evil.example`,
    ...['@', ':443', ':80', ':', '?', '#', '.', '..', 'x', '%2e', ' ', '\t'],
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 7 }), (pieces) => {
      const reference = pieces.join('')
      const rewritten = rewriteUrl(reference, API, BARE)
      if (rewritten === reference) return true
      const before = URL.parse(reference, `${API}/rest/x`)
      const after = URL.parse(rewritten, 'https://base.example')
      return before?.origin === API && after?.origin === BARE.origin && after.search === before.search
    }),
    { numRuns: 10_000 },
  )
})

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
    ...words`
      https:// https://storage.procore.com/\u0085 https://storage.procore.com\\x
      https://storage.procore.com/a\\b //storage.procore.com/a http://storage.procore.com/a
      ftp://storage.procore.com/a https:/storage.procore.com/a https://api.procore.com/rest/v1.0/me
      https://login.procore.com/x https://sandbox.procore.com/x https://evilprocore.com/x
      https://procore.com.evil.example/x https://procore.com@evil.example/x https://user@storage.procore.com/x
      https://storage.procore.com:443/x https://storage.procore.com./x
      https://evil.example/x?https://storage.procore.com/ https://s3.amazonaws.com/x
    `,
    '',
    'see https://storage.procore.com/a',
    'https://storage.procore.com/a b',
    'https://storage.procore.com/a\n',
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
