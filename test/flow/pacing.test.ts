// The rate budget and retries from outside: CONTRACT section 6's last two points, against the fake Procore.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startRig } from '../fixtures/proxy.ts'

const statuses = (answers: readonly { status: number }[]) => answers.map(({ status }) => status)

t.test('a burst beyond the spike limit never sees a 429: it waits for the next window', async (t) => {
  const { fake, get } = await startRig(t, {
    fake: { rateLimit: { hourly: 1e6, spike: 20, spikeSeconds: 1 } },
  })
  const answers = await Promise.all(Array.from({ length: 50 }, () => get('/acme/rest/v1.0/me')))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(fake.journal.api().length, 50, 'and none was sent twice')
})

t.test('what waited is sent in the order in which it came, on idle connections and new ones', async (t) => {
  const { fake, get } = await startRig(t, {
    fake: { rateLimit: { hourly: 1e6, spike: 12, spikeSeconds: 1 } },
  })
  // One after the other, so that they leave one idle connection.
  for (let nth = 0; nth < 12; nth++) await get('/acme/rest/v1.0/me')
  fake.journal.clear()
  const targets = Array.from({ length: 10 }, (_, nth) => `/rest/v1.0/echo/${nth}`)
  const waiting: Promise<unknown>[] = []
  for (const target of targets) {
    waiting.push(get(`/acme${target}`))
    await sleep(5)
  }
  await Promise.all(waiting)
  t.strictSame(
    fake.journal.api().map(({ url }) => url),
    targets,
  )
})

t.test('429 and 503 are sent again after the wait that was asked for', async (t) => {
  const { fake, get, log } = await startRig(t)
  fake.faults.unavailable(0, { times: 2, match: '/rest/v1.0/me' })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200, '503 twice')
  fake.faults.rateLimited(0, { times: 1, match: '/rest/v1.0/projects' })
  const posted = await get('/acme/rest/v1.0/projects', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"project":{"name":"x"}}',
  })
  t.equal(posted.status, 201, 'a POST too: what was refused was not carried out')
  t.strictSame(
    log()
      .filter((line) => line['msg'] === 'request')
      .map((line) => line['retries']),
    [2, 1],
  )
})

t.test('what would take longer than maxWait passes through unchanged', async (t) => {
  const { fake, get } = await startRig(t, { settings: { rateLimit: { maxWait: '2s' } } })
  fake.faults.unavailable(30, { match: '/rest/v1.0/me' })
  const unavailable = await get('/acme/rest/v1.0/me')
  t.equal(unavailable.status, 503)
  t.equal(unavailable.headers['retry-after'], '30')
  t.notOk('procore-proxy-error' in unavailable.headers, "it is Procore's answer")
  fake.faults.rateLimited(30, { match: '/rest/v1.0/companies' })
  t.equal((await get('/acme/rest/v1.0/companies')).status, 429)
  t.equal(fake.journal.api().length, 2)
  const held = await get('/acme/rest/v1.0/companies')
  t.equal(held.status, 429)
  t.equal(held.headers['procore-proxy-error'], 'rate_limited', 'the next is not even sent')
  t.ok(Number(held.headers['retry-after']) > 25)
  t.equal(fake.journal.api().length, 2)
  t.equal(
    (await get('/acme/rest/v1.0/projects')).status,
    200,
    "one endpoint's 429 holds back that endpoint only",
  )
  t.equal((await get('/globex/rest/v1.0/companies')).status, 429, 'and that company only')
})

t.test(
  'maxWait is for waiting, and Procore’s answer passes where the wait and its jitter may not fit',
  async (t) => {
    const me = '/rest/v1.0/me'
    const slow = await startRig(t, { settings: { rateLimit: { maxWait: '1300ms' } } })
    slow.fake.faults.api = [
      { match: me, status: 503, headers: { 'Retry-After': '1' }, delayMs: 600, times: 1 },
    ]
    t.equal((await slow.get(`/acme${me}`)).status, 200, 'the time that Procore takes is no wait')
    const short = await startRig(t, { settings: { rateLimit: { maxWait: '2100ms' } } })
    short.fake.faults.api = [{ match: me, status: 429, headers: { 'Retry-After': '2' } }]
    const { status, headers } = await short.get(`/acme${me}`)
    t.equal(status, 429)
    t.notOk('procore-proxy-error' in headers)
  },
)

t.test('an endpoint’s own 429 while the budget lasts holds back method and path, not more', async (t) => {
  const { fake, get } = await startRig(t, { settings: { rateLimit: { whenExhausted: 'reject' } } })
  fake.faults.rateLimited(60, { match: '/rest/v1.0/me', times: 1 })
  t.strictSame(
    statuses([
      await get('/acme/rest/v1.0/me'),
      await get('/acme/rest/v1.0/me?x=1'),
      await get('/acme/rest/v1.0/me', { method: 'HEAD' }),
      await get('/acme/rest/v1.0/projects'),
    ]),
    [429, 429, 200, 200],
  )
  t.equal(fake.journal.api().length, 3)
})

