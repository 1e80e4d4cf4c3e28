// Covers src/fake/data.ts.
import t from 'tap'
import { Data } from '../../src/fake/data.ts'

const COMPANIES = [
  { id: '1', name: 'One' },
  { id: '562949953443325', name: 'Two', projects: 3 },
]

t.test('projects are the same whatever is asked for first, and no two share an id', async (t) => {
  const [a, b] = [new Data(COMPANIES, () => 0), new Data(COMPANIES, () => 0)]
  const [one, two] = [a.company('1')!, a.company('562949953443325')!]
  const forward = [a.projects(one), a.projects(two)]
  const backward = [b.projects(two), b.projects(one)].reverse()
  t.same(forward, backward)
  t.equal(forward[0]?.size, 45)
  t.same([...forward[1]!.keys()], ['562949955000001', '562949955000002', '562949955000003'])
  t.equal(a.company('9'), undefined)
})

t.test('an id is never used again', async (t) => {
  const data = new Data(COMPANIES, () => 0)
  const company = data.company('1')!
  const first = data.addProject(company, 'new')
  t.equal(data.projects(company).get(first.id)?.name, 'new')
  data.projects(company).delete(first.id)
  t.not(data.addProject(company, 'newer').id, first.id)
})
