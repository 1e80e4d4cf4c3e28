// Twin of src/fake/procore.ts: starting, stopping and the switches of the whole.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startFakeProcore } from '../../src/fake/procore.ts'

const GOOD = { grant_type: 'client_credentials', client_id: 'demo-client', client_secret: 'demo-secret' }

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

t.test('an IPv6 host is written in brackets', async (t) => {
  const fake = await startFakeProcore({ host: '::1' }).catch(() => undefined)
  if (fake === undefined) return t.pass('there is no IPv6 here')
  t.teardown(() => fake.close())
  t.match(fake.apiUrl, /^http:\/\/\[::1\]:\d+$/)
})

t.test('a new secret ends the old one and its tokens', async (t) => {
  const fake = await startFakeProcore()
  t.teardown(() => fake.close())
  const ask = (fields: Record<string, string>) =>
    fetch(`${fake.loginUrl}/oauth/token`, { method: 'POST', body: new URLSearchParams(fields) })
  await ask(GOOD)
  fake.resetSecret('demo-client', 'new')
  t.equal((await ask(GOOD)).status, 401)
  t.equal((await ask({ ...GOOD, client_secret: 'new' })).status, 200)
  const [old, young] = fake.issuedTokens()
  const me = async (token: string | undefined) => {
    const headers = { Authorization: `Bearer ${token}`, 'Procore-Company-Id': '7656' }
    return (await fetch(`${fake.apiUrl}/rest/v1.0/me`, { headers })).status
  }
  t.same([await me(old), await me(young)], [401, 200])
  fake.revokeTokens()
  t.equal(await me(young), 401)
})

t.test('with a certificate the servers speak https, and faults reset there too', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'fake-procore-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const files = ['-keyout', keyFile, '-out', certFile]
  execFileSync('openssl', ['req', '-x509', ...curve, ...names, ...files], { stdio: 'ignore' })
  const tls = { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') }
  const fake = await startFakeProcore({ tls })
  t.teardown(() => fake.close())
  t.match(fake.loginUrl, /^https:/)
  const status = () =>
    new Promise((resolve, reject) => {
      const call = request(`${fake.apiUrl}/rest/v1.0/me`, { ca: tls.cert, agent: false }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      call.on('error', reject).end()
    })
  t.equal(await status(), 401)
  fake.faults.reset()
  await t.rejects(status())
})
