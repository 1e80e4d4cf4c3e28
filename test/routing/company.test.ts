// Covers src/routing/company.ts
import fc from 'fast-check'
import t from 'tap'
import type { ErrorCode } from '../../src/errors.ts'
import {
  type Choice,
  chooseCompany,
  companyOfId,
  companyTable,
  cutPrefix,
  fixedCompany,
  isForwardedPath,
  isOwnPath,
  shownTo,
} from '../../src/routing/company.ts'
import { readTarget } from '../../src/routing/raw-request.ts'
import { testConfig } from '../fixtures/config.ts'
import { words } from '../fixtures/words.ts'

const GLOBEX = '562949953443325'
const acme = { name: 'acme', id: '7656' }
const globex = { name: 'globex', id: GLOBEX }

const tables = {
  two: companyTable(testConfig({ companies: [acme, globex] })),
  default: companyTable(testConfig({ companies: [{ ...acme, isDefault: true }, globex] })),
  one: companyTable(testConfig({ companies: [acme] })),
  any: companyTable(testConfig({ companies: [acme, globex], anyCompany: true })),
  anyOne: companyTable(testConfig({ companies: [acme], anyCompany: true })),
  anyAlone: companyTable(testConfig({ companies: [], anyCompany: true })),
}

interface Sent {
  readonly listener?: string
  readonly label?: string
  readonly headers?: readonly string[]
}

function choose(table: keyof typeof tables, target: string, sent: Sent = {}): Choice {
  return chooseCompany(tables[table], {
    listenerCompany: sent.listener,
    hostLabel: sent.label,
    target: readTarget(target, 'localhost'),
    companyIdHeaders: sent.headers ?? [],
  })
}

t.test('Every way of naming a company chooses it and says why', async (t) => {
  const cases: [table: keyof typeof tables, target: string, sent: Sent, name: string, why: RegExp][] = [
    ['two', '/rest/v1.0/me', { listener: 'globex' }, 'globex', /^listen address$/],
    ['two', '/rest/v1.0/me', { label: 'globex' }, 'globex', /^host globex.localhost$/],
    ['two', '/globex/rest/v1.0/me', {}, 'globex', /^path prefix \/globex$/],
    ['two', `/${GLOBEX}/rest/v1.0/me`, {}, 'globex', /^path prefix \/562949953443325$/],
    ['two', '/rest/v1.0/me', { headers: ['7656'] }, 'acme', /header/],
    ['two', '/rest/v1.0/me', { headers: ['', '7656', '7656'] }, 'acme', /header/],
    ['two', `/rest/v1.0/companies/${GLOBEX}/projects`, {}, 'globex', /path/],
    ['two', `/rest/v1.0/companies/${GLOBEX}`, {}, 'globex', /path/],
    ['two', `/rest/v1.0/companies/${GLOBEX}.json`, {}, 'globex', /path/],
    ['two', '/rest/v1.0/companies/%37656/x', {}, 'acme', /path/],
    ['two', `/rest/v1.0/projects?a=1&company_id=${GLOBEX}`, {}, 'globex', /query/],
    ['two', `/rest/v1.0/projects?company%5Fid[]=${GLOBEX}`, {}, 'globex', /query/],
    ['two', `/vapid/projects?company_id=${GLOBEX}`, {}, 'globex', /query/],
    ['default', '/rest/v1.0/me', {}, 'acme', /default/],
    ['default', '/rest/v1.0/companies/me', {}, 'acme', /default/],
    ['default', '/rest/v1.0/me', { headers: [''] }, 'acme', /default/],
    ['default', '/rest/v1.0/me?company_id=', {}, 'acme', /default/],
    ['one', '/rest/v1.0/me', {}, 'acme', /only/],
    ['any', '/rest/v1.0/me', { headers: ['999'] }, '999', /header/],
    ['any', '/999/rest/v1.0/me', {}, '999', /prefix/],
    ['any', '/rest/v1.0/companies/999/x', {}, '999', /path/],
    ['anyAlone', '/rest/v1.0/x?company_id=999', {}, '999', /query/],
    ['any', '/rest/v1.0/me', { headers: ['7656'] }, 'acme', /header/],
  ]
  for (const [table, target, sent, name, why] of cases) {
    const choice = choose(table, target, sent)
    t.match(choice, { name, why }, `${target} ${JSON.stringify(sent)}`)
    t.equal(choice.route, 'forward')
    t.equal(choice.id, { acme: '7656', globex: GLOBEX }[name] ?? name)
  }
})

