// Covers src/routing/raw-request.ts
import fc from 'fast-check'
import t from 'tap'
import {
  COMPANY_ID,
  decodeBytes,
  decodeFully,
  headerValues,
  METHOD_OVERRIDE,
  queryValues,
  quote,
  readingsOf,
  readTarget,
  segmentsAfter,
} from '../../src/routing/raw-request.ts'
import { words } from '../fixtures/words.ts'

const AUTHORITY = 'localhost:8377'
const invalid = { name: 'ProxyError', code: 'request_invalid' }

t.test('An origin-form target is split into the bytes as sent', async (t) => {
  const cases: [raw: string, path: string, query: string][] = [
    ['/', '/', ''],
    ['/rest/v1.0/me', '/rest/v1.0/me', ''],
    ['/rest/v1.0/me?', '/rest/v1.0/me', '?'],
    ['/rest/x?a=1?b=/../&c=\\&d=%zz', '/rest/x', '?a=1?b=/../&c=\\&d=%zz'],
    ['/rest/a%2Fb%20c', '/rest/a%2Fb%20c', ''],
    ['/rest/a//b', '/rest/a//b', ''],
    ['/rest/%C3%BC', '/rest/%C3%BC', ''],
    ['/rest/100%25', '/rest/100%25', ''],
    ['/rest/100%2525', '/rest/100%2525', ''],
    ['/rest/%25zz', '/rest/%25zz', ''],
    ["/rest/a;b=c/:@!$&'()*+,=", "/rest/a;b=c/:@!$&'()*+,=", ''],
    ['/.well-known/...', '/.well-known/...', ''],
    ['/rest/..a/a../.a;b/a.;b', '/rest/..a/a../.a;b/a.;b', ''],
  ]
  for (const [raw, path, query] of cases) {
    t.same(readTarget(raw, AUTHORITY), { path, query }, raw)
  }
})

t.test('An absolute-form target counts where it names the authority of the Host header', async (t) => {
  t.match(readTarget('http://localhost:8377/rest/x?y=1', AUTHORITY), { path: '/rest/x', query: '?y=1' })
  t.match(readTarget('HTTPS://LocalHost:8377/rest/x', AUTHORITY), { path: '/rest/x', query: '' })
  for (const [target, authority] of [
    ['http://localhost:80/a', 'localhost'],
    ['http://localhost/a', 'localhost:80'],
    ['http://localhost:/a', 'localhost'],
    ['http://localhost:/a', 'localhost:80'],
    ['https://localhost:443/a', 'localhost'],
    ['http://[::1]:80/a', '[::1]'],
  ] as const) {
    t.equal(readTarget(target, authority).path, '/a', `${target} for ${authority}`)
  }
  for (const [target, authority] of [
    ['http://localhost:443/a', 'localhost'],
    ['https://localhost:80/a', 'localhost'],
    ['http://localhost:8080/a', 'localhost'],
    ['http://localhost/a', 'localhost:443'],
  ] as const) {
    t.throws(() => readTarget(target, authority), invalid, `${target} for ${authority}`)
  }
})

t.test('Any other form of target is refused', async (t) => {
  const targets = [
    ...words`
      * rest/v1.0/me localhost:8377 ?x=1 http://evil/a http://localhost/a http://localhost:8377
      http://localhost:83770 http://localhost:8377?x=1 http://localhost:8377.evil.com/a http://localhost:8377@evil.com/a
      http://user@localhost:8377/a http:///a http:/localhost:8377/a ftp://localhost:8377/a file:///etc/passwd
    `,
    '',
    ' /a',
  ]
  for (const target of targets) t.throws(() => readTarget(target, AUTHORITY), invalid, target)
})

t.test('A path that two readers could understand in two ways is refused', async (t) => {
  const paths = words`
    /a/..%20/b /a/..%20 /a/%20../b /a/.%20./b /a/..%3f /a/..%3Fb /a/..%253fb /a/..%23b /a/.%3f /a/..%01/b
    /a/..%7f/b /a%25c0%25ae /a/%25c0%25ae%25c0%25ae/b /companies%25c0%25af999 /.. /. /a/../b /a/./b /a/.. /a/.
    /a/%2e%2e/b /a/%2E./b /a/.%2e/b /a/%2e/b /a/..%2fb /a%2f..%2fb /a/..;/b /a/..;x/b /a/.;x=y /a/..%3bx/b
    /a/..%253bx/b /a/%252e%252e/b /a/%25252e%25252e/b /a/%25%32%65%252e/b /a/.%252e%252fb /a/.%0a./b
    /a/.%0d%09./b /\\evil/a /a\\b /a%5cb /a%5Cb /a%255cb /a/..%5c.. /a%00 /a%2500 //evil/a // /%2f /%2Fevil
    /%252fevil /%09/evil /%5cevil /a%zz /a% /a%2 /a%u0041 /a%c0%ae /a%e0%80%ae /a%ff /a%c3 /a%ed%a0%80
  `
  for (const path of paths) {
    t.throws(() => readTarget(path, AUTHORITY), invalid, path)
    t.throws(() => readTarget(`${path}?x=1`, AUTHORITY), invalid, `${path} with a query`)
    t.throws(() => readTarget(`http://${AUTHORITY}${path}`, AUTHORITY), invalid, `${path} in absolute form`)
  }
})

