// Covers src/fake/api.ts.
import t from 'tap'
import { startFake } from '../fixtures/fake.ts'

t.test('a presigned link serves its own file, but not to a bearer', async (t) => {
  const { fake, call } = await startFake(t)
  const redirect = await call(`${fake.storageUrl}/api/v5/files/7.pdf`)
  t.equal(redirect.status, 302)
  const link = redirect.headers.get('location') ?? ''
  const file = await fetch(link)
  t.match([file.status, await file.text()], [200, '%PDF-1.7 fake 7.pdf'])
  const refused = await call(link)
  t.match([refused.status, await refused.text()], [400, '<Code>InvalidArgument</Code>'])
  for (const wrong of [
    link.replace(/sig=.*/, 'sig=x'),
    link.replace(/\?.*/, ''),
    link.replace('7.pdf', '8.pdf'),
  ])
    t.equal((await fetch(wrong)).status, 403)
})

t.test('the file host requires a valid bearer for the rest, and has faults of its own', async (t) => {
  const { fake, call } = await startFake(t)
  const url = `${fake.storageUrl}/fas/api/v5/files/7.pdf`
  t.equal((await fetch(url)).status, 401)
  const { status, headers } = await call(url)
  t.match([status, headers.get('server')], [200, 'AmazonS3'])
  t.equal(fake.journal.storage().at(-1)?.tokenSerial, 1)
  t.equal((await call(url, { method: 'PUT' })).status, 404)
  fake.faults.storage.push({ status: 503, times: 1 })
  t.equal((await call(`${fake.storageUrl}/else`)).status, 503)
  t.equal((await call(`${fake.storageUrl}/else`)).status, 404)
})