t.test('What stands earlier in the order of section 4 wins, as long as all agree', async (t) => {
  const all = { listener: 'globex', label: 'globex', headers: [GLOBEX] }
  const target = `/globex/rest/v1.0/companies/${GLOBEX}/x?company_id=${GLOBEX}`
  t.match(choose('default', target, all), { name: 'globex', prefix: '/globex', why: 'listen address' })
  t.match(choose('default', target, { label: 'globex' }).why, /^host/)
  t.match(choose('default', target, { headers: [GLOBEX] }).why, /^path prefix/)
  t.match(choose('default', target.slice(7), { headers: [GLOBEX] }).why, /header/)
  t.match(choose('default', target.slice(7)).why, /the path/)
})

t.test('The prefix is cut and the rest of the path kept as sent', async (t) => {
  t.match(choose('two', '/7656/rest/a%2Fb//c'), { prefix: '/7656', path: '/rest/a%2Fb//c', id: '7656' })
  t.match(choose('two', '/rest/a', { label: 'acme' }), { prefix: '', path: '/rest/a' })
})

t.test('Two places that fix two companies are a conflict', async (t) => {
  const cases: [target: string, sent: Sent][] = [
    ['/rest/x', { listener: 'acme', label: 'globex' }],
    ['/globex/rest/x', { listener: 'acme' }],
    ['/globex/rest/x', { label: 'acme' }],
    [`/${GLOBEX}/rest/x`, { label: 'acme' }],
    ['/999/rest/x', { label: 'acme' }],
    ['/globex/rest/x', { listener: 'acme', label: 'acme' }],
    ['/globex/favicon.ico', { listener: 'acme', label: 'globex' }],
  ]
  for (const [target, sent] of cases) {
    t.throws(
      () => choose('any', target, sent),
      { code: 'company_conflict' },
      `${target} ${JSON.stringify(sent)}`,
    )
  }
})

/** Each way of choosing acme. */
const WAYS_TO_ACME: readonly [way: string, table: keyof typeof tables, prefix: string, sent: Sent][] = [
  ['listener', 'two', '', { listener: 'acme' }],
  ['label', 'two', '', { label: 'acme' }],
  ['name prefix', 'two', '/acme', {}],
  ['id prefix', 'any', '/7656', {}],
  ['header', 'any', '', { headers: ['7656'] }],
]

/** Those ways, each as a function of the rest of the path and of what else is in the header. */
const waysToAcme = WAYS_TO_ACME.map(([way, table, prefix, sent]) => {
  const request = (path: string, others: readonly string[] = []) =>
    choose(table, prefix + path, { ...sent, headers: [...(sent.headers ?? []), ...others] })
  return [way, request] as const
})

const CONFLICTING = words`
  /rest/v1.0/companies/${GLOBEX}/x /rest/v1.0/companies/999 /rest/v1.0/companies/07656/x
  /rest/v1.0/companies/7656-acme/x /rest/v1.0/companies/76560/x /rest/v1.0/companies/+7656/x
  /rest/v1.0/companies/-7656/x /rest/v1.0/companies/_7656/x /rest/v1.0/companies/%207656/x
  /rest/v1.0/companies/7656%0a/x /rest/v1.0/companies/7656%3F/x /rest/v1.0/companies/999.json
  /rest/v1.0/companies/7656.0/x /rest/v1.0/companies/7656.0
  /rest/v1.0/companies/999;7656/x /rest/v1.0/companies/%39 /rest/v1.0/companies%2f999
  /rest/v1.0/companies%252f999 /rest/v1.0/companies;a/999 /rest/v1.0/companies%3ba/999
  /rest/v1.0/Companies/999 /rest/v1.0/%43ompanies/999 /rest/v1.0/companies%20/999 /rest/v1.0/companies%0a/999
  /rest/v1.0/me%3fcompany_id=999 /rest/v1.0/me%253fcompany_id=999 /rest/x?company%255fid=999
  /rest/x?Company_ID=999 /rest/v1.0/companies//999/x /rest/v1.0/companies/7656/companies/999
  /rest/v1.0/companies/companies/999 /rest/v1.0/companies/me/companies/999 /vapid/companies/999/x
  /rest/x?company_id=${GLOBEX} /rest/x?company_id=999 /rest/x?company_id=07656 /rest/x?company_id=+7656
  /rest/x?company_id=7656+ /rest/x?company_id=7656,999 /rest/x?company_id=acme /rest/x?company_id[]=999
  /rest/x?company_id%5b%5d=999 /rest/x?company_id=7656&company_id=999 /rest/x?company_id=999&company_id=7656
  /rest/v1.0/companies/7656x/x /rest/x?company_id[0]=999 /rest/x?+company_id=999 /rest/x?company_id%00=999
  /rest/x?company_id=7656%00 /rest/x?company_id=7656.0 /rest/x?company_id=7656;company_id=999
  /rest/x?a=1;company_id=999 /rest/x?%63ompany_id=999 /rest/x?company_id=%399 /rest/x?[company_id]=999
`

