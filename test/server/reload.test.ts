// Twin of src/server/reload.ts, for orders of events that can't be had from outside (test/cli/reload.test.ts has the rest).
import t from 'tap'
import { settingsFor, startRig } from '../fixtures/proxy.ts'

t.test('of two configurations the newer one stays, though the older one was to be tried again', async (t) => {
  const { fake, server, reload, log, get } = await startRig(t)
  const secret = (clientSecret: string) => ({
    serviceAccounts: { app: { clientId: 'demo-client', clientSecret } },
  })
  fake.faults.token = { status: 503, delayMs: 200, headers: { 'Retry-After': '60' }, times: 1 }
  const older = reload(settingsFor(fake, secret('older')))
  await fake.journal.when(({ body }) => body?.includes('older') === true)
  const newer = reload(
    settingsFor(fake, {
      companies: { acme: { id: '7656', serviceAccount: 'app' } },
      log: { level: 'trace' },
    }),
  )
  await Promise.all([older, newer])
  const told = log().map(({ msg }) => String(msg))
  t.ok(told.some((msg) => msg.endsWith('tried again in 15 s')))
  t.match(told.at(-1), /the new configuration is in force/)
  t.equal((await get('/globex/rest/v1.0/me')).status, 404, 'globex is gone')
  t.ok(await server.drain())
})
