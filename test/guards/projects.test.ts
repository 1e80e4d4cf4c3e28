// Covers src/guards/callers.ts
import t from 'tap'
import { mayUseProject, namedProjects } from '../../src/guards/callers.ts'

t.test('The projects of path and query are named, and compared as text', async (t) => {
  t.same(namedProjects('/rest/v1.0/projects/5/x', '?project_id=7'), { ids: ['5', '7'], isConfined: true })
  t.ok(mayUseProject(undefined, '5'))
  t.ok(mayUseProject(['5'], '5'))
  t.notOk(mayUseProject(['5'], '05'))
  t.same(namedProjects('/rest/v1.0/x', '?filters[project_id]=7'), { ids: ['7'], isConfined: false })
  t.same(namedProjects('/rest/v1.0/x', ''), { ids: [], isConfined: false })
  t.equal(namedProjects('/rest/%25252525', ''), undefined)
})