t.test('No way of choosing a company lets another id through in path or query', async (t) => {
  for (const [way, request] of waysToAcme) {
    for (const path of CONFLICTING) {
      t.throws(() => request(path), { code: 'company_conflict' }, `${way}: ${path}`)
    }
  }
  for (const table of ['default', 'one'] as const) {
    t.throws(() => choose(table, '/vapid/companies/999/x'), { code: 'company_conflict' }, table)
  }
})

t.test('No way of choosing a company lets another id through in the header', async (t) => {
  for (const [way, request] of waysToAcme) {
    for (const other of [GLOBEX, '999', '07656', 'acme', ' 7656', '7656, 999']) {
      t.throws(() => request('/rest/x', [other]), { code: 'company_conflict' }, `${way}: ${other}`)
    }
    t.equal(request('/rest/v1.0/companies/7656.json?company_id=7656', ['', '7656']).name, 'acme', way)
  }
  t.throws(() => choose('two', '/rest/x', { headers: [GLOBEX, '7656'] }), { code: 'company_conflict' })
  t.throws(() => choose('two', '/rest/v1.0/companies/7656/x?company_id=8'), { code: 'company_conflict' })
})

t.test('Ids that a request names twice the same are fine', async (t) => {
  for (const [way, request] of waysToAcme) {
    for (const path of words`
      /rest/v1.0/companies/7656/x?company_id=7656
      /rest/v1.0/companies/7656;v=1/x?company_id[]=7656&company_id=&q=company_id /rest/v1.0/companies/me
      /rest/x?filters[company_id]=999&x=%zz
    `) {
      t.equal(request(path).name, 'acme', `${way}: ${path}`)
    }
  }
})

t.test('What can not be answered is refused with the code that says why', async (t) => {
  const cases: [table: keyof typeof tables, target: string, sent: Sent, code: ErrorCode][] = [
    ['two', '/rest/v1.0/me', {}, 'company_required'],
    ['two', '/vapid/companies/7656/x', {}, 'company_required'],
    ['two', '/rest/v1.0/projects/1/companies/7656', {}, 'company_required'],
    ['two', '/rest/v1.0/companies%2F7656%2Fx', {}, 'company_required'],
    ['default', `/rest/v1.0/projects/1/companies/${GLOBEX}`, {}, 'company_conflict'],
    ['anyOne', '/rest/v1.0/me', {}, 'company_required'],
    ['anyAlone', '/rest/v1.0/me', {}, 'company_required'],
    ['two', '/_proxy/files/h/p', {}, 'company_required'],
    ['one', '/rest/x', { label: 'initech' }, 'company_unknown'],
    ['one', '/rest/x', { label: '7656' }, 'company_unknown'],
    ['one', '/rest/x', { label: '' }, 'company_unknown'],
    ['any', '/rest/x', { label: '999' }, 'company_unknown'],
    ['one', '/rest/x', { label: 'x.acme' }, 'company_unknown'],
    ['one', '/rest/x', { listener: 'initech' }, 'company_unknown'],
    ['one', '/initech/rest/x', {}, 'company_unknown'],
    ['one', '/999/vapid/x', {}, 'company_unknown'],
    ['one', '/initech/oauth/token', {}, 'company_unknown'],
    ['one', '/initech/_proxy/files/h', {}, 'company_unknown'],
    ['any', '/0999/rest/x', {}, 'company_unknown'],
    ['one', '/rest/x', { headers: ['999'] }, 'company_unknown'],
    ['one', '/rest/x', { headers: ['acme'] }, 'company_unknown'],
    ['one', '/rest/x', { headers: ['constructor'] }, 'company_unknown'],
    ['one', '/rest/x', { label: '__proto__' }, 'company_unknown'],
    ['any', '/rest/x', { headers: ['0999'] }, 'company_unknown'],
    ['any', '/rest/x', { headers: ['999999999999999999999'] }, 'company_unknown'],
    ['any', '/rest/x', { headers: ['7656, 7656'] }, 'company_unknown'],
    ['default', '/rest/v1.0/companies/999/x', {}, 'company_unknown'],
    ['any', '/rest/v1.0/companies/07656/x', {}, 'company_unknown'],
    ['default', '/rest/x?company_id=999', {}, 'company_unknown'],
    ['any', '/rest/x?company_id=acme', {}, 'company_unknown'],
    ['one', '/rest/x?company_id=%zz', {}, 'request_invalid'],
    ['one', '/rest/%25252525a', {}, 'request_invalid'],
    ['one', `/rest/${'a'.repeat(4096)}`, {}, 'request_invalid'],
    ['one', '/rest/x?company_id%zz=1', {}, 'request_invalid'],
    ['one', '/favicon.ico', {}, 'route_unknown'],
    ['one', '/foo', {}, 'route_unknown'],
    ['one', '/acme', {}, 'route_unknown'],
    ['one', '/acme/foo', {}, 'route_unknown'],
    ['one', '/acme/acme/rest/x', {}, 'route_unknown'],
    ['one', '/initech/foo', {}, 'route_unknown'],
    ['one', '/Acme/rest/x', {}, 'route_unknown'],
    ['one', '/rest', {}, 'route_unknown'],
    ['one', '/rest?x', {}, 'route_unknown'],
    ['one', '/%72est/x', {}, 'route_unknown'],
    ['one', '/acme/oauth/authorize', {}, 'route_unknown'],
    ['one', '/foo?company_id=999', { headers: ['999'] }, 'route_unknown'],
    ['one', '/foo', { label: 'initech' }, 'company_unknown'],
  ]
  for (const [table, target, sent, code] of cases) {
    t.throws(() => choose(table, target, sent), { code }, `${table}: ${target} ${JSON.stringify(sent)}`)
  }
})

