// Procore's own JavaScript SDK, as it comes from npm, through the proxy: it insists on a log-in, and gets a placeholder.
import sdk from '@procore/js-sdk'
import t from 'tap'
import { ACME, GLOBEX, type Rig, startRig } from '../fixtures/proxy.ts'
import { logIn, MADE_UP, type Project, readAll, type SdkAnswer } from '../fixtures/sdk.ts'

/** The SDK rejects with the answer itself, which is no Error. */
async function refused(call: Promise<unknown>): Promise<unknown> {
  return call.then(() => undefined).catch((answer: unknown) => answer)
}

function lastSent({ fake }: Rig) {
  const { method, url, headers, body } = fake.journal.api().at(-1)!
  return { method, url, headers, body }
}

t.test('it logs in, looks at its token and revokes it, with made-up credentials', async (t) => {
  const rig = await startRig(t)
  const before = rig.fake.journal.entries.length
  for (const base of [rig.url, `${rig.url}/acme`]) {
    const { token } = await logIn(base)
    t.match(await sdk.info(token, base), { expires_in_seconds: 7200 })
    t.match(await sdk.refresh({ ...MADE_UP, token, refresh: token }, base), { access_token: token })
    await sdk.revoke({ token, clientId: 'made-up', clientSecret: 'made-up' }, base)
  }
  t.equal(rig.fake.journal.entries.length, before, 'nothing of it reached Procore')
})

t.test('pages by Link, with a prefix and with a company header', async (t) => {
  const rig = await startRig(t)
  const prefixed = await readAll(t, `${rig.url}/acme`)
  t.equal(prefixed.length, 45)
  const headed = await readAll(t, rig.url, ACME)
  t.strictSame(headed, prefixed)
  const { headers } = lastSent(rig)
  t.equal(headers['procore-company-id'], ACME)
  t.match(headers['procore-sdk-language'], 'javascript')
  t.notMatch(headers['authorization'], 'placeholder', "the bearer is the service account's")
})

t.test('writes: POST, PATCH, PUT, DELETE without a body but with a Content-Type', async (t) => {
  const rig = await startRig(t)
  const { client } = await logIn(rig.url, GLOBEX)
  const made: SdkAnswer<Project> = await client.post({ base: '/projects' }, { project: { name: 'Dépôt' } })
  t.equal(made.response.status, 201)
  t.match(made.response.headers.get('location'), `${rig.url}/rest/v1.0/projects/`)
  // Ids of this company are beyond what JavaScript's numbers hold: the text is taken.
  const id = made.response.headers.get('location')!.split('/').at(-1)
  const project = { name: 'Depot' }
  const patched: SdkAnswer<Project> = await client.patch(`/rest/v1.0/projects/${id}`, { project })
  t.equal(patched.body.name, 'Depot')
  const put: SdkAnswer<{ body: string }> = await client.put('/rest/v1.0/echo', { a: 1 })
  t.equal(put.response.status, 200)
  t.equal(lastSent(rig).body, '{"a":1}')

  const removed: SdkAnswer<unknown> = await client.delete(`/rest/v1.0/projects/${id}`)
  t.match([removed.response.status, removed.body], [204, {}])
  const headers = { 'content-type': 'application/json', 'procore-company-id': GLOBEX }
  t.match(lastSent(rig), { method: 'DELETE', headers })
  t.notOk(lastSent(rig).headers['transfer-encoding'])
})

t.test('a large body', async (t) => {
  const rig = await startRig(t)
  const { token } = await logIn(`${rig.url}/acme`)
  // The SDK writes every body as JSON; it has no way to send a form with a file.
  const file = 'x'.repeat(300_000)
  const upload = sdk.client(sdk.oauth(token), {}, `${rig.url}/acme`)
  const { response, body }: SdkAnswer<{ bytes: number }> = await upload.post('/rest/v1.0/files', { file })
  t.equal(response.status, 201)
  t.equal(body.bytes, JSON.stringify({ file }).length)
})

t.test('the company: what the SDK sends, and what the proxy makes of it', async (t) => {
  const rig = await startRig(t)
  const { client } = await logIn(`${rig.url}/acme`)
  await client.get('/rest/v1.0/me')
  // Without a default company no header is sent, so the prefix decides.
  t.equal(lastSent(rig).headers['procore-company-id'], ACME)
  await client.get('/rest/v1.0/me', { companyId: ACME })
  const conflict = { response: { status: 409 }, body: { code: 'company_conflict' } }
  t.match(await refused(client.get('/rest/v1.0/me', { companyId: GLOBEX })), conflict)
  const plain = await logIn(rig.url)
  const required = { response: { status: 400 }, body: { code: 'company_required' } }
  t.match(await refused(plain.client.get('/rest/v1.0/me')), required)
  // What older versions send where no default company is set.
  const headers = { 'Procore-Company-Id': 'undefined' }
  const unknown = await refused(plain.client.get('/rest/v1.0/me', { headers }))
  t.match(unknown, { body: { code: 'company_unknown' } })
})

t.test('filters in brackets arrive as the SDK writes them, and it can read errors', async (t) => {
  const rig = await startRig(t)
  const { client } = await logIn(`${rig.url}/acme`)
  const qs = { filters: { id: [1, 2] } }
  const rfis = { base: '/projects/{project_id}/rfis', params: { project_id: 1 }, qs, version: 'v1.1' }
  await client.get(rfis).catch(() => {})
  t.equal(lastSent(rig).url, '/rest/v1.1/projects/1/rfis?filters%5Bid%5D%5B%5D=1&filters%5Bid%5D%5B%5D=2')
  await client.get({ base: '/projects', version: 'vapid' })
  t.equal(lastSent(rig).url, '/vapid/projects')
  const response = { status: 404 }
  t.match(await refused(client.get('/nothing')), { response, body: { code: 'route_unknown' } })
  t.match(await refused(client.get('/rest/v1.0/nothing')), { response, body: { errors: /./ } })
})

t.test('its refresher logs in anew at the proxy and goes on', async (t) => {
  const rig = await startRig(t)
  const base = `${rig.url}/acme`
  const { token } = await logIn(base)
  const refresher = sdk.refresher(sdk.oauth(token), (old: string) =>
    sdk.refresh({ ...MADE_UP, token: old, refresh: old }, base),
  )
  const client = sdk.client(refresher, {}, base)
  rig.fake.revokeTokens()
  const { response }: SdkAnswer<unknown> = await client.get('/rest/v1.0/me')
  t.equal(response.status, 200, 'the proxy renewed its own')
})
