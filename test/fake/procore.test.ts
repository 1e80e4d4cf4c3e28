// Covers src/fake/procore.ts: starting, stopping and the switches of the whole.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import t from 'tap'
import { startFakeProcore } from '../../src/fake/procore.ts'
import { GOOD, startFake } from '../fixtures/fake.ts'

t.test('three servers listen on loopback, storage under another host name', async (t) => {
  const fake = await startFakeProcore()
  t.match(fake.loginUrl, /^http:\/\/127\.0\.0\.1:\d+$/)
  t.match(fake.apiUrl, /^http:\/\/127\.0\.0\.1:\d+$/)
  t.match(fake.storageUrl, /^http:\/\/localhost:\d+$/)
  t.equal((await fetch(fake.apiUrl)).status, 401)
  t.equal(fake.openSockets('api'), 1)
  await fake.close()
  t.equal(fake.openSockets('api'), 0)
  await t.rejects(fetch(fake.apiUrl))
})

t.test('a taken port is an error that leaves nothing behind', async (t) => {
  const first = await startFakeProcore()
  t.teardown(() => first.close())
  await t.rejects(startFakeProcore({ apiPort: Number(new URL(first.apiUrl).port) }), { code: 'EADDRINUSE' })
})

t.test('a new secret ends the old one and its tokens', async (t) => {
  const { fake, call } = await startFake(t)
  const ask = (fields: Record<string, string>) =>
    fetch(`${fake.loginUrl}/oauth/token`, { method: 'POST', body: new URLSearchParams(fields) })
  fake.resetSecret('demo-client', 'new')
  t.equal((await ask(GOOD)).status, 401)
  t.equal((await ask({ ...GOOD, client_secret: 'new' })).status, 200)
  const statuses = async () => {
    const calls = fake.issuedTokens().map((bearer) => call('/rest/v1.0/me', { bearer }))
    return (await Promise.all(calls)).map(({ status }) => status)
  }
  t.same(await statuses(), [401, 200])
  fake.revokeTokens()
  t.same(await statuses(), [401, 401])
})

t.test('with a certificate the servers use HTTPS, and faults reset there too', async (t) => {
  const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
  const tls = { key: pem('good.key'), cert: pem('good.pem') }
  const fake = await startFakeProcore({ tls })
  t.teardown(() => fake.close())
  t.match(fake.loginUrl, /^https:/)
  const status = async () => {
    const call = request(`${fake.apiUrl}/rest/v1.0/me`, { ca: pem('ca.pem'), agent: false }).end()
    const [answer] = await once(call, 'response')
    answer.resume()
    return answer.statusCode
  }
  t.equal(await status(), 401)
  fake.faults.reset()
  await t.rejects(status())
})