t.test('company_required names what is configured, ten at most', async (t) => {
  const many = Array.from({ length: 12 }, (_, place) => ({ name: `co${place}`, id: `${place + 1}` }))
  const table = companyTable(testConfig({ companies: many }))
  const target = readTarget('/rest/x', 'localhost')
  const request = { listenerCompany: undefined, hostLabel: undefined, target, companyIdHeaders: [] }
  t.throws(() => chooseCompany(table, request), { message: /: co0, co1, .*, co9, …\.$/ })
  t.throws(() => choose('two', '/rest/x'), { message: /: acme, globex\.$/ })
  t.throws(() => choose('anyAlone', '/rest/x'), { message: /any company id/ })
  for (const sent of [{ label: 'no' }, { headers: ['9'] }]) {
    t.throws(() => choose('two', '/rest/x', sent), { message: /Configured are: acme, globex\.$/ })
  }
  const acmeAlone = shownTo(tables.two, new Set(['acme']))
  t.throws(() => chooseCompany(acmeAlone, request), { message: /: acme\.$/ }, 'to whom it may see no other')
  t.throws(() => cutPrefix(acmeAlone, '/no/rest/x'), { message: /: acme\.$/ })
  t.equal(shownTo(tables.two, undefined), tables.two)
})

t.test("Paths of the proxy's own that need a company get one", async (t) => {
  t.match(choose('two', '/globex/_proxy/files/h/p?q'), {
    route: 'own',
    name: 'globex',
    path: '/_proxy/files/h/p',
  })
  t.match(choose('one', '/oauth/token'), { route: 'own', name: 'acme' })
  t.throws(() => choose('one', '/_proxy/files/h/companies/999/x'), { code: 'company_conflict' })
})

t.test('The fixed company can be asked for alone', async (t) => {
  const cut = (path: string) => cutPrefix(tables.two, path)
  const nowhere = { listenerCompany: undefined, hostLabel: undefined }
  t.equal(fixedCompany(tables.two, nowhere, cut('/_proxy/status')), undefined)
  t.equal(fixedCompany(tables.two, { ...nowhere, hostLabel: 'acme' }, cut('/_proxy/'))?.company.name, 'acme')
  t.throws(() => fixedCompany(tables.two, { ...nowhere, hostLabel: 'no' }, cut('/_proxy/')), {
    code: 'company_unknown',
  })
})

/** Spells a text anew: each character plain, escaped once or twice, or in the other case. */
const spelt = (text: string) =>
  fc.array(fc.nat(11), { minLength: text.length, maxLength: text.length }).map((odds) =>
    [...text]
      .map((char, place) => {
        const hex = char.charCodeAt(0).toString(16)
        return [`%${hex}`, `%25${hex}`, char.toUpperCase(), `%${hex.toUpperCase()}`][odds[place]!] ?? char
      })
      .join(''),
  )

