// Covers src/observe/mask.ts: no known secret is shown, in whatever form it comes back.
import { hash } from 'node:crypto'
import t from 'tap'
import { type Config, Secret } from '../../src/config/config.ts'
import { KnownSecrets } from '../../src/observe/mask.ts'
import { testAccount, testConfig } from '../fixtures/config.ts'
import { startRig } from '../fixtures/proxy.ts'

t.test(
  'tokens, client secrets, keys and passwords are hidden, also percent-encoded and in JSON',
  async (t) => {
    const secrets = new KnownSecrets()
    t.equal(secrets.conceal('nothing is known yet'), 'nothing is known yet')
    t.equal(secrets.isIn('nothing'), false)
    const config = testConfig()
    const known = (text: string) => new Secret(text)
    secrets.configure({
      ...config,
      accounts: [{ ...testAccount(), clientSecret: known('client"secret+/=') }],
      guard: { ...config.guard, clientKeys: [known('the-client-key')] },
      callers: [{ name: 'excel', keys: [known('the-excel-key')] }],
      network: {
        ...config.network,
        proxy: { origin: 'http://p', authorization: known('Basic dXNlcjpwYXNzd29yZA==') },
      },
      shared: { url: known('redis://user:p%40ss-of-redis@host') },
    } as unknown as Config)
    secrets.issued('token.of$procore')
    secrets.issued('token.of$procore-2')
    const cases: [text: string, shown: string][] = [
      ['Bearer token.of$procore', 'Bearer *'],
      ['a token.of$procore-2 b token.of$procore', 'a * b *'],
      ['tokenXof$procore', 'tokenXof$procore'],
      [`?a=${encodeURIComponent('client"secret+/=')}`, '?a=*'],
      [JSON.stringify({ a: 'client"secret+/=' }), '{"a":"*"}'],
      ['the-client-key the-excel-key', '* *'],
      ['dXNlcjpwYXNzd29yZA==', '*'],
      ['p@ss-of-redis p%40ss-of-redis', '* *'],
    ]
    for (const [text, shown] of cases) {
      t.equal(secrets.conceal(text), shown)
      t.equal(secrets.isIn(text), text !== shown)
    }
  },
)

t.test('the newest tokens are remembered; none is too short', async (t) => {
  const secrets = new KnownSecrets()
  for (let n = 0; n < 300; n++) secrets.issued(`token-number-${n}-`)
  t.equal(secrets.conceal('token-number-0- token-number-299-'), 'token-number-0- *')
  secrets.issued('short')
  t.equal(secrets.conceal('a short text'), 'a short text')
})

t.test('secrets that overlap are hidden as one; any text can be one', async (t) => {
  const secrets = new KnownSecrets()
  for (const secret of ['inner-secret', 'an-inner-secret-of-another', 'another-one', '\ud800-broken-text']) {
    secrets.issued(secret)
  }
  t.equal(secrets.conceal('an-inner-secret-of-another-one.'), '*.')
  t.equal(secrets.conceal('my-inner-secret-of-another'), 'my-*-of-another')
  t.equal(secrets.conceal('Another-Oneanother-one'), '**')
  t.equal(secrets.conceal('of \ud800-broken-text'), 'of *')
})

t.test('a token that is issued costs little, however many long ones are known', async (t) => {
  const random = (of: string) => hash('sha512', of, 'base64url').repeat(6)
  const times = [0, 1, 2].map((time) => {
    const secrets = new KnownSecrets()
    for (let n = 0; n < 256; n++) secrets.issued(`eyJhbGciOiJFUzUxMiJ9.${random(`${time} ${n}`)}`)
    const begin = performance.now()
    secrets.conceal('a line of the log')
    return performance.now() - begin
  })
  t.ok(Math.min(...times) < 50, String(times))
})

t.test('the secrets of earlier configurations stay known, up to a number', async (t) => {
  const secrets = new KnownSecrets()
  const configure = (...texts: string[]) =>
    secrets.configure({
      ...testConfig(),
      accounts: texts.map((text) => ({ ...testAccount(), clientSecret: new Secret(text) })),
    })
  configure('secret-0-', 'lasting-secret', 'lasting-secret')
  for (let n = 1; n <= 256; n++) configure(`secret-${n}-`, 'lasting-secret')
  t.equal(secrets.conceal('secret-0- secret-1- secret-256- lasting-secret'), '* * * *')
  configure('secret-257-', 'lasting-secret')
  t.equal(secrets.conceal('secret-0- secret-1- secret-257- lasting-secret'), 'secret-0- * * *')
})

t.test('a client secret that Procore echoes shows nowhere', async (t) => {
  const rig = await startRig(t, { settings: { inspector: { bodies: true } } })
  rig.fake.faults.api = [
    {
      match: '/rest/v1.0/me',
      headers: { 'X-Echo': 'of demo-secret', 'Content-Type': 'text/plain', 'X-Request-Id': 'seen' },
      body: 'It is demo-secret.',
    },
  ]
  await rig.get('/acme/rest/v1.0/me/demo-secret', { headers: { 'x-request-id': 'mine' } })
  const texts = await Promise.all(
    ['/_proxy/requests', '/_proxy/requests/mine', '/_proxy/status', '/_proxy/metrics'].map(
      async (path) => (await rig.get(path)).text,
    ),
  )
  t.match(texts[1], /"X-Echo","of \*"[\s\S]*It is \*/)
  for (const text of texts) t.notMatch(text, 'demo-secret')
})
