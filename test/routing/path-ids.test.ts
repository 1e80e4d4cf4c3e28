// Covers src/routing/path-ids.ts
import t from 'tap'
import { idsInPath } from '../../src/routing/path-ids.ts'

t.test('Ids are found after every companies segment', async (t) => {
  const cases: [path: string, ids: string[]][] = [
    ['/rest/v1.0/me', []],
    ['/rest/v1.0/companies', []],
    ['/rest/v1.0/companies/', []],
    ['/rest/v1.0/companies/7', ['7']],
    ['/rest/v1.0/companies/7/', ['7']],
    ['/rest/v1.0/companies/7/projects', ['7']],
    ['/rest/v1.0/companies/7.json', ['7']],
    ['/rest/v1.0/companies/7;x=8/projects', ['7']],
    ['/rest/v1.0/companies//7/projects', ['7']],
    ['/rest/v1.0/companies/7/companies/8', ['7', '8']],
    ['/rest/companies/companies/8', ['8']],
    ['/companies/companies//companies/8/companies/companies', ['8']],
    ['/rest/mycompanies/7', []],
    ['/rest/companiesx/7', []],
  ]
  for (const [path, ids] of cases) t.same(idsInPath(path), ids, path)
})

t.test('A segment that Ruby would read as a number is an id, though not a canonical one', async (t) => {
  for (const segment of [
    '07',
    '7-acme',
    '7x',
    '+7',
    '-7',
    '_7',
    ' 7',
    '\n7',
    '7 ',
    '7\n',
    '0x1f',
    '1e3',
    '7?',
    ' _7',
  ]) {
    t.same(idsInPath(`/rest/v1.0/companies/${segment}/x`), [segment], JSON.stringify(segment))
  }
  for (const segment of ['me', 'acme7', 'x', '.7', ';7', '%37', '-', '']) {
    t.same(idsInPath(`/rest/v1.0/companies/${segment}`), [], JSON.stringify(segment))
  }
})