t.test('No spelling of another company, in path or query, goes up', async () => {
  const path = fc
    .tuple(
      spelt('companies'),
      fc.constantFrom('/', '//', '%2f', '%252F', ';a/', '%3ba/', '%20/'),
      spelt('999'),
    )
    .map(([name, slash, id]) => `/rest/v1.0/${name}${slash}${id}/x`)
  const key = fc.oneof(
    spelt('company_id'),
    spelt('company_id').map((name) => `${name}[]`),
  )
  const query = fc
    .tuple(key, fc.constantFrom('=', '%5B%5D='))
    .map(([name, end]) => `/rest/x?a=1&${name}${end}999`)
  fc.assert(
    fc.property(fc.oneof(path, query), (target) => {
      try {
        choose('two', `/acme${target}`)
        return false
      } catch (error) {
        return ['company_conflict', 'request_invalid'].includes((error as { code: string }).code)
      }
    }),
    { numRuns: 5_000 },
  )
})

// One id most of the time, so that a good part of the requests agree with themselves.
const someId = fc.constantFrom('1', '1', '1', '1', '1', '1', '2', '12', '99999999999999999999')
const someCompanies = fc
  .uniqueArray(fc.constantFrom('1', '1', '2', '12', '99999999999999999999'), { maxLength: 3 })
  .map((ids) => ids.map((id, place) => ({ name: ['a', 'companies', 'b'][place]!, id })))
const spelling = fc.constantFrom('', '0', '+', ' ', '_', '-').chain((lead) => someId.map((id) => lead + id))
const segment = fc.oneof(someId, someId, spelling, fc.constantFrom('me', 'companies', '', '1.json', '2;x'))
const key = fc.constantFrom('company_id', 'company_id[]', 'company%5Fid', 'x', '%63ompany_id')
const seldom = (...names: string[]) =>
  fc.constantFrom(...names, ...Array.from({ length: 9 }, () => undefined))
const randomRequest = fc.record({
  prefix: fc.oneof(
    fc.constant(''),
    fc.constantFrom('/a', '/b', '/companies'),
    someId.map((id) => `/${id}`),
  ),
  segments: fc.array(segment, { maxLength: 3 }),
  query: fc.array(fc.tuple(key, fc.oneof(someId, spelling)), { maxLength: 2 }),
  headers: fc.array(fc.oneof(someId, fc.constant('')), { maxLength: 2 }),
  listener: seldom('a', 'b', 'c'),
  label: seldom('a', 'b', 'c'),
})

/** Every id that a number-minded reader finds, found in another way than in the source. */
function idsNamed(path: string, query: string, headers: readonly string[]): string[] {
  const segments = decodeURIComponent(path).split(/\/+/)
  const inPath = segments.filter((_, place) => segments[place - 1] === 'companies')
  const inQuery = [...new URLSearchParams(query)].filter(([name]) => /^company_id(\[\])?$/.test(name))
  return [
    ...inPath.filter((text) => /\d/.test(text)).map((text) => text.replace(/\.json$|;x$/, '')),
    ...inQuery.map(([, value]) => value),
    ...headers,
  ].filter((id) => id !== '')
}

t.test('The chosen id is never contradicted by any id that the request names', async (t) => {
  let chosen = 0
  fc.assert(
    fc.property(someCompanies, fc.boolean(), fc.boolean(), randomRequest, (companies, any, marked, sent) => {
      const config = testConfig({
        companies: companies.map((company, place) => ({ ...company, isDefault: marked && place === 0 })),
        anyCompany: any,
      })
      const path = `/rest/v1.0/companies/${sent.segments.map(encodeURIComponent).join('/')}`
      const query =
        sent.query.length === 0
          ? ''
          : `?${sent.query.map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join('&')}`
      let choice: Choice
      try {
        choice = chooseCompany(companyTable(config), {
          listenerCompany: sent.listener,
          hostLabel: sent.label,
          target: readTarget(sent.prefix + path + query, 'localhost'),
          companyIdHeaders: sent.headers,
        })
      } catch (error) {
        return ['company_conflict', 'company_unknown', 'company_required'].includes(
          (error as { code: string }).code,
        )
      }
      chosen++
      const configured = companies.find((company) => company.id === choice.id)
      const fixed = [sent.listener, sent.label, sent.prefix.slice(1) || undefined].filter(
        (x) => x !== undefined,
      )
      return (
        choice.path === path &&
        choice.prefix === sent.prefix &&
        (configured === undefined
          ? any && choice.company === config.anyCompany
          : choice.name === configured.name) &&
        fixed.every((named) => named === choice.name || named === choice.id) &&
        idsNamed(path, query, sent.headers).every((id) => id === choice.id)
      )
    }),
    { numRuns: 20_000 },
  )
  t.ok(chosen > 1000, 'enough of the random requests were answered to tell')
})

