// Twin of src/fake/login.ts.
import t, { type Test } from 'tap'
import { type FakeOptions, startFakeProcore } from '../../src/fake/procore.ts'

const GOOD = { grant_type: 'client_credentials', client_id: 'demo-client', client_secret: 'demo-secret' }

async function start(t: Test, options?: FakeOptions) {
  const fake = await startFakeProcore(options)
  t.teardown(() => fake.close())
  const post = (
    body: string | URLSearchParams | FormData | Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
    path = '/oauth/token',
  ) => fetch(fake.loginUrl + path, { method: 'POST', body, headers })
  const form = (fields: Record<string, string>, path?: string) => post(new URLSearchParams(fields), {}, path)
  return { fake, post, form }
}

t.test('a token is given for a form, multipart and JSON, with and without a trailing slash', async (t) => {
  const { fake, post, form } = await start(t)
  const multipart = new FormData()
  for (const [name, value] of Object.entries(GOOD)) multipart.set(name, value)
  const type = { 'Content-Type': 'application/json' }
  const answers = [
    await form(GOOD),
    await form(GOOD, '/oauth/token/'),
    await post(multipart),
    await post(JSON.stringify(GOOD), type),
  ]
  for (const answer of answers) {
    t.equal(answer.status, 200)
    t.equal(answer.headers.get('cache-control'), 'no-store')
    t.match(await answer.json(), { access_token: /^eyJ/, token_type: 'bearer', expires_in: 5400 })
  }
  t.equal(fake.journal.tokenRequests().length, 4)
  t.equal(new Set(fake.issuedTokens()).size, 4)
})

t.test('anything else is refused as Doorkeeper does', async (t) => {
  const { form, post } = await start(t)
  const wrong = await form({ ...GOOD, client_secret: 'x' })
  t.equal(wrong.status, 401)
  t.match(wrong.headers.get('www-authenticate'), 'error="invalid_client"')
  t.match(await wrong.json(), { error: 'invalid_client', error_description: /^Client authentication failed/ })
  const bare = await form({ grant_type: 'client_credentials' })
  t.equal(bare.status, 401)
  const grant = await form({ ...GOOD, grant_type: 'password' })
  t.equal(grant.status, 400)
  t.match(await grant.json(), { error: 'unsupported_grant_type' })
  for (const answer of [
    await form({}),
    await post('{', { 'Content-Type': 'application/json' }),
    await post('x'),
    await post(new Uint8Array(3)),
  ]) {
    t.equal(answer.status, 400)
    t.match(await answer.json(), { error: 'invalid_request' })
  }
})

t.test('it knows nothing else', async (t) => {
  const { fake, form } = await start(t)
  t.equal((await form(GOOD, '/oauth/other')).status, 404)
  t.equal((await fetch(`${fake.loginUrl}/oauth/token`)).status, 404)
})

t.test('a token fault strikes as often as it says', async (t) => {
  const { fake, form } = await start(t)
  fake.faults.token = { times: 2, status: 503, headers: { 'Retry-After': '3' }, body: '<h1>busy</h1>' }
  for (let call = 0; call < 2; call += 1) {
    const answer = await form(GOOD)
    t.equal(answer.status, 503)
    t.equal(answer.headers.get('retry-after'), '3')
  }
  t.equal((await form(GOOD)).status, 200)
  t.equal(fake.issuedTokens().length, 1)
})

t.test('a fault may change the JSON of a granted token, or empty it', async (t) => {
  const { fake, form } = await start(t)
  fake.faults.token = { mutate: (body) => ({ ...body, expires_in: '-1' }) }
  t.match(await (await form(GOOD)).json(), { access_token: String, expires_in: '-1' })
  t.match(await (await form({})).json(), { error: 'invalid_request' })
  fake.faults.token = { mutate: () => undefined }
  t.equal(await (await form(GOOD)).text(), '')
})

t.test('the login server takes its time where told', async (t) => {
  const { form } = await start(t, { tokenDelayMs: 30 })
  const begun = performance.now()
  t.equal((await form(GOOD)).status, 200)
  t.ok(performance.now() - begun >= 28)
})
