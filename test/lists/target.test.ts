// Twin of src/lists/target.ts.
import t from 'tap'
import { forProject, readListTarget } from '../../src/lists/target.ts'

t.test('an address is the form, the path of the API and its query', async (t) => {
  t.same(
    readListTarget(
      '/_proxy/csv/rest/v1.0/projects?a=1&&b[]=%20x&_columns=id,+company.name,&_bom=1&%5Fmethod=put',
    ),
    {
      form: 'csv',
      path: '/rest/v1.0/projects',
      pairs: ['a=1', 'b[]=%20x'],
      isForEachProject: false,
      columns: ['id', 'company.name'],
      bom: true,
    },
  )
  t.match(readListTarget('/_proxy/ndjson/vapid/projects'), { form: 'ndjson', pairs: [], bom: false })
})

t.test('paths that are no list of the API are unknown', async (t) => {
  for (const url of [
    '/_proxy/csv/',
    '/_proxy/csv/oauth/token',
    '/_proxy/%63sv/rest/v1.0/x',
    '/_proxy/xml/rest/v1.0/x',
  ]) {
    t.throws(() => readListTarget(url), { code: 'route_unknown' }, url)
  }
  t.throws(() => readListTarget('/_proxy/csv/rest/v1.0/x?a%=1'), { code: 'request_invalid' })
})

t.test('a star in the place of a project id is filled in', async (t) => {
  const cases = [
    ['/rest/v1.0/projects/*/rfis?a=1', '/rest/v1.0/projects/5/rfis', ['a=1']],
    ['/rest/v2.1/companies/9/projects/*/budgets', '/rest/v2.1/companies/9/projects/5/budgets', []],
    ['/rest/v1.0/rfis?project_id=*', '/rest/v1.0/rfis', ['project_id=5']],
    ['/rest/v1.0/rfis?project%5Fid=%2A', '/rest/v1.0/rfis', ['project_id=5']],
  ] as const
  for (const [url, path, pairs] of cases) {
    const target = readListTarget(`/_proxy/json${url}`)
    t.ok(target.isForEachProject, url)
    t.match(forProject(target, '5'), { path, pairs })
  }
  for (const url of ['/rest/v1.0/projects/*', '/rest/v1.0/x/*/rfis', '/rest/v1.0/rfis?id=*']) {
    t.notOk(readListTarget(`/_proxy/json${url}`).isForEachProject, url)
  }
})
