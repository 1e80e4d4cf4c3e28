// Covers src/fake/routes.ts and src/fake/data.ts: the endpoints as a caller with a valid token sees them, their pages, and the file host.
import t from 'tap'
import { fillCompanies } from '../../src/fake/data.ts'
import { page } from '../../src/fake/routes.ts'
import { startFake } from '../fixtures/fake.ts'

const { fake, call, json } = await startFake(t, { rateLimit: { spike: 1000 } })
const GLOBEX = '562949953443325'

t.test('projects come in pages, below v1 and vapid with number ids', async (t) => {
  t.match(await json('/rest/v1.0/me'), { login: /^demo-client/ })
  const answer = await call('/rest/v1.0/projects?company_id=7656&page=2&per_page=10')
  t.equal(answer.headers.get('total'), '45')
  t.equal(answer.headers.get('per-page'), '10')
  const first = `<${fake.apiUrl}/rest/v1.0/projects?company_id=7656&page=1&per_page=10>; rel="first"`
  t.match(answer.headers.get('link'), first)
  const projects = (await answer.json()) as unknown[]
  t.equal(projects.length, 10)
  t.match(projects[0], { id: 1000011, company: { id: 7656 } })
  t.equal((await json('/vapid/projects')).length, 20)
  t.equal((await call('/rest/v1.0/projects?company_id=1')).status, 404)
})

t.test('projects have RFIs, with ids beyond 2^53 in the new regions, and budgets', async (t) => {
  const rfis = await call('/rest/v1.0/projects/1000001/rfis?per_page=2')
  t.equal(rfis.headers.get('total'), '3')
  const first = { id: 1000001000001, cost_impact: { value: -0.5 }, assignee: { name: 'Ann Lee' } }
  t.match(await rfis.json(), [first, { subject: 'Beam\nclashes with duct' }])
  const far = await call('/rest/v1.0/rfis?project_id=562949955000001', { company: GLOBEX })
  t.match(await far.text(), /^\[\{"id":562949955000001000001,.*"value":-0\.50\}/)
  const budgets = await call('/rest/v2.0/companies/7656/projects/1000001/budgets')
  t.match(await budgets.text(), /^\{"data":\[\{"id":"100000101",.*"original_amount":1250\.00,/)
  for (const path of [
    '/rest/v1.0/nothing',
    '/rest/v1.0/rfis',
    '/rest/v1.0/projects/1/rfis',
    '/rest/v2.0/companies/7656/projects/1/budgets',
    '/rest/v2.0/companies/1/projects/1000001/budgets',
  ]) {
    t.equal((await call(path)).status, 404, path)
  }
})

t.test('a project is created, read, changed and removed', async (t) => {
  const post = (body: string) => call('/rest/v1.0/projects', { method: 'POST', body })
  const made = await post('{"project":{"name":"New"}}')
  t.equal(made.status, 201)
  const { id } = (await made.json()) as { id: number }
  const path = `/rest/v1.0/projects/${id}`
  t.equal(made.headers.get('location'), fake.apiUrl + path)
  t.match(await json(path, { method: 'PATCH', body: '{"project":{"name":"Newer"}}' }), { name: 'Newer' })
  t.match(await json(path, { method: 'PATCH', body: '{}' }), { name: 'Newer' })
  t.match(await json(path), { id, name: 'Newer' })
  const removed = await call(path, { method: 'DELETE' })
  t.match([removed.status, removed.headers.get('content-length')], [204, null])
  t.equal((await call(path)).status, 404)
  for (const body of ['{', '{}', '{"project":{"name":""}}']) t.equal((await post(body)).status, 422)
})

const V1 = '/rest/v1.0/projects'

function paged(query: string, length = 12) {
  const request = { path: V1, query: new URLSearchParams(query), origin: 'http://api.test' }
  const answer = page(request, length, (index) => ({ index }))
  return { ...answer, headers: answer.headers ?? {}, body: JSON.parse(String(answer.body)) }
}

t.test('a middle page links first, prev, next and last, with the rest of the query', async (t) => {
  const { body, headers } = paged('company_id=1&page=2&per_page=5')
  const link = (n: number, rel: string) =>
    `<http://api.test${V1}?company_id=1&page=${n}&per_page=5>; rel="${rel}"`
  t.same(
    body,
    [5, 6, 7, 8, 9].map((index) => ({ index })),
  )
  t.match(headers, {
    Link: [link(1, 'first'), link(1, 'prev'), link(3, 'next'), link(3, 'last')].join(', '),
    Total: '12',
    'Per-Page': '5',
  })
})

t.test('the ends have no prev or next, and an empty list has one page', async (t) => {
  t.notMatch(paged('').headers['Link'], 'prev')
  t.notMatch(paged('page=3&per_page=5').headers['Link'], 'next')
  t.same(paged('page=9').body, [])
  t.equal(String(paged('', 0).headers['Link']).split(', ').length, 2)
})

t.test('sizes that are too large are cut, and nonsense counts as the usual one', async (t) => {
  t.equal(paged('per_page=10000').headers['Per-Page'], '2000')
  for (const nonsense of ['0', '-1', 'x', ''])
    t.equal(paged(`per_page=${nonsense}`).headers['Per-Page'], '20')
})

t.test('version 2 has smaller pages, in an envelope', async (t) => {
  const V2 = '/rest/v2.0/companies/7656/projects'
  t.equal((await call(`${V2}?per_page=1000`)).headers.get('per-page'), '100')
  t.match(await json(`${V2}?page=2`), { data: [{ id: '1000011', project_number: 'P-0011' }] })
  t.equal((await json(`${V2}?page=2`)).data.length, 10)
})

t.test('each company has its own projects, and an id is never used again', async (t) => {
  const companies = [
    { id: '1', name: 'One' },
    { id: GLOBEX, name: 'Two', projects: 3 },
  ]
  const [one, two] = [...fillCompanies(companies).values()]
  t.equal(one!.projects.size, 45)
  t.same([...two!.projects.keys()], ['562949955000001', '562949955000002', '562949955000003'])
  const first = one!.addProject('new')
  t.equal(one!.projects.get(first.id)?.name, 'new')
  one!.projects.delete(first.id)
  t.not(one!.addProject('newer').id, first.id)
})