const table = companyTable(testConfig())
const open = companyTable(testConfig({ anyCompany: true }))

t.test('The name or id of a company is cut where a known route follows', async (t) => {
  const cases: [path: string, prefix: string, rest: string, name: string][] = [
    ['/acme/rest/v1.0/me', '/acme', '/rest/v1.0/me', 'acme'],
    ['/7656/vapid/x', '/7656', '/vapid/x', 'acme'],
    ['/562949953443325/rest/', '/562949953443325', '/rest/', 'globex'],
    ['/globex/_proxy/files/h/p', '/globex', '/_proxy/files/h/p', 'globex'],
    ['/globex/oauth/token', '/globex', '/oauth/token', 'globex'],
    ['/acme/oauth/authorize', '/acme', '/oauth/authorize', 'acme'],
  ]
  for (const [path, prefix, rest, name] of cases) {
    const cut = cutPrefix(table, path)
    t.same([cut.prefix, cut.path, cut.company?.name], [prefix, rest, name], path)
  }
  t.match(cutPrefix(open, '/999/rest/x'), { prefix: '/999', path: '/rest/x', company: { id: '999' } })
})

t.test('Any other path comes back whole', async (t) => {
  const paths = words`
    / /rest/v1.0/me /rest/rest/x /rest /acme /acme/ /acme/foo /acme/rest /acme//rest/x /acme/acme/rest/x
    /acme/%72est/x /favicon.ico /foo/bar /Acme/rest/x /ac%6de/rest/x /-acme/rest/x /_acme/rest/x
    /acme;x/rest/x /oauth/token /_proxy/status /_proxy/rest/x /oauth/rest/x /vapid/rest/x
  `
  for (const path of paths) t.same(cutPrefix(table, path), { prefix: '', path, company: undefined }, path)
})

t.test('A prefix that could be a company but is none is refused', async (t) => {
  for (const first of ['initech', '999', 'a', '0', 'acme-', 'constructor', '123456789012345678901']) {
    for (const rest of ['/rest/x', '/vapid/x', '/oauth/token', '/_proxy/']) {
      t.throws(() => cutPrefix(table, `/${first}${rest}`), { code: 'company_unknown' }, first + rest)
    }
  }
  for (const first of ['initech', '0', '0999', '123456789012345678901']) {
    t.throws(() => cutPrefix(open, `/${first}/rest/x`), { code: 'company_unknown' }, `${first} under "*"`)
  }
})

t.test('The proxy answers a few paths itself and forwards two trees', async (t) => {
  for (const path of words`/ /_proxy /_proxy/ /_proxy/status /oauth/token /oauth/token/info /oauth/revoke`) {
    t.ok(isOwnPath(path), path)
    t.notOk(isForwardedPath(path), path)
  }
  for (const path of ['/rest/', '/rest/v1.0/me', '/vapid/x']) {
    t.ok(isForwardedPath(path), path)
    t.notOk(isOwnPath(path), path)
  }
  for (const path of words`/rest /restx/ /REST/x /_proxyx /oauth/ /oauth/token/ /oauth/authorize`) {
    t.notOk(isOwnPath(path) || isForwardedPath(path), path)
  }
})

t.test('"*" serves every canonical id that no company has', async (t) => {
  const config = testConfig({ anyCompany: true })
  const table = companyTable(config)
  t.same(companyOfId(table, '999'), { name: '999', id: '999', company: config.anyCompany })
  t.equal(companyOfId(table, '7656')?.name, 'acme', 'a configured id stays with its company')
  t.equal(companyOfId(table, '99999999999999999999')?.id, '99999999999999999999', 'twenty digits')
  for (const id of [
    ...words`
      0 07 +7 acme 1e3 ٣ 999999999999999999999 *
    `,
    '',
    ' 7',
    '7 ',
    '7\n',
  ]) {
    t.equal(companyOfId(table, id), undefined, JSON.stringify(id))
  }
  t.equal(companyOfId(companyTable(testConfig()), '999'), undefined, 'without "*" no company does')
})
