// Covers src/fake/api.ts: who passes the checks, what every response carries, and the rate limits.
import t, { type Test } from 'tap'
import { rateLimits } from '../../src/fake/api.ts'
import { startFake } from '../fixtures/fake.ts'

const ME = '/rest/v1.0/me'
const V2 = '/rest/v2.0/companies/7656/projects'

/** The fake's clock. */
function stopClock(t: Test, start: number): { now: number } {
  const clock = { now: start }
  t.intercept(Date, 'now', { value: () => clock.now })
  return clock
}

t.test('without a valid token the response is 401, in the shape of the version', async (t) => {
  const clock = stopClock(t, Date.now())
  const { fake, call, json } = await startFake(t, { tokenLifetimeSeconds: 900 })
  t.equal((await call(ME)).status, 200)
  const unknown = await call(ME, { bearer: 'x' })
  t.match([unknown.status, await unknown.json()], [401, { errors: ['The access token is invalid'] }])
  t.match(unknown.headers.get('www-authenticate'), 'error="invalid_token"')
  t.match(await json(V2, { bearer: 'x' }), { error: { code: 'INVALID_TOKEN' } })
  clock.now += 900_000
  t.equal((await call(ME)).status, 401)
  clock.now -= 900_000
  fake.revokeTokens()
  t.equal((await call(ME)).status, 401)
  const serials = fake.journal.api().map(({ tokenSerial }) => tokenSerial)
  t.same(serials, [1, undefined, undefined, 1, 1])
})

t.test('without a company 400, and 403 for a company without the app or the client', async (t) => {
  const { call, json } = await startFake(t)
  t.equal((await call(ME, { company: null })).status, 400)
  t.match(await json(ME, { company: null }), { errors: [/^Missing Procore-Company-Id header!/] })
  for (const company of ['90210', '1', '7656, 7656']) {
    t.equal((await call(ME, { company })).status, 403)
    t.same(await json(ME, { company }), { errors: ['App is not connected to this company.'] })
  }
  t.match(await json(V2, { company: '90210' }), { error: { code: 'FORBIDDEN' } })
  const clients = [{ clientId: 'demo-client', clientSecret: 'demo-secret', companyIds: ['7656'] }]
  const restricted = await startFake(t, { clients })
  t.equal((await restricted.call(ME)).status, 200)
  t.equal((await restricted.call(ME, { company: '562949953443325' })).status, 403)
})

t.test('every response carries what Procore adds, and long ones can be compressed', async (t) => {
  const { call } = await startFake(t, { gzip: true })
  const { headers } = await call(ME)
  t.match(headers.get('x-request-id'), /^[\da-f-]{36}$/)
  t.match(headers.get('x-runtime'), /^\d\.\d{6}$/)
  t.equal(headers.get('cache-control'), 'no-store')
  t.ok(headers.get('strict-transport-security'))
  t.equal(headers.get('x-rate-limit-limit'), '100')
  t.equal(headers.get('x-rate-limit-remaining'), '99')
  t.ok(Number(headers.get('x-rate-limit-reset')) > Date.now() / 1000)
  t.equal(headers.get('content-encoding'), null)
  t.equal((await call('/rest/v1.0/projects')).headers.get('content-encoding'), 'gzip')
})

t.test('a used-up budget is a 429 for that company alone', async (t) => {
  const { call } = await startFake(t, { rateLimit: { spike: 2 } })
  for (const remaining of ['1', '0']) {
    t.equal((await call(ME)).headers.get('x-rate-limit-remaining'), remaining)
  }
  const refused = await call(ME)
  t.equal(refused.status, 429)
  t.equal(refused.headers.get('x-rate-limit-remaining'), '0')
  t.equal(refused.headers.get('retry-after'), null)
  t.match(await refused.json(), { errors: [/^You have surpassed the max number of requests for an hour/] })
  t.equal((await call(ME, { company: '562949953443325' })).status, 200)
})

t.test('a reading shows the window nearest exhaustion', async (t) => {
  stopClock(t, 1_000_100)
  const limits = rateLimits({ hourly: 5, spike: 3 })
  t.same(limits('a', '1'), { limit: 3, remaining: 2, reset: 1011, exceeded: false })
  limits('a', '1')
  t.same(limits('a', '1'), { limit: 3, remaining: 0, reset: 1011, exceeded: false })
  t.same(limits('a', '1'), { limit: 3, remaining: 0, reset: 1011, exceeded: true })
})

t.test('a window that is over begins anew, and the hour goes on', async (t) => {
  const clock = stopClock(t, 0)
  const limits = rateLimits({ hourly: 3, spike: 2 })
  limits('a', '1')
  limits('a', '1')
  t.equal(limits('a', '1')?.exceeded, true)
  clock.now = 10_000
  t.same(limits('a', '1'), { limit: 3, remaining: 0, reset: 3600, exceeded: false })
  clock.now = 3_600_000
  t.match(limits('a', '1'), { limit: 2, remaining: 1 })
})

t.test('each client and each company has a budget of its own, by default 100 and 3600', async (t) => {
  const limits = rateLimits()
  limits('a', '1')
  t.match(limits('a', '2'), { limit: 100, remaining: 99 })
  t.match(limits('b', '1'), { limit: 100, remaining: 99 })
  const hourly = rateLimits({ spike: Number.POSITIVE_INFINITY })
  t.match(hourly('a', '1'), { limit: 3600, remaining: 3599 })
})

t.test('without limits there is no reading', async (t) => {
  const none = Number.POSITIVE_INFINITY
  t.equal(rateLimits({ hourly: none, spike: none })('a', '1'), undefined)
})
