// Covers src/routing/raw-request.ts
import t from 'tap'
import { queriesOf, readingsOf, segmentsAfter } from '../../src/routing/raw-request.ts'

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
  t.same(queriesOf('/rest/a', '?b'), ['?b'])
  t.same(queriesOf('/rest/a%3Fc=1', ''), ['', '?c=1'])
  t.same(queriesOf('/rest/a%253Fc=1', '?b'), ['?b', '?c=1'])
})
