// Covers src/fake/data.ts.
import t from 'tap'
import { Data } from '../../src/fake/data.ts'

const COMPANIES = [
  { id: '1', name: 'One' },
  { id: '562949953443325', name: 'Two', projects: 3 },
]

t.test('each company has its own projects, and no two share an id', async (t) => {
  const data = new Data(COMPANIES, () => 0)
  const [one, two] = COMPANIES.map((company) => data.projects(company))
  t.equal(one?.size, 45)
  t.same([...two!.keys()], ['562949955000001', '562949955000002', '562949955000003'])
  t.equal(data.company('9'), undefined)
})

t.test('an id is never used again', async (t) => {
  const data = new Data(COMPANIES, () => 0)
  const company = data.company('1')!
  const first = data.addProject(company, 'new')
  t.equal(data.projects(company).get(first.id)?.name, 'new')
  data.projects(company).delete(first.id)
  t.not(data.addProject(company, 'newer').id, first.id)
})