t.test('A target with a control character, space, fragment or byte beyond ASCII is refused', async (t) => {
  for (const char of ['\0', '\t', '\r', '\n', ' ', '#', '\x7f', '\x80', '\xff', 'ü', '\u2028']) {
    t.throws(() => readTarget(`/a${char}b`, AUTHORITY), invalid, `in the path: U+${char.charCodeAt(0)}`)
    t.throws(() => readTarget(`/a?b${char}c`, AUTHORITY), invalid, `in the query: U+${char.charCodeAt(0)}`)
  }
})

t.test('A path of nothing but nested escapes is judged in time linear in its length', async (t) => {
  const nested = `/${'%25'.repeat(5000)}2e`
  t.equal(
    readTarget(nested, AUTHORITY).path,
    nested,
    'it decodes to many percent signs, which is no dot segment',
  )
  t.throws(() => readTarget(`/a/%${'25'.repeat(20_000)}2e/b`, AUTHORITY), invalid)
})

/** Decodes once, keeping what is no escape: deliberately another way than that of the source. */
function decodeLeniently(text: string): string {
  const parts = text.split('%')
  return parts
    .map((part, place) => {
      if (place === 0) return part
      const byte = /^[0-9a-fA-F][0-9a-fA-F]/.test(part) ? Number(`0x${part.slice(0, 2)}`) : -1
      return byte === -1 ? `%${part}` : String.fromCodePoint(byte) + part.slice(2)
    })
    .join('')
}

/** Says why a path is unfit, looking at it before and after each of many decodings. */
function oracle(path: string): string | undefined {
  for (let text = path, rounds = 0; rounds < 12; rounds++, text = decodeLeniently(text)) {
    if (text.startsWith('//')) return 'doubled slash'
    if (text.includes('\\')) return 'backslash'
    if (text.includes('\0')) return 'NUL'
    const segments = text.split('/').map((segment) => segment.split(';')[0])
    if (segments.includes('.') || segments.includes('..')) return 'dot segment'
  }
  return undefined
}

const escapes = words`% 2 5 e E f c 3b 00 %25 %2e %2F %5C %252e %32 %65`
const piece = fc.constantFrom('.', '..', '/', ';', 'a', 'rest', '\\', ...escapes)
const randomPath = fc.array(piece, { maxLength: 14 }).map((pieces) => `/${pieces.join('')}`)

t.test('No accepted path decodes to a dot segment, backslash, NUL or leading double slash', async () => {
  fc.assert(
    fc.property(randomPath, (path) => {
      let accepted = true
      try {
        const target = readTarget(path, AUTHORITY)
        if (target.path !== path || target.query !== '') throw new Error('the bytes changed')
      } catch (error) {
        if ((error as { code?: string }).code !== 'request_invalid') throw error
        accepted = false
      }
      return !accepted || oracle(path) === undefined
    }),
    { numRuns: 20_000 },
  )
})

t.test('A path without escapes is accepted exactly where nothing is wrong with it', async () => {
  const plain = fc.array(fc.constantFrom('.', '..', '/', ';', 'a', 'rest', '\\', '...'), { maxLength: 10 })
  fc.assert(
    fc.property(plain, (pieces) => {
      const path = `/${pieces.join('')}`
      let accepted = true
      try {
        readTarget(path, AUTHORITY)
      } catch {
        accepted = false
      }
      return accepted === (oracle(path) === undefined)
    }),
    { numRuns: 5000 },
  )
})

