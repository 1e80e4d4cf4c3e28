// Covers src/routing/company.ts
import t from 'tap'
import { companyTable, cutPrefix, isForwardedPath, isOwnPath } from '../../src/routing/company.ts'
import { testConfig } from '../fixtures/config.ts'
import { words } from '../fixtures/words.ts'

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

t.test("A prefix that is one company's name and another's id is refused", async (t) => {
  const companies = [
    { name: '8', id: '9' },
    { name: 'acme', id: '8' },
    { name: '10', id: '10' },
  ]
  const digits = companyTable(testConfig({ companies }))
  t.throws(() => cutPrefix(digits, '/8/rest/x'), { code: 'company_conflict' })
  t.equal(cutPrefix(digits, '/10/rest/x').company?.id, '10')
  const alone = testConfig({ companies: [{ name: '8', id: '9' }], anyCompany: true })
  t.throws(() => cutPrefix(companyTable(alone), '/8/rest/x'), { code: 'company_conflict' })
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
