// Twin of src/lists/target.ts: policies as tables.
import t from 'tap'
import {
  firstPage,
  forProject,
  nextPage,
  readListTarget,
  rowsBefore,
  totalOf,
} from '../../src/lists/target.ts'

const ORIGIN = 'https://api.procore.com'
const LIST = '/rest/v1.0/rfis'

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
  t.match(readListTarget('/_proxy/ndjson/vapid/projects'), {
    form: 'ndjson',
    pairs: { length: 0 },
    bom: false,
  })
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
    ['/rest/v1.0/projects/%2A/rfis', '/rest/v1.0/projects/5/rfis', []],
    ['/rest/v1.0/projects/%2a/rfis', '/rest/v1.0/projects/5/rfis', []],
    ['/vapid/projects/*/rfis', '/vapid/projects/5/rfis', []],
    ['/vapid/v1.0/projects/*/rfis', '/vapid/v1.0/projects/5/rfis', []],
    ['/rest/v1.0/rfis?project_id=*', '/rest/v1.0/rfis', ['project_id=5']],
    ['/rest/v1.0/rfis?project%5Fid=%2A', '/rest/v1.0/rfis', ['project_id=5']],
  ] as const
  for (const [url, path, pairs] of cases) {
    const target = readListTarget(`/_proxy/json${url}`)
    t.ok(target.isForEachProject, url)
    t.match(forProject(target, '5'), { path, pairs })
    t.match(
      forProject(target, '$&$1'),
      { path: path.replace('/5/', () => '/$&$1/') },
      'no replacement pattern',
    )
  }
  for (const url of ['/rest/v1.0/projects/*', '/rest/v1.0/x/*/rfis', '/rest/v1.0/rfis?id=*']) {
    t.notOk(readListTarget(`/_proxy/json${url}`).isForEachProject, url)
  }
})

t.test(
  'the first page has the size of the caller, of the configuration, or the most of version 2',
  async (t) => {
    const cases = [
      ['/rest/v1.0/rfis', '/rest/v1.0/rfis?per_page=1000'],
      ['/rest/v1.0/rfis?a=%20', '/rest/v1.0/rfis?a=%20&per_page=1000'],
      ['/rest/v1.0/rfis?per_page=7', '/rest/v1.0/rfis?per_page=7'],
      ['/rest/v2.0/companies/1/x', '/rest/v2.0/companies/1/x?per_page=100'],
      ['/rest/v1.0/rfis?per%5Fpage=7', '/rest/v1.0/rfis?per%5Fpage=7'],
      ['/rest/v2.0/companies/1/x?per_page=200', '/rest/v2.0/companies/1/x?per_page=200'],
    ] as const
    for (const [url, first] of cases) t.equal(firstPage(readListTarget(`/_proxy/csv${url}`), 1000), first)
  },
)

t.test(
  'a link to the next page is followed within the list alone, with what it lacks of the parameters',
  async (t) => {
    const first = `${LIST}?project_id=3&f%5Bid%5D=1&page=1&per_page=2`
    const next = `${LIST}?page=2&per_page=2&project_id=3&f%5Bid%5D=1`
    const cases: [link: string | string[] | undefined, next: string | undefined][] = [
      [`<${ORIGIN}${LIST}?page=2&per_page=2>; rel="next"`, next],
      [`<${LIST}?page=2&per_page=2>; rel=next`, next],
      [`<?page=2&per_page=2>; rel="last NEXT"`, next],
      [
        `<${ORIGIN}${LIST}?page=1>; rel="first", <${ORIGIN}${LIST}?page=2&per_page=2>; title="a, b"; rel="next",`,
        next,
      ],
      [['<x>; rel="prev"', `<${ORIGIN}${LIST}?page=2&per_page=2>;rel="next"`], next],
      [`<${LIST}?page=2&per_page=2>; title="a<b>c"; rel="next"`, next],
      [`<${LIST}?page=2&per_page=2>; title="a; rel=prev"; rel="next"`, next],
      [`<x>; title="\\"<y>; rel=next, <z>"; rel=prev, <${LIST}?page=2&per_page=2>; a; Rel = "next"`, next],
      [`<${LIST}?page=2&per_page=2>; title="a, <b>; rel=x"; rel="next"; rel="prev"`, next],
      [`<${LIST}?page=2&per_page=2>; title=a, b; rel=next`, next],
      [`<${LIST}?page=9>; rel, <${LIST}?page=9>; title, <${LIST}?page=2&per_page=2>; rel=next`, next],
      [`<${LIST}?page=2>; rel="prev"; title="; rel=next"; rel=next`, undefined],
      [`<${LIST}?page=2&f[id]=9>; rel=next`, `${LIST}?page=2&f[id]=9&project_id=3&per_page=2`],
      [`<${LIST}?cursor=a>; rel=next`, `${LIST}?cursor=a&project_id=3&f%5Bid%5D=1&per_page=2`],
      [`<https://evil.example${LIST}?page=2>; rel="next"`, undefined],
      [`<${ORIGIN}/rest/v1.0/other?page=2>; rel="next"`, undefined],
      ['<http://[>; rel="next"', undefined],
      [`<${LIST}?page=2>; rel="last"`, undefined],
      [undefined, undefined],
    ]
    for (const [link, expected] of cases) {
      const page = { first, current: first, head: { link }, origin: ORIGIN, received: 2, rows: 2 }
      t.equal(nextPage(page), expected, String(link))
    }
  },
)

t.test('a broken escape in a link is a fault of the API', async (t) => {
  for (const [link, current] of [
    [`<${LIST}?page=2&%zz=1>; rel=next`, LIST],
    [undefined, `${LIST}?page=%zz`],
  ] as const) {
    const page = { first: LIST, current, head: { link, total: '9' }, origin: ORIGIN, received: 2, rows: 2 }
    t.throws(() => nextPage(page), { code: 'upstream_protocol' }, link ?? current)
  }
})

t.test('without a link pages are counted while Total says that more are to come', async (t) => {
  const cases: [
    total: string | undefined,
    received: number,
    rows: number,
    current: string,
    next: string | undefined,
  ][] = [
    ['5', 2, 2, `${LIST}?per_page=2`, `${LIST}?per_page=2&page=2`],
    ['5', 4, 2, `${LIST}?per_page=2&page=2`, `${LIST}?per_page=2&page=3`],
    ['5', 5, 1, `${LIST}?per_page=2&page=3`, undefined],
    ['5', 4, 0, `${LIST}?per_page=2&page=3`, undefined],
    ['1000000000', 2, 2, LIST, `${LIST}?page=2`],
    ['9'.repeat(40), 2, 2, LIST, `${LIST}?page=2`],
    ['9'.repeat(400), 2, 2, LIST, `${LIST}?page=2`],
    ['99999999999', 2, 2, `${LIST}?page=1234567890`, `${LIST}?page=1234567891`],
    ['about 5', 2, 2, LIST, undefined],
    [undefined, 2, 2, LIST, undefined],
  ]
  for (const [total, received, rows, current, expected] of cases) {
    const page = { first: current, current, head: { total }, origin: ORIGIN, received, rows }
    t.equal(nextPage(page), expected)
  }
  t.equal(totalOf({ total: '45' }), 45)
  t.equal(rowsBefore(`${LIST}?per_page=50&page=3`, 20), 40)
  t.equal(rowsBefore(`${LIST}?page=1000000001`, 20), 20_000_000_000)
  t.equal(rowsBefore(LIST, 20), 0)
})