t.test('A plain path has one reading, others have more', async (t) => {
  const cases: [path: string, readings: string[]][] = [
    ['/rest/v1.0/me', ['/rest/v1.0/me']],
    ['/rest/v1.0/Me', ['/rest/v1.0/me']],
    ['/rest/v1.0/me/', ['/rest/v1.0/me/', '/rest/v1.0/me']],
    ['/rest//me', ['/rest//me', '/rest/me']],
    ['/rest/me.json', ['/rest/me.json', '/rest/me']],
    ['/rest/me.tar.gz', ['/rest/me.tar.gz', '/rest/me.tar', '/rest/me']],
    ['/rest/.json', ['/rest/.json', '/rest']],
    ['/rest/a;b/c;d', ['/rest/a;b/c;d', '/rest/a/c']],
    ['/rest/%61', ['/rest/%61', '/rest/a']],
    ['/rest/%2561', ['/rest/%2561', '/rest/%61', '/rest/a']],
    ['/rest/a%2Fb', ['/rest/a%2fb', '/rest/a/b']],
    ['/rest/%C3%BC', ['/rest/%c3%bc', '/rest/Ã¼'.toLowerCase()]],
    ['/rest/a%3Fb%23', ['/rest/a%3fb%23', '/rest/a?b#', '/rest/a']],
    ['/rest/%25zz%2561', ['/rest/%25zz%2561', '/rest/%zz%61', '/rest/%zza']],
    ['/rest/a%20%0A', ['/rest/a%20%0a', '/rest/a \n', '/rest/a']],
  ]
  for (const [path, readings] of cases) t.same(readingsOf(path), readings, path)
})

t.test('What is too long or escaped too often has none', async (t) => {
  t.equal(readingsOf('/rest/%25252561'), undefined)
  t.ok(readingsOf('/rest/%252561')?.includes('/rest/a'))
  t.equal(readingsOf(`/${'a'.repeat(4096)}`), undefined)
  t.same(readingsOf(`/${'a'.repeat(4095)}`)?.length, 1)
  for (const odd of ['.', ';', '/', '%', '%25', '%2e', ' ']) {
    const startedAt = performance.now()
    readingsOf(`/${odd.repeat(4095 / odd.length)}`)
    t.ok(performance.now() - startedAt < 250, odd)
  }
})

t.test('The segments after a name are found in every reading', async (t) => {
  const cases: [path: string, segments: string[]][] = [
    ['/rest/v1.0/me', []],
    ['/rest/v1.0/companies', []],
    ['/rest/v1.0/companies/', []],
    ['/rest/v1.0/companies/7/projects', ['7']],
    ['/rest/v1.0/companies//7/projects', ['7']],
    ['/rest/v1.0/companies/7/companies/8', ['7', '8']],
    ['/rest/companies/companies/8', ['companies', '8']],
    ['/rest/v1.0/companies%2f999', ['999']],
    ['/rest/v1.0/companies%252f999', ['999']],
    ['/rest/v1.0/%2563ompanies/999', ['999']],
    ['/rest/v1.0/companies;a/999', ['999']],
    ['/rest/v1.0/companies;a;b=c/999;d', ['999']],
    ['/rest/v1.0/companies%3ba/999', ['999']],
    ['/rest/v1.0/Companies/999', ['999']],
    ['/rest/v1.0/companies%20/999', ['999']],
    ['/rest/v1.0/compan%0aies/999', ['999']],
    ['/rest/mycompanies/7', []],
    ['/rest/companiesx/7', []],
  ]
  for (const [path, segments] of cases) t.same(segmentsAfter(readingsOf(path)!, 'companies'), segments, path)
})

t.test('What a server that decodes too early would take for a query is a query', async (t) => {
  const values = (path: string, query: string) => queryValues({ path, query }, COMPANY_ID)
  t.same(values('/rest/a', '?company_id=1'), ['1'])
  t.same(values('/rest/a%3Fcompany_id=1', ''), ['1'])
  t.same(values('/rest/a%253Fcompany_id=1', '?b&company_id=2'), ['2', '1'])
  t.throws(() => values('/rest/a%253Fcompany_id=%25zz', ''), { code: 'request_invalid' })
})

t.test('A parameter is found wherever and however it is written', async (t) => {
  const cases: [query: string, values: string[]][] = [
    ['', []],
    ['?', []],
    ['?a=1', []],
    ['?a=%20', []],
    ['?company_id=7', ['7']],
    ['?a=1&company_id=7&b', ['7']],
    ['?company_id=7&company_id=8', ['7', '8']],
    ['?a=1;company_id=7', ['7']],
    ['?company_id=7;a=1', ['7']],
    ['?company_id[]=7', ['7']],
    ['?company_id%5B%5D=7', ['7']],
    ['?company_id[x]=7', ['7']],
    ['?company_id]=7', ['7']],
    ['?[company_id]=7', ['7']],
    ['?company%5fid=7', ['7']],
    ['?%63ompany_id=%37', ['7']],
    ['?company_id=+7', [' 7']],
    ['?company_id=7%268', ['7&8']],
    ['?company_id=a=b', ['a=b']],
    ['?+company_id=7', ['7']],
    ['?company_id%20=7', ['7']],
    ['?company_id%00=7', ['7']],
    ['?company_id', ['']],
    ['?company_id=', ['']],
    ['?company_id=&company_id=7', ['', '7']],
    ['?company%255fid=7', ['7']],
    ['?company%25255fid=7', ['7']],
    ['?Company_ID=7', ['7']],
    ['?COMPANY%5FID[]=7', ['7']],
    ['?company_ids=7', []],
    ['?my_company_id=7', []],
    ['?filters[company_id]=7', []],
    ['?a=company_id', []],
    ['?a=company_id=7', []],
    ['?a=%zz&company_id=7', ['7']],
    ['?%zz=1&company_id=7', ['7']],
    ['?%ff=1', []],
  ]
  for (const [query, values] of cases) t.same(queryValues({ path: '', query }, COMPANY_ID), values, query)
})

