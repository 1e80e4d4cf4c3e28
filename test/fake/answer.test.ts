import t from 'tap'
import { apiError, type FakeAnswer } from '../../src/fake/answer.ts'

t.test('errors have the shape of the version', async (t) => {
  const body = (answer: FakeAnswer) => JSON.parse(String(answer.body))
  t.same(body(apiError('/rest/v1.0/me', 403, 'no')), { errors: ['no'] })
  const v2 = { error: { code: 'FORBIDDEN', message: 'no', details: [] } }
  t.same(body(apiError('/rest/v2.0/companies/1/projects', 403, 'no')), v2)
  t.equal(body(apiError('/rest/v2.1/x', 401, 'no')).error.code, 'INVALID_TOKEN')
  t.equal(body(apiError('/rest/v2.1/x', 422, 'no')).error.code, 'UNPROCESSABLE_ENTITY')
})
