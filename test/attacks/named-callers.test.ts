// Attacks by callers with names on the rights of others: companies, projects, other callers' keys, and what they may see.
import t, { type Test } from 'tap'
import { attack, getOf, head, UNLIMITED } from '../fixtures/attacker.ts'
import { ACME, GLOBEX, type Rig, startRig } from '../fixtures/proxy.ts'
import { words } from '../fixtures/words.ts'

const EXCEL = 'k3y-of-the-spreadsheet-0001'
const AGENT = 'k3y-of-the-agent-that-writes'
const JOB = 'k3y-of-the-nightly-job-00003'
const KEYS = [EXCEL, AGENT, JOB]

function start(t: Test): Promise<Rig> {
  return startRig(t, {
    fake: UNLIMITED!,
    settings: {
      callers: {
        excel: { key: EXCEL, companies: ['acme'], access: 'read-only', projects: ['316469'] },
        agent: {
          key: [AGENT],
          access: 'read-only',
          rules: [{ allow: '/rest/v1.0/echo', methods: ['POST'] }],
        },
        job: { key: JOB },
      },
    },
  })
}

const call = (rig: Rig, key: string, target: string, method = 'GET') =>
  attack(
    rig,
    head(
      `${method} ${target} HTTP/1.1`,
      'Host: localhost',
      `Authorization: Bearer ${key}`,
      'Connection: close',
    ),
    { methods: [method] },
  )

t.test('Each caller does what it may, and nothing else', async (t) => {
  const rig = await start(t)
  const cases: [key: string, method: string, target: string, verdict: RegExp][] = [
    [JOB, 'POST', '/globex/rest/v1.0/echo', /^200$/],
    [AGENT, 'POST', '/acme/rest/v1.0/echo', /^200$/],
    [AGENT, 'PUT', '/acme/rest/v1.0/echo', /^403 access_denied$/],
    [AGENT, 'GET', '/globex/rest/v1.0/me', /^200$/],
    [EXCEL, 'GET', '/acme/rest/v1.0/me', /^200$/],
    [EXCEL, 'GET', '/acme/rest/v1.0/projects', /^200$/],
    [EXCEL, 'GET', '/acme/rest/v1.0/echo?project_id=316469', /^200$/],
    [EXCEL, 'POST', '/acme/rest/v1.0/echo?project_id=316469', /^403 access_denied$/],
    [EXCEL, 'GET', '/acme/rest/v1.0/echo', /^403 access_denied$/],
    [EXCEL, 'GET', '/acme/rest/v1.0/echo?project_id=316469&project%255fid=999', /^403 access_denied$/],
    [EXCEL, 'GET', '/acme/rest/v1.0/projects%252f999', /^403 access_denied$/],
    [EXCEL, 'GET', '/globex/rest/v1.0/me', /^403 access_denied$/],
    [EXCEL, 'GET', `/rest/v2.0/companies/${GLOBEX}/projects`, /^403 access_denied$/],
    [EXCEL, 'GET', '/acme/_proxy/files/localhost/projects/316469/x', /^40[03] /],
  ]
  for (const [key, method, target, verdict] of cases) {
    const outcome = await call(rig, key, target, method)
    t.match(outcome.verdict, verdict, `${method} ${target}`)
    t.equal(outcome.seen.length, outcome.verdict === '200' ? 1 : 0)
    for (const { rawHeaders } of outcome.seen) {
      for (const each of KEYS) t.notOk(rawHeaders.join('\n').includes(each), 'no key goes up')
    }
  }
  for (const key of KEYS) t.notOk(rig.logText().includes(key), 'nor into the log')
})

t.test('Without a key, or with those of two callers, nothing is told', async (t) => {
  const rig = await start(t)
  for (const lines of [
    [],
    ['Authorization: Bearer made-up'],
    [`Procore-Proxy-Key: ${EXCEL}`, `Authorization: Bearer ${JOB}`],
    [`Procore-Proxy-Key: ${EXCEL}x`, `Authorization: Bearer ${JOB}`],
  ]) {
    for (const target of ['/acme/rest/v1.0/me', '/nowhere/rest/v1.0/me', '/_proxy/status', '/_proxy/']) {
      const { verdict, seen, text, answers } = await attack(rig, getOf(target, ...lines))
      t.equal(verdict, '401 key_required', `${target} ${lines.join()}`)
      t.match(answers[0]?.values('www-authenticate')[0], /^Basic /)
      t.equal(seen.length, 0)
      t.notMatch(text, new RegExp(`globex|${ACME}|excel|agent`), 'no name of a company or caller')
    }
  }
})

