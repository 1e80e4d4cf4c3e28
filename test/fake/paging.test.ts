// Covers src/fake/routes.ts.
import t from 'tap'
import { type PagingOptions, pageOf } from '../../src/fake/routes.ts'

const V1 = '/rest/v1.0/projects'
const V2 = '/rest/v2.0/companies/1/projects'

function page(
  query: string,
  { path = V1, length = 12, ...options }: PagingOptions & { path?: string; length?: number } = {},
) {
  const list = { length, item: (index: number) => index }
  const answer = pageOf(list, { origin: 'http://api.test', path, query: new URLSearchParams(query) }, options)
  return { ...answer, headers: answer.headers ?? {}, body: JSON.parse(String(answer.body)) }
}

t.test('a middle page links first, prev, next and last, with the rest of the query', async (t) => {
  const { body, headers } = page('company_id=1&page=2&per_page=5')
  const link = (n: number, rel: string) =>
    `<http://api.test${V1}?company_id=1&page=${n}&per_page=5>; rel="${rel}"`
  t.same(body, [5, 6, 7, 8, 9])
  t.match(headers, {
    Link: [link(1, 'first'), link(1, 'prev'), link(3, 'next'), link(3, 'last')].join(', '),
    Total: '12',
    'Per-Page': '5',
  })
})

t.test('the ends have no prev or next, and an empty list has one page', async (t) => {
  t.notMatch(page('').headers['Link'], 'prev')
  t.notMatch(page('page=3&per_page=5').headers['Link'], 'next')
  t.same(page('page=9').body, [])
  t.equal(String(page('', { length: 0 }).headers['Link']).split(', ').length, 2)
})

t.test('sizes that are too large are cut or refused, and nonsense counts as the usual one', async (t) => {
  t.equal(page('per_page=10000').headers['Per-Page'], '2000')
  t.equal(page('per_page=1000', { path: V2 }).headers['Per-Page'], '100')
  t.equal(page('per_page=10', { mostPerPage: 5 }).headers['Per-Page'], '5')
  t.match(page('per_page=10', { mostPerPage: 5, tooLarge: 'refuse' }), {
    status: 422,
    body: { errors: [/at most 5/] },
  })
  for (const nonsense of ['0', '-1', 'x', '']) t.equal(page(`per_page=${nonsense}`).headers['Per-Page'], '20')
})

t.test('version 2 has an envelope, and links may be less than Procore documents', async (t) => {
  t.same(page('page=2', { path: V2 }).body, { data: [10, 11] })
  t.match(
    page('a=1&per_page=5', { links: 'bare' }).headers['Link'],
    `<http://api.test${V1}?page=2&per_page=5>; rel="next"`,
  )
  t.notOk('Link' in page('', { links: 'none' }).headers)
})
