// Covers src/fake/login.ts.
import t, { type Test } from 'tap'
import { createTokens } from '../../src/fake/login.ts'
import { type FakeOptions, startFakeProcore } from '../../src/fake/procore.ts'
import { GOOD } from '../fixtures/fake.ts'

const sent = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
const CLIENT = { clientId: 'a', clientSecret: 's', companyIds: ['1', '2'] }

t.test('a token is unique, long and numbered, and expires', async (t) => {
  let now = 1_000_500
  const tokens = createTokens([CLIENT], 900, () => now)
  const body = tokens.issue('a', 's')!
  t.match(body, { token_type: 'bearer', expires_in: 900, created_at: 1000 })
  t.match(body.access_token, /^eyJ[\w-]+\.[\w-]+\.[\w-]{176}$/)
  t.not(tokens.issue('a', 's')!.access_token, body.access_token)
  t.equal(tokens.issuedTokens()[0], body.access_token)
  const token = tokens.sentIn(sent(body.access_token))!
  t.equal(token.serial, 1)
  t.ok(tokens.isAlive(token))
  now += 900_000
  t.notOk(tokens.isAlive(token))
})

t.test('wrong credentials get no token, and a client has the companies that it was given', async (t) => {
  const tokens = createTokens([CLIENT], 900, Date.now)
  t.equal(tokens.issue('a', 'x'), undefined)
  t.equal(tokens.issue('x', 's'), undefined)
  t.equal(tokens.sentIn(sent('x')), undefined)
  t.same(tokens.companiesOf('a'), ['1', '2'])
  t.same(tokens.companiesOf('x'), [])
})

t.test('tokens are revoked all at once, or with a new secret', async (t) => {
  const tokens = createTokens([CLIENT, { ...CLIENT, clientId: 'b' }], 900, Date.now)
  const issue = (id: string, secret = 's') => tokens.issue(id, secret)!.access_token
  const alive = (token: string) => tokens.isAlive(tokens.sentIn(sent(token))!)
  const [a, b] = [issue('a'), issue('b')]
  tokens.resetSecret('a', 'new')
  t.same([a, b].map(alive), [false, true])
  t.equal(tokens.issue('a', 's'), undefined)
  t.ok(alive(issue('a', 'new')))
  tokens.revokeTokens()
  t.notOk(alive(b))
  t.throws(() => tokens.resetSecret('x', 'x'), /no client x/)
})

async function start(t: Test, options?: FakeOptions) {
  const fake = await startFakeProcore(options)
  t.teardown(() => fake.close())
  const post = (body: string | URLSearchParams, path = '/oauth/token') =>
    fetch(fake.loginUrl + path, { method: 'POST', body })
  const form = (fields: Record<string, string>) => post(new URLSearchParams(fields))
  return { fake, post, form }
}

t.test('a token is issued for a form, with and without a trailing slash', async (t) => {
  const { fake, post, form } = await start(t)
  for (const answer of [await form(GOOD), await post(new URLSearchParams(GOOD), '/oauth/token/')]) {
    t.match([answer.status, answer.headers.get('cache-control')], [200, 'no-store'])
    t.match(await answer.json(), { access_token: /^eyJ/, token_type: 'bearer', expires_in: 5400 })
  }
  t.equal(fake.journal.tokenRequests().length, 2)
  t.equal(new Set(fake.issuedTokens()).size, 2)
})

t.test('anything else is refused as Doorkeeper does', async (t) => {
  const { fake, form, post } = await start(t)
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

t.test('a fault applies as often as it says, and may change the JSON of a granted token', async (t) => {
  const { fake, form } = await start(t)
  fake.faults.token = { times: 2, status: 503, headers: { 'Retry-After': '3' }, body: '<h1>busy</h1>' }
  for (let call = 0; call < 2; call += 1) {
    const answer = await form(GOOD)
    t.match([answer.status, answer.headers.get('retry-after')], [503, '3'])
  }
  t.equal((await form(GOOD)).status, 200)
  t.equal(fake.issuedTokens().length, 1)
  fake.faults.token = { mutate: (body) => ({ ...body, expires_in: '-1' }) }
  t.match(await (await form(GOOD)).json(), { access_token: String, expires_in: '-1' })
  t.match(await (await form({})).json(), { error: 'invalid_request' })
  fake.faults.token = { mutate: () => undefined }
  t.equal(await (await form(GOOD)).text(), '')
})

t.test('tokenDelayMs delays the response', async (t) => {
  const { form } = await start(t, { tokenDelayMs: 30 })
  const begun = performance.now()
  t.equal((await form(GOOD)).status, 200)
  t.ok(performance.now() - begun >= 28)
})
