// The habits of Procore's Ruby gem (procore-oss/ruby-sdk), acted out over a socket: the gem itself is not needed.
import t from 'tap'
import { ACME, GLOBEX, settingsFor, startRig } from '../fixtures/proxy.ts'

/** The gem's headers for a request; its DELETE leaves the company out. */
const gemHeaders = (company?: string) => ({
  Accepts: 'application/json',
  Authorization: 'Bearer placeholder',
  'Content-Type': 'application/json',
  'User-Agent': 'Ruby/Procore',
  'Accept-Encoding': 'gzip;q=1.0,deflate;q=0.6,identity;q=0.3',
  ...(company !== undefined && { 'procore-company-id': company }),
})

/** How the gem reads Link; where a part does not match, Ruby's nil.captures raises. */
function gemPagination(link: string): Record<string, string> {
  const pairs = link.split(', ').map((part) => {
    const match = /(?:rest\/.*?|vapid)\/(.*?)>; rel="(\w+)"/.exec(part.trim())
    if (match === null) throw new Error(`nil.captures: ${part}`)
    return [match[2], match[1]]
  })
  return Object.fromEntries(pairs)
}

t.test('its timeout of one second is kept, from the first request on', async (t) => {
  const rig = await startRig(t, { fake: { tokenDelayMs: 1_500 } })
  const began = performance.now()
  t.equal((await rig.get('/rest/v1.0/me', { headers: gemHeaders(ACME) })).status, 200)
  t.ok(performance.now() - began < 1_000, 'the token was there before')
})

t.test('every page of a list, by Link', async (t) => {
  const rig = await startRig(t)
  const bases = { '/rest/v1.0': ACME, '/acme/rest/v1.0': undefined, '/vapid': GLOBEX }
  for (const [base, company] of Object.entries(bases)) {
    const seen: number[] = []
    let path: string | undefined = 'projects?per_page=20'
    while (path !== undefined) {
      const page = await rig.get(`${base}/${path}`, { headers: gemHeaders(company) })
      seen.push(page.json.length)
      path = gemPagination(String(page.headers['link']))['next']
    }
    t.strictSame(seen, [20, 20, 5], base)
  }
})

t.test('its DELETE without a company header: the address or the default decides', async (t) => {
  const companies = {
    acme: { id: ACME, serviceAccount: 'app' },
    globex: { id: GLOBEX, serviceAccount: 'app' },
  }
  const rig = await startRig(t, { settings: { companies } })
  const path = '/rest/v1.0/projects/1000001'
  const call = { method: 'DELETE', headers: gemHeaders() } as const
  t.match((await rig.get(path, call)).json, { code: 'company_required' })
  t.equal((await rig.get(`/acme${path}`, call)).status, 204)
  const withDefault = { ...companies, acme: { ...companies.acme, default: true } }
  await rig.reload(settingsFor(rig.fake, { companies: withDefault }))
  t.equal((await rig.get('/rest/v1.0/projects/1000002', call)).status, 204)
  t.equal(rig.fake.journal.api().at(-1)?.headers['procore-company-id'], ACME)
})

t.test('an Idempotency-Token and the gem’s odd headers arrive; its bearer does not', async (t) => {
  const rig = await startRig(t)
  const sent = { ...gemHeaders(ACME), 'Idempotency-Token': 'key-1' }
  const project = '{"project":{"name":"Gem"}}'
  await rig.get('/rest/v1.0/projects', { method: 'POST', headers: sent, body: project })
  const { headers, body } = rig.fake.journal.api().at(-1)!
  t.match(headers, {
    'idempotency-token': 'key-1',
    accepts: 'application/json',
    'user-agent': 'Ruby/Procore',
  })
  t.notMatch(headers['authorization'], 'placeholder')
  t.equal(body, project)
})

t.test('it logs in by a form', async (t) => {
  const rig = await startRig(t)
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const body = 'grant_type=client_credentials&client_id=a&client_secret=b'
  const { json } = await rig.get('/oauth/token', { method: 'POST', headers, body })
  t.match(json, { access_token: String, token_type: 'bearer', expires_in: 7200 })
})
