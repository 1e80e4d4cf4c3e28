// Covers src/observe/status.ts and src/server/observation.ts: the status page, and who may see it.
import t from 'tap'
import { TokenFailure } from '../../src/auth/request-token.ts'
import type { TokenSource, TokenState } from '../../src/auth/token-source.ts'
import type { Config, ServiceAccount } from '../../src/config/config.ts'
import { createLogger } from '../../src/observe/log.ts'
import { CompanyHistory } from '../../src/observe/metrics.ts'
import { type Status, statusOf } from '../../src/observe/status.ts'
import { testAccount, testConfig } from '../fixtures/config.ts'
import { testLive } from '../fixtures/live.ts'
import { ACME, GLOBEX, settingsFor, startRig } from '../fixtures/proxy.ts'

t.test('companies, tokens, budgets, counts, errors and warnings', async (t) => {
  const rig = await startRig(t, {
    settings: {
      serviceAccounts: {
        app: { clientId: 'demo-client', clientSecret: 'demo-secret' },
        bad: { clientId: 'demo-client', clientSecret: 'wrong-secret' },
      },
      companies: {
        acme: { id: ACME, serviceAccount: 'app', default: true, listen: '127.0.0.1:0' },
        globex: { id: GLOBEX, serviceAccount: 'bad', access: 'read-only', rules: [{ deny: '/rest/v1.0/x' }] },
        '*': { serviceAccount: 'app' },
      },
    },
    cold: true,
  })
  const { get, fake } = rig
  await get('/acme/rest/v1.0/me')
  fake.faults.notConnected({ match: '/rest/v1.0/projects' })
  await get('/acme/rest/v1.0/projects?a=query0')
  await get('/globex/rest/v1.0/me')
  await get('/1/rest/v1.0/me')
  const { json, text, headers } = await get('/_proxy/status')
  t.match(headers, { 'content-type': /^application\/json/, 'cache-control': 'no-store' })
  const status = json as Status
  t.match(status, {
    version: /^\d+\.\d+\.\d+/,
    node: process.versions.node,
    startedAt: /^\d{4}-.*Z$/,
    ready: true,
    inFlight: 1,
  })
  t.ok(status.uptimeSeconds >= 0)
  t.match(status.listeners, [
    { url: rig.url, company: null },
    { url: /^http:\/\/127\.0\.0\.1:\d+$/, company: 'acme' },
  ])
  t.match(status.companies, [
    {
      name: 'acme',
      id: ACME,
      environment: 'fake',
      account: 'app',
      access: 'read-write',
      rules: 0,
      default: true,
      listen: '127.0.0.1:0',
      inFlight: 0,
      queued: 0,
      requests: { '2xx': 1, '3xx': 0, '4xx': 1, '5xx': 0, none: 0 },
      budget: { limit: 100, remaining: 98, resetSeconds: Number },
    },
    { name: 'globex', access: 'read-only', rules: 1, default: false, listen: null, budget: null },
    { name: '*', id: null, default: false, listen: null, requests: { '4xx': 1 } },
  ])
  t.match(status.accounts, [
    { name: 'app', environment: 'fake', token: 'valid', ageSeconds: Number, lastFailure: null },
    {
      name: 'bad',
      token: 'rejected',
      ageSeconds: null,
      expiresInSeconds: null,
      lifetimeSeconds: null,
      lastFailure: { at: /Z$/, reason: 'rejected', detail: /invalid_client/, help: /Copy both again/ },
    },
  ])
  t.match(status.lastErrors, [
    {
      at: /Z$/,
      requestId: /./,
      method: 'GET',
      path: '/globex/rest/v1.0/me',
      company: 'globex',
      status: 502,
      code: 'credentials_rejected',
      help: /./,
    },
  ])
  t.match(status.warnings, [/^The token of service account bad \(fake\) is rejected: .*Copy both again/])
  t.match(status.companies[0]?.refusals, {
    status: 403,
    count: 1,
    persistent: false,
    causes: [{ cause: /not connected/, fix: /./ }],
  })
  t.match(status.companies[2]?.refusals, { persistent: true }, 'it never worked')
  t.notMatch(text, /demo-secret|wrong-secret|demo-client|query0|Bearer/)
  const token = fake.journal.api()[0]?.headers['authorization']?.toString().slice(7)
  t.ok(token && !text.includes(token) && !(await get('/_proxy/metrics')).text.includes(token))
})

t.test('warnings of the configuration are in it, and a reload changes what it shows', async (t) => {
  const rig = await startRig(t)
  const companies = { other: { id: '5', serviceAccount: 'app' } }
  await rig.reload(
    settingsFor(rig.fake, { companies, listen: '0.0.0.0:0', guard: { allowUnauthenticated: true } }),
  )
  const { port } = new URL(rig.server.addresses()[0]?.url ?? '')
  const { json } = await rig.get('/_proxy/status', { base: `http://127.0.0.1:${port}` })
  const status = json as Status
  t.match(status.companies, [{ name: 'other', requests: { '2xx': 0 } }])
  t.match(status.warnings, [/0\.0\.0\.0/])
})

