// Twin of src/fake/paging.ts.
import t from 'tap'
import { pageOf } from '../../src/fake/paging.ts'

const ALL = Array.from({ length: 12 }, (_, index) => index)
const page = (query: string, all = ALL) =>
  pageOf(all, 'http://api.test', '/rest/v1.0/projects', new URLSearchParams(query), { usual: 10, most: 100 })

t.test(
  'a middle page links first, prev, next and last, absolute and with the rest of the query',
  async (t) => {
    const { items, headers } = page('company_id=1&page=2&per_page=5')
    const link = (n: number, rel: string) =>
      `<http://api.test/rest/v1.0/projects?company_id=1&page=${n}&per_page=5>; rel="${rel}"`
    t.same(items, [5, 6, 7, 8, 9])
    t.same(headers, {
      Link: [link(1, 'first'), link(1, 'prev'), link(3, 'next'), link(3, 'last')].join(', '),
      Total: '12',
      'Per-Page': '5',
    })
  },
)

t.test('the ends have no prev or next, and an empty list has one page', async (t) => {
  t.notMatch(page('').headers['Link'], 'prev')
  t.notMatch(page('page=2').headers['Link'], 'next')
  t.same(page('page=9').items, [])
  t.equal(String(page('', []).headers['Link']).split(', ').length, 2)
})

t.test('sizes that are too large are cut, and nonsense counts as the usual one', async (t) => {
  t.equal(page('per_page=1000').headers['Per-Page'], '100')
  for (const nonsense of ['0', '-1', 'x', '']) t.equal(page(`per_page=${nonsense}`).headers['Per-Page'], '10')
})
