// Twin of src/fake/api.ts: who gets past the checks, and what every answer carries.
import t, { type Test } from 'tap'
import { type FakeOptions, startFakeProcore } from '../../src/fake/procore.ts'

async function start(t: Test, options?: FakeOptions) {
  const fake = await startFakeProcore(options)
  t.teardown(() => fake.close())
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: 'demo-client',
    client_secret: 'demo-secret',
  })
  const granted = await fetch(`${fake.loginUrl}/oauth/token`, { method: 'POST', body })
  const { access_token: token } = (await granted.json()) as { access_token: string }
  const get = (path: string, company?: string, bearer = token) => {
    const headers: Record<string, string> = { Authorization: `Bearer ${bearer}` }
    if (company !== undefined) headers['Procore-Company-Id'] = company
    return fetch(fake.apiUrl + path, { headers })
  }
  return { fake, get, token }
}

const ME = '/rest/v1.0/me'
const V2 = '/rest/v2.0/companies/7656/projects'

t.test('without a live token the answer is 401, in the shape of the version', async (t) => {
  let now = Date.now()
  const { fake, get } = await start(t, { now: () => now, tokenLifetimeSeconds: 900 })
  t.equal((await get(ME, '7656')).status, 200)
  const unknown = await get(ME, '7656', 'x')
  t.equal(unknown.status, 401)
  t.same(await unknown.json(), { errors: ['The access token is invalid'] })
  t.match(await (await get(V2, '7656', 'x')).json(), { error: { code: 'INVALID_TOKEN' } })
  now += 900_000
  t.equal((await get(ME, '7656')).status, 401)
  now -= 900_000
  fake.revokeTokens()
  t.equal((await get(ME, '7656')).status, 401)
  t.same(
    fake.journal.api().map(({ tokenSerial }) => tokenSerial),
    [1, undefined, undefined, 1, 1],
  )
})

t.test('without a company 400, and 403 where app or client have no part in it', async (t) => {
  const { get } = await start(t)
  const none = await get(ME)
  t.equal(none.status, 400)
  t.match(await none.json(), { errors: [/^Missing Procore-Company-Id header!/] })
  for (const company of ['90210', '1', '7656, 7656']) {
    const answer = await get(ME, company)
    t.equal(answer.status, 403)
    t.same(await answer.json(), { errors: ['App is not connected to this company.'] })
  }
  t.match(await (await get(V2, '90210')).json(), { error: { code: 'FORBIDDEN' } })
})

t.test('a client has no part in companies that it was not given', async (t) => {
  const clients = [{ clientId: 'demo-client', clientSecret: 'demo-secret', companyIds: ['7656'] }]
  const { get } = await start(t, { clients })
  t.equal((await get(ME, '7656')).status, 200)
  t.equal((await get(ME, '562949953443325')).status, 403)
})

t.test('every answer carries what Procore puts on', async (t) => {
  const { get } = await start(t)
  const { headers } = await get(ME, '7656')
  t.match(headers.get('x-request-id'), /^[\da-f-]{36}$/)
  t.match(headers.get('x-runtime'), /^\d\.\d{6}$/)
  t.equal(headers.get('cache-control'), 'no-store')
  t.ok(headers.get('strict-transport-security'))
  t.equal(headers.get('x-rate-limit-limit'), '100')
  t.equal(headers.get('x-rate-limit-remaining'), '99')
  t.ok(Number(headers.get('x-rate-limit-reset')) > Date.now() / 1000)
})

t.test('a used-up budget is a 429 for that company alone', async (t) => {
  const { get } = await start(t, { rateLimit: { spike: 2 } })
  for (const remaining of ['1', '0']) {
    t.equal((await get(ME, '7656')).headers.get('x-rate-limit-remaining'), remaining)
  }
  const answer = await get(ME, '7656')
  t.equal(answer.status, 429)
  t.equal(answer.headers.get('x-rate-limit-remaining'), '0')
  t.equal(answer.headers.get('retry-after'), null)
  t.match(await answer.json(), { errors: [/^You have surpassed the max number of requests for an hour/] })
  t.equal((await get(ME, '562949953443325')).status, 200)
})

t.test('a fault comes before all checks and keeps the common headers', async (t) => {
  const { fake, get } = await start(t)
  fake.faults.unavailable(4, { times: 1 })
  const answer = await get(ME, undefined, 'x')
  t.equal(answer.status, 503)
  t.equal(answer.headers.get('retry-after'), '4')
  t.ok(answer.headers.get('x-request-id'))
  t.equal((await get(ME, '7656')).status, 200)
})
