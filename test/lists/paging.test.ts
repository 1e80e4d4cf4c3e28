// Twin of src/lists/paging.ts: policies as tables.
import t from 'tap'
import { firstPage, nextPage, rowsBefore, smallerPage, totalOf } from '../../src/lists/paging.ts'
import { readListTarget } from '../../src/lists/target.ts'

const ORIGIN = 'https://api.procore.com'
const LIST = '/rest/v1.0/rfis'

t.test(
  'the first page has the size of the caller, of the configuration, or the most of version 2',
  async (t) => {
    const cases = [
      ['/rest/v1.0/rfis', '/rest/v1.0/rfis?per_page=1000'],
      ['/rest/v1.0/rfis?a=%20', '/rest/v1.0/rfis?a=%20&per_page=1000'],
      ['/rest/v1.0/rfis?per_page=7', '/rest/v1.0/rfis?per_page=7'],
      ['/rest/v2.0/companies/1/x', '/rest/v2.0/companies/1/x?per_page=100'],
      ['/rest/v2.0/companies/1/x?per_page=200', '/rest/v2.0/companies/1/x?per_page=200'],
    ] as const
    for (const [url, first] of cases) t.equal(firstPage(readListTarget(`/_proxy/csv${url}`), 1000), first)
  },
)

t.test('a page that is too large is halved, down to 100', async (t) => {
  const sizes: (string | undefined)[] = []
  for (let url = smallerPage(`${LIST}?per_page=1000&a=1`); url !== undefined; url = smallerPage(url))
    sizes.push(url)
  t.same(
    sizes,
    [500, 250, 125, 100].map((size) => `${LIST}?a=1&per_page=${size}`),
  )
  t.equal(smallerPage(`${LIST}?per_page=x`), undefined)
  t.equal(smallerPage(LIST), undefined)
})

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
    ['many', 2, 2, LIST, undefined],
    [undefined, 2, 2, LIST, undefined],
  ]
  for (const [total, received, rows, current, expected] of cases) {
    const page = { first: current, current, head: { total }, origin: ORIGIN, received, rows }
    t.equal(nextPage(page), expected)
  }
  t.equal(totalOf({ total: '45' }), 45)
  t.equal(rowsBefore(`${LIST}?per_page=20&page=3`), 40)
  t.equal(rowsBefore(LIST), 0)
})