t.test('when exhausted: reject says so at once, pass lets Procore say it', async (t) => {
  for (const [whenExhausted, arrivals, error] of [
    ['reject', 2, 'rate_limited'],
    ['pass', 4, undefined],
  ] as const) {
    const { fake, get } = await startRig(t, {
      fake: { rateLimit: { hourly: 1e6, spike: 2 } },
      settings: { rateLimit: { whenExhausted } },
    })
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await get('/acme/rest/v1.0/me'))
    t.strictSame(statuses(answers), [200, 200, 429, 429], whenExhausted)
    t.equal(answers[3]?.headers['procore-proxy-error'], error, whenExhausted)
    t.equal(fake.journal.api().length, arrivals, whenExhausted)
  }
})

t.test('waiting requests are bounded in number, and leave when their caller does', async (t) => {
  const { fake, get, server } = await startRig(t, {
    fake: { rateLimit: { hourly: 1e6, spike: 1 } },
    settings: { rateLimit: { maxQueued: 2, maxWait: '60s' } },
  })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  const leaving = new AbortController()
  const url = `${server.addresses()[0]?.url}/acme/rest/v1.0/me`
  const waiting = [1, 2].map(() => fetch(url, { signal: leaving.signal }).catch(() => 'left'))
  let third = await get('/acme/rest/v1.0/me')
  while (third.json.detail !== 'rateLimit.maxQueued requests wait for the rate budget already.') {
    t.fail(`unexpected: ${third.text}`)
    third = await get('/acme/rest/v1.0/me')
  }
  t.equal(third.status, 429)
  leaving.abort()
  t.strictSame(await Promise.all(waiting), ['left', 'left'])
  t.equal(fake.journal.api().length, 1)
})

t.test('a connection that breaks before any answer is tried again where that is harmless', async (t) => {
  for (const [method, body, status, arrivals] of [
    ['GET', undefined, 200, 2],
    ['PUT', 'x', 200, 2],
    ['DELETE', undefined, 200, 2],
    ['POST', 'x', 502, 1],
    ['PATCH', 'x', 502, 1],
  ] as const) {
    const { fake, get } = await startRig(t)
    fake.faults.reset('before', { times: 1 })
    const answer = await get('/acme/rest/v1.0/echo', { method, ...(body && { body }) })
    t.equal(answer.status, status, method)
    t.equal(fake.journal.api().length, arrivals, method)
  }
})

t.test('retries end: `upstream.retries` times, and with the retry budget', async (t) => {
  const { fake, get } = await startRig(t, {
    settings: { upstream: { retries: 1, connections: 10, maxQueued: 90 } },
  })
  fake.faults.reset('before')
  const answer = await get('/acme/rest/v1.0/me')
  t.equal(answer.status, 502)
  t.equal(answer.headers['procore-proxy-error'], 'upstream_protocol')
  t.equal(fake.journal.api().length, 2)
  fake.journal.clear()
  for (let i = 0; i < 3; i++) await Promise.all(Array.from({ length: 100 }, () => get('/acme/rest/v1.0/me')))
  t.equal(fake.journal.api().length, 300 + 199, 'an outage is not doubled')
  fake.faults.clear()
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  fake.faults.reset('before', { times: 40 })
  const later = await Promise.all(Array.from({ length: 40 }, () => get('/acme/rest/v1.0/me')))
  t.ok(
    later.every(({ status }) => status === 200),
    'a connection that broke for each of many calls costs none of them',
  )
})

t.test('a burst of broken connections costs no call one of its retries', async (t) => {
  const { fake, get } = await startRig(t, { settings: { upstream: { retries: 3 } } })
  fake.faults.reset('before')
  const answers = await Promise.all(Array.from({ length: 60 }, () => get('/acme/rest/v1.0/me')))
  t.ok(answers.every(({ status }) => status === 502))
  t.equal(fake.journal.api().length, 60 * 4)
})

t.test('a refused connection is tried again for a POST too: no byte of it was sent', async (t) => {
  const { fake, get, log } = await startRig(t, {
    settings: (fake) => ({
      environments: { fake: { apiUrl: 'http://127.0.0.1:1', loginUrl: fake.loginUrl } },
    }),
  })
  const answer = await get('/acme/rest/v1.0/projects', { method: 'POST', body: 'x' })
  t.equal(answer.status, 502)
  t.equal(answer.headers['procore-proxy-error'], 'upstream_unreachable')
  t.equal(fake.journal.api().length, 0)
  t.match(
    log().find((line) => line['msg'] === 'request'),
    { retries: 2 },
  )
})