t.test('A long query is read once for all parameters that are looked for in it', async (t) => {
  const msOf = (act: () => unknown) => {
    const begin = performance.now()
    act()
    return performance.now() - begin
  }
  const times = Array.from({ length: 5 }, (_, nth) => {
    const target = { path: '/rest/v1.0/projects', query: `?${nth}${'&%61=b'.repeat(5_000)}` }
    const first = msOf(() => t.same(queryValues(target, COMPANY_ID), []))
    return { first, next: msOf(() => queryValues(target, METHOD_OVERRIDE)) }
  })
  const best = (which: 'first' | 'next') => Math.min(...times.map((each) => each[which]))
  t.ok(best('next') * 5 < best('first'), JSON.stringify(times))
})

t.test('What can be no other key, or is its value, must be decodable', async (t) => {
  const queries = words`
    ?company_id=%zz ?company_id=% ?company_id=%ff ?company_id[]=7%c0%ae ?company_id%zz=7 ?company_id%ff=7
    ?%ffcompany_id=7 ?%company_id=7 ?company%zz_id=7 ?company%ff_id=7 ?company%5fid%=7
  `
  for (const query of queries) {
    t.throws(() => queryValues({ path: '', query }, COMPANY_ID), { code: 'request_invalid' }, query)
  }
})

t.test('The override of the method is found in the same spellings', async (t) => {
  for (const query of ['?_method=put', '?a=1;_METHOD=put', '?%5Fmethod=put', '?%255Fmethod[]=put']) {
    t.same(queryValues({ path: '', query }, METHOD_OVERRIDE), ['put'], query)
  }
  t.same(queryValues({ path: '', query: '?http_method=put' }, METHOD_OVERRIDE), [])
})

t.test('Escapes are decoded once or fully, byte by byte', async (t) => {
  const cases: [text: string, once: string, fully: string][] = [
    ['abc', 'abc', 'abc'],
    ['%61%2F', 'a/', 'a/'],
    ['%2561', '%61', 'a'],
    ['%25%36%31', '%61', 'a'],
    ['%zz%2', '%zz%2', '%zz%2'],
    ['%c3%a9', '\xc3\xa9', '\xc3\xa9'],
  ]
  for (const [text, once, fully] of cases) t.same([decodeBytes(text), decodeFully(text)], [once, fully], text)
})

t.test('Escapes of escapes cost no more than they are long', async (t) => {
  const before = performance.now()
  t.equal(decodeFully(`%${'25'.repeat(100_000)}2e`), '.')
  t.ok(performance.now() - before < 2_000)
})

t.test('A quoted value is short and holds nothing that a log or terminal would act on', async (t) => {
  const cases: [string, string][] = [
    ['evil.com', '"evil.com"'],
    ['', '""'],
    ['a"b\r\nc\u001b[31m', '"abc[31m"'],
    ['a\u202eb\u2066c\ufeff\u0085', '"abc"'],
    ['x'.repeat(80), `"${'x'.repeat(80)}"`],
    ['x'.repeat(5000), `"${'x'.repeat(80)}…"`],
    [`${'x'.repeat(79)}😀`, `"${'x'.repeat(79)}\ufffd…"`],
  ]
  for (const [value, quoted] of cases) t.equal(quote(value), quoted)
})

t.test('Every value of a header is given, in any case of its name and in order', async (t) => {
  const raw = ['Host', 'a', 'X-Thing', '1', 'HOST', '', 'host', 'c', 'Hostt', 'd']
  t.same(headerValues(raw, 'host'), ['a', '', 'c'])
  t.same(headerValues(raw, 'x-thing'), ['1'])
})

t.test('A header that is missing has no values', async (t) => {
  t.same(headerValues(['A', 'host'], 'host'), [])
  t.same(headerValues([], 'host'), [])
  t.same(headerValues(['host'], 'host'), [], 'a name without a value is no header')
})