const NO_HISTORY = new CompanyHistory(createLogger({ level: 'silent', format: 'json' }))

t.test('a viewer sees its own companies, accounts, addresses and itself alone', async (t) => {
  const [acme, globex] = testConfig().companies
  const other = { ...testAccount(), name: 'other', key: 'other' }
  const caller = { keys: [], companies: ['acme'], access: 'read-only', rules: [], projects: ['1'] } as const
  const config: Config = {
    ...testConfig(),
    companies: [acme!, { ...globex!, account: other }],
    callers: ['excel', 'agent'].map((name) => ({ ...caller, name, share: undefined })),
    warnings: ['Something of globex.'],
  }
  const source = (account: ServiceAccount) =>
    ({
      account,
      state: () => ({ token: undefined, lastFailure: undefined, tried: true }),
    }) as unknown as TokenSource
  const live = testLive({
    inFlight: 9,
    config,
    tokens: [source(acme!.account), source(other)],
    listeners: [
      { url: 'http://127.0.0.1:1', company: undefined },
      { url: 'http://127.0.0.1:2', company: 'acme' },
      { url: 'http://127.0.0.1:3', company: 'globex' },
    ],
    shared: { up: false, errors: {} },
  })
  const lastReload = { at: 0, ok: false, errors: ['globex: wrong'] }
  const parts = { live, history: NO_HISTORY, errors: [], lastReload }
  const all = statusOf(parts)
  t.match(all, {
    inFlight: 9,
    cache: { entries: 0, bytes: 0 },
    callers: [{ name: 'excel', projects: ['1'], requests: 0 }, {}],
    shared: { up: false },
  })
  t.match(all.lastReload, { at: '1970-01-01T00:00:00.000Z', ok: false, errors: ['globex: wrong'] })
  t.match(all.warnings, ['Something of globex.', /last reload failed.*globex: wrong/, /Redis or Valkey/])
  const some = statusOf({ ...parts, viewer: { companies: new Set(['acme']), caller: 'excel' } })
  t.strictSame(
    [some.companies, some.accounts, some.callers].map((list) => list.map(({ name }) => name)),
    [['acme'], [acme!.account.name], ['excel']],
  )
  t.strictSame(some.listeners, [{ url: 'http://127.0.0.1:2', company: 'acme' }])
  t.match(some, {
    inFlight: 0,
    cache: null,
    warnings: { length: 0 },
    lastReload: { ok: false, errors: { length: 0 } },
  })
  t.notMatch(JSON.stringify(some), /globex|other|agent/)
})

t.test('an account whose token is', async (t) => {
  const account = testAccount()
  const failed = (reason: ConstructorParameters<typeof TokenFailure>[0], help?: string) => ({
    failure: new TokenFailure(reason, 'it failed', { help }),
    at: 0,
  })
  const now = performance.now()
  const token = {
    value: 'token0',
    issuedAt: 0,
    lifetimeMs: 100_000,
    obtainedAt: Date.now() - 40_000,
    renewAt: now,
    endsAt: now + 60_000,
    wallEndsAt: 0,
  }
  const cases: [TokenState, string, RegExp | undefined][] = [
    [{ token, lastFailure: undefined, tried: true }, 'valid', undefined],
    [{ token, lastFailure: failed('timeout'), tried: true }, 'renewal failing', /./],
    [{ token: undefined, lastFailure: failed('rejected'), tried: true }, 'rejected', /Copy both again/],
    [{ token: undefined, lastFailure: failed('bad_status'), tried: true }, 'unavailable', /keeps trying/],
    [{ token: undefined, lastFailure: failed('tls', 'its own'), tried: true }, 'unavailable', /^its own$/],
    [{ token: undefined, lastFailure: undefined, tried: true }, 'idle', undefined],
    [{ token: undefined, lastFailure: undefined, tried: false }, 'waiting', undefined],
  ]
  for (const [state, name, help] of cases) {
    const source = { account, state: () => state } as unknown as TokenSource
    const loads = [
      { company: 'acme', inFlight: 1, waitingForBudget: 2, waitingForConnection: 3, budget: BUDGET },
    ]
    const live = testLive({ tokens: [source], loads })
    const status = statusOf({ live, history: NO_HISTORY, errors: [], lastReload: undefined })
    const [shown] = status.accounts
    t.equal(shown?.token, name)
    if (help === undefined) t.equal(shown?.lastFailure, null)
    else t.match(shown?.lastFailure, { at: '1970-01-01T00:00:00.000Z', detail: 'it failed', help })
    t.match(shown, state.token ? { ageSeconds: 40, expiresInSeconds: 60, lifetimeSeconds: 100 } : {})
    t.equal(status.warnings.length, help === undefined ? 0 : 1)
    t.match(status.companies, [
      { queued: 5, budget: { limit: 5, remaining: 4, resetSeconds: null } },
      { inFlight: 0 },
    ])
    t.notMatch(JSON.stringify(status), 'token0')
  }
})

const BUDGET = { limit: 5, remaining: 4, resetInMs: undefined }
