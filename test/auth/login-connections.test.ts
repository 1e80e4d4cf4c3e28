import t from 'tap'
import { LoginConnections } from '../../src/auth/login-connections.ts'
import { requestToken } from '../../src/auth/request-token.ts'
import { startFakeProcore } from '../../src/fake/procore.ts'
import { testAccount, testConfig, testEnvironment } from '../fixtures/config.ts'

t.test('the way changes where the configuration says another, and what is under way ends', async (t) => {
  const fake = await startFakeProcore({ tokenDelayMs: 100 })
  t.teardown(() => fake.close())
  const account = testAccount({
    environment: testEnvironment({ loginUrl: fake.loginUrl }),
    clientId: 'demo-client',
  })
  const { network, upstream } = testConfig()
  const login = new LoginConnections(testConfig())
  const ask = () => requestToken(account, login.pools, new AbortController().signal)
  const first = login.pools
  login.use(testConfig({ network: { ...network }, rateLimit: { ...testConfig().rateLimit, maxQueued: 1 } }))
  t.equal(login.pools, first, 'nothing that counts has changed')
  const underWay = ask().catch((error: Error) => error.message)
  login.use(testConfig({ network: { ...network, key: 'another' } }))
  const second = login.pools
  t.not(second, first)
  t.match(await underWay, /HTTP 401/, 'answered (app-client-secret is wrong)')
  const question = { origin: fake.loginUrl, path: '/', method: 'GET', headers: [], mostBytes: 1 }
  const { signal } = new AbortController()
  await t.rejects(first.ask({ ...question, signal }), { code: 'UND_ERR_CLOSED' })
  login.use(
    testConfig({ network: { ...network, key: 'another' }, upstream: { ...upstream, connectTimeoutMs: 1 } }),
  )
  t.not(login.pools, second)
  await login.destroy()
  await t.rejects(ask(), /could not be reached/)
})
