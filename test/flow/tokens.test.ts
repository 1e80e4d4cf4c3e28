// Tokens from outside: CONTRACT section 6, as far as a caller and the two servers can see it.
import t from 'tap'
import { head } from '../fixtures/attacker.ts'
import { ACME, GLOBEX, sendRaw, startRig } from '../fixtures/proxy.ts'

const posts = (fake: { journal: { tokenRequests(): readonly unknown[] } }) =>
  fake.journal.tokenRequests().length

t.test('companies of one account share a token; another secret is another token', async (t) => {
  const { fake, get } = await startRig(t, {
    fake: {
      clients: [
        { clientId: 'one', clientSecret: 's1', companyIds: [ACME, GLOBEX] },
        { clientId: 'two', clientSecret: 's2', companyIds: [GLOBEX] },
      ],
    },
    settings: {
      serviceAccounts: {
        one: { clientId: 'one', clientSecret: 's1' },
        again: { clientId: 'one', clientSecret: 's1' },
        two: { clientId: 'two', clientSecret: 's2' },
      },
      companies: {
        acme: { id: ACME, serviceAccount: 'one' },
        globex: { id: GLOBEX, serviceAccount: 'two' },
        '*': { serviceAccount: 'again' },
      },
    },
  })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  t.equal((await get('/globex/rest/v1.0/me')).status, 200)
  t.equal((await get('/123/rest/v1.0/me')).status, 403, 'an id under "*", which the app is not connected to')
  t.equal(posts(fake), 2)
  t.strictSame(
    fake.journal.api().map(({ headers, tokenSerial }) => [headers['procore-company-id'], tokenSerial]),
    [
      [ACME, fake.journal.api()[0]?.tokenSerial],
      [GLOBEX, fake.journal.api()[1]?.tokenSerial],
      ['123', fake.journal.api()[0]?.tokenSerial],
    ],
  )
})

t.test('a revoked token is renewed once and the request sent again, if its body can be', async (t) => {
  const echo = (method: string, ...lines: string[]) =>
    head(`${method} /acme/rest/v1.0/echo HTTP/1.1`, 'Host: localhost', ...lines)
  const post = (bytes: number) => `${echo('POST', `Content-Length: ${bytes}`)}${'x'.repeat(bytes)}`
  const chunked = `${echo('PATCH', 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\n\r\n`
  const cases: [string, string, number, number][] = [
    ['GET without a body', echo('GET'), 200, 2],
    ['POST with a short body', post(5), 200, 2],
    ['PATCH with a chunked body', chunked, 200, 2],
    ['POST with 64 KiB', post(65_536), 200, 2],
    ['POST with more than is kept', post(65_537), 401, 1],
  ]
  for (const [what, bytes, status, arrivals] of cases) {
    const { fake, port, get, log } = await startRig(t)
    fake.revokeTokens()
    const answer = await sendRaw(port, bytes)
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what)
    const api = fake.journal.api()
    t.equal(api.length, arrivals, what)
    if (arrivals === 2) t.equal(api[0]?.bodySha256, api[1]?.bodySha256, `${what}: the very same body`)
    t.equal((await get('/acme/rest/v1.0/me')).status, 200, `${what}: the next request has the new token`)
    t.equal(posts(fake), 2, what)
    t.match(
      log().find((line) => line['msg'] === 'request'),
      { retries: arrivals - 1, status },
    )
  }
})

t.test('a second 401 passes through unchanged, and within a minute there is no other renewal', async (t) => {
  const { fake, get } = await startRig(t)
  fake.faults.unauthorized()
  for (const [nth, arrivals] of [
    ['first', 2],
    ['second', 3],
    ['third', 4],
  ] as const) {
    const answer = await get('/acme/rest/v1.0/me')
    t.equal(answer.status, 401, nth)
    t.strictSame(answer.json, { errors: ['The access token is invalid'] }, nth)
    t.notOk('procore-proxy-error' in answer.headers, nth)
    t.equal(fake.journal.api().length, arrivals, nth)
    t.equal(posts(fake), 2, nth)
  }
})

t.test('many callers that see the 401 of one token make one renewal', async (t) => {
  const { fake, get } = await startRig(t, { fake: { tokenDelayMs: 50 } })
  fake.revokeTokens()
  const answers = await Promise.all(Array.from({ length: 40 }, () => get('/acme/rest/v1.0/me')))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(posts(fake), 2)
})

t.test('403 and 404 never touch the token', async (t) => {
  const { fake, get } = await startRig(t)
  fake.faults.notConnected({ times: 1 })
  t.equal((await get('/acme/rest/v1.0/me')).status, 403)
  t.equal((await get('/acme/rest/v1.0/projects/999')).status, 404)
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  t.equal(posts(fake), 1)
})

t.test('refused credentials are told at once, remembered, and never hammer the login server', async (t) => {
  const { fake, get } = await startRig(t, {
    cold: true,
    before: (fake) => fake.resetSecret('demo-client', 'another'),
  })
  const answers = await Promise.all(Array.from({ length: 20 }, () => get('/acme/rest/v1.0/me')))
  for (const { status, headers, json } of answers) {
    t.equal(status, 502)
    t.match(headers, {
      'content-type': 'application/problem+json',
      'procore-proxy-error': 'credentials_rejected',
      'proxy-status': /^procore-proxy; error=proxy_configuration_error; details="/,
    })
    t.match(json, {
      type: '/_proxy/errors#credentials_rejected',
      title: String,
      status: 502,
      detail: /HTTP 401, invalid_client/,
      code: 'credentials_rejected',
      company: 'acme',
      requestId: headers['x-request-id'],
      help: /secret/,
    })
    t.notMatch(JSON.stringify([headers, json]), 'demo-secret')
  }
  t.equal(posts(fake), 1)
  t.equal(fake.journal.api().length, 0, 'no token, no request')
})

t.test('a login server that is down: token_unavailable with Retry-After, then recovery alone', async (t) => {
  const { fake, get } = await startRig(t, {
    cold: true,
    before: (fake) => {
      fake.faults.token = { status: 503, headers: { 'Retry-After': '60' }, body: '<html>', times: 1 }
    },
  })
  t.equal((await get('/_proxy/health/ready')).status, 503, 'not ready before a token was tried')
  await fake.journal.when((entry) => entry.server === 'login' && entry.answer === 'finished')
  const answer = await get('/acme/rest/v1.0/me')
  t.equal(answer.status, 503)
  t.equal(answer.headers['procore-proxy-error'], 'token_unavailable')
  const retryAfter = Number(answer.headers['retry-after'])
  t.ok(retryAfter > 50 && retryAfter <= 60, `Retry-After: ${retryAfter}`)
  t.equal((await get('/_proxy/health/ready')).status, 200, 'ready once a token was tried')
  t.equal(fake.journal.api().length, 0)
})

t.test('a short failure of the login server is waited out', async (t) => {
  const { get } = await startRig(t, {
    cold: true,
    before: (fake) => {
      fake.faults.token = { status: 200, body: '', times: 1 }
    },
  })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200, 'an empty 200 is no token, and no reason to give up')
})
