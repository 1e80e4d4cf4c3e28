// Covers what the other tests do not tell of src/fake/login.ts.
import t from 'tap'
import { GOOD } from '../fixtures/fake.ts'
import { startFakeProcore } from '../fixtures/procore.ts'

t.test('anything else is refused as Doorkeeper does', async (t) => {
  const fake = await startFakeProcore()
  t.teardown(() => fake.close())
  const post = (body: string | URLSearchParams, path = '/oauth/token') =>
    fetch(fake.loginUrl + path, { method: 'POST', body })
  const form = (fields: Record<string, string>) => post(new URLSearchParams(fields))
  const wrong = await form({ ...GOOD, client_secret: 'x' })
  t.equal(wrong.status, 401)
  t.match(wrong.headers.get('www-authenticate'), 'error="invalid_client"')
  t.match(await wrong.json(), { error: 'invalid_client', error_description: /^Client authentication failed/ })
  t.equal((await form({ grant_type: 'client_credentials' })).status, 401)
  const grant = await form({ ...GOOD, grant_type: 'password' })
  t.match([grant.status, await grant.json()], [400, { error: 'unsupported_grant_type' }])
  for (const answer of await Promise.all([form({}), post('{'), post('x')])) {
    t.match([answer.status, await answer.json()], [400, { error: 'invalid_request' }])
  }
  t.equal((await post('', '/oauth/other')).status, 404)
  t.equal((await fetch(`${fake.loginUrl}/oauth/token`)).status, 404)
})