t.test('A caller learns no other company from errors and status', async (t) => {
  const rig = await start(t)
  for (const target of words`
    /rest/v1.0/me /nowhere/rest/v1.0/me /acme/rest/v1.0/x?company_id=1 /_proxy/status
  `) {
    const { text } = await call(rig, EXCEL, target)
    t.notMatch(text, new RegExp(`globex|${GLOBEX}`), target)
  }
})

t.test('An entrance sees itself and no other caller, in status and metrics alike', async (t) => {
  const callers = { mine: { key: EXCEL, companies: ['acme'] }, boss: { key: JOB } }
  const rig = await startRig(t, { fake: UNLIMITED!, settings: { callers, guard: { clientKeys: [AGENT] } } })
  for (const key of [EXCEL, JOB]) await call(rig, key, '/acme/rest/v1.0/me')
  const cases: [key: string, prefix: string, names: string[]][] = [
    [JOB, '', ['boss', 'mine']],
    [AGENT, '', ['boss', 'mine']],
    [EXCEL, '', ['mine']],
    [EXCEL, 'acme.', ['mine']],
    [JOB, 'acme.', ['boss']],
    [AGENT, 'acme.', []],
  ]
  for (const [key, prefix, names] of cases) {
    const get = (path: string) =>
      rig.get(`/_proxy/${path}`, { headers: { host: `${prefix}localhost`, 'procore-proxy-key': key } })
    const status = (await get('status')).json as { callers: { name: string; requests: number }[] }
    t.strictSame(status.callers.map(({ name }) => name).sort(), names)
    for (const caller of status.callers) t.ok(caller.requests > 0)
    const found = (await get('metrics')).text.matchAll(/company="acme",caller="(\w+)"/g)
    t.strictSame([...new Set([...found].map(([, name]) => name))].sort(), names)
  }
})

t.test('A login takes the key for its secret and gives it back; another secret is refused', async (t) => {
  const rig = await start(t)
  const login = async (secret: string) => {
    const { status, json } = await rig.get('/oauth/token', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `grant_type=client_credentials&client_id=x&client_secret=${secret}`,
    })
    return { status, json }
  }
  t.match(await login(JOB), { status: 200, json: { access_token: JOB } })
  t.match(await login('made-up'), { status: 401, json: { error: 'invalid_client' } })
  t.equal((await rig.get('/acme/rest/v1.0/me', { headers: { authorization: `Bearer ${JOB}` } })).status, 200)
})

t.test('Guesses are slowed down, correct keys are not', async (t) => {
  const rig = await start(t)
  for (let i = 0; i < 10; i++) await call(rig, `guess-${i}`, '/acme/rest/v1.0/me')
  const before = performance.now()
  const guess = call(rig, 'guess-11', '/acme/rest/v1.0/me').then(
    ({ verdict }) => [verdict, performance.now() - before] as const,
  )
  const correct = await call(rig, JOB, '/acme/rest/v1.0/me')
  t.equal(correct.verdict, '200')
  const correctMs = performance.now() - before
  const [verdict, ms] = await guess
  t.equal(verdict, '401 key_required')
  t.ok(
    ms >= 950 && correctMs < ms,
    `${Math.round(correctMs)} ms for a correct key, ${Math.round(ms)} ms for a guess`,
  )
})

t.test('Who is ruled out of a path sees no request of others', async (t) => {
  const rig = await startRig(t, {
    fake: UNLIMITED!,
    settings: {
      callers: { ruled: { key: EXCEL, rules: [{ deny: '/rest/v1.0/payroll' }] }, job: { key: JOB } },
    },
  })
  await call(rig, JOB, '/acme/rest/v1.0/payroll')
  await call(rig, EXCEL, '/acme/rest/v1.0/me')
  for (const page of ['requests', 'status']) {
    const of = async (key: string) => (await call(rig, key, `/_proxy/${page}`)).text
    t.notMatch(await of(EXCEL), /payroll/)
    t.match(await of(page === 'requests' ? JOB : EXCEL), page === 'requests' ? /payroll/ : /"acme"/)
  }
})

t.test('Who may only read sees no write of others', async (t) => {
  const rig = await startRig(t, {
    fake: UNLIMITED!,
    settings: { callers: { reader: { key: EXCEL, access: 'read-only' }, job: { key: JOB } } },
  })
  await call(rig, JOB, '/acme/rest/v1.0/payroll', 'POST')
  await call(rig, JOB, '/acme/rest/v1.0/me')
  const of = async (key: string) => (await call(rig, key, '/_proxy/requests')).text
  t.match(await of(JOB), /payroll/)
  t.notMatch(await of(EXCEL), /payroll/)
  t.match(await of(EXCEL), /v1\.0\/me/)
})
