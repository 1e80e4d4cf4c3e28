// Twin of src/fake/storage.ts.
import t from 'tap'
import { startFakeProcore } from '../../src/fake/procore.ts'
import { Presigner } from '../../src/fake/storage.ts'

const fake = await startFakeProcore()
t.teardown(() => fake.close())
const credentials = {
  grant_type: 'client_credentials',
  client_id: 'demo-client',
  client_secret: 'demo-secret',
}
const granted = await fetch(`${fake.loginUrl}/oauth/token`, {
  method: 'POST',
  body: new URLSearchParams(credentials),
})
const { access_token: token } = (await granted.json()) as { access_token: string }
const bearer = { Authorization: `Bearer ${token}` }
const get = (url: string, headers: Record<string, string> = {}) => fetch(url, { headers, redirect: 'manual' })

t.test('a signature is good for its own file alone', async (t) => {
  const presigner = new Presigner()
  const signature = new URL(presigner.sign('a.pdf'), 'http://x').searchParams.get('sig')
  t.ok(presigner.isSigned('a.pdf', signature))
  t.notOk(presigner.isSigned('b.pdf', signature))
  t.notOk(presigner.isSigned('a.pdf', null))
})

t.test('a presigned link serves its file, but not to a bearer', async (t) => {
  const redirect = await get(`${fake.storageUrl}/api/v5/files/7.pdf`, bearer)
  t.equal(redirect.status, 302)
  const link = redirect.headers.get('location') ?? ''
  const file = await get(link)
  t.equal(file.status, 200)
  t.match(await file.text(), '%PDF-1.7 fake 7.pdf')
  const refused = await get(link, bearer)
  t.equal(refused.status, 400)
  t.match(await refused.text(), '<Code>InvalidArgument</Code>')
  t.equal((await get(link.replace(/sig=.*/, 'sig=x'))).status, 403)
})

t.test('the file host wants a live bearer for the rest', async (t) => {
  const url = `${fake.storageUrl}/fas/api/v5/files/7.pdf`
  t.equal((await get(url)).status, 401)
  const answer = await get(url, bearer)
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('server'), 'AmazonS3')
  t.equal(fake.journal.storage().at(-1)?.tokenSerial, 1)
  t.equal((await fetch(url, { method: 'PUT', headers: bearer })).status, 404)
  t.equal((await get(`${fake.storageUrl}/else`)).status, 404)
})

t.test('its faults are its own', async (t) => {
  fake.faults.storage.push({ status: 503, times: 1 })
  t.equal((await get(`${fake.storageUrl}/else`)).status, 503)
})
