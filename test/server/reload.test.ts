// Twin of src/server/reload.ts, for orders of events that can't be had from outside (test/cli/reload.test.ts has the rest).
import { existsSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createLogger } from '../../src/observe/log.ts'
import { Reloader } from '../../src/server/reload.ts'
import { buildServer, loadConfig } from '../../src/server.ts'
import { freePort, KeptConnection, shortFolder, takenPort } from '../fixtures/cli.ts'
import {
  asClient,
  openSocket,
  type Rig,
  settingsFor,
  startRig,
  TWO_CLIENTS,
  withSecret,
} from '../fixtures/proxy.ts'

const FREE = { kind: 'tcp', host: '127.0.0.2', port: 0 } as const

t.test('of two configurations the newer one stays, though the older one was to be tried again', async (t) => {
  const { fake, server, reload, log, get } = await startRig(t)
  fake.faults.token = { status: 503, delayMs: 200, headers: { 'Retry-After': '60' }, times: 1 }
  const older = reload(settingsFor(fake, withSecret('older')))
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

t.test('while the login server fails, the old configuration stays; the new one is tried again', async (t) => {
  const { fake, reload, log, get } = await startRig(t)
  const { setTimeout: later } = globalThis
  // The fifteen seconds until then.
  t.intercept(globalThis, 'setTimeout', {
    value: (act: () => void, ms: number, ...more: []) => later(act, ms === 15_000 ? 100 : ms, ...more),
  })
  const fresh = { companies: { fresh: { id: '90210', serviceAccount: 'app' } } }
  fake.faults.token = { status: 503, headers: { 'Retry-After': '30' } }
  await reload(settingsFor(fake, { ...fresh, ...withSecret('new-secret') }))
  t.match(log().at(-1), {
    error: /HTTP 503/,
    msg: /the old configuration stays in force.*tried again in 15 s$/,
  })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  t.equal((await get('/fresh/rest/v1.0/me')).status, 404)
  fake.faults.clear()
  fake.resetSecret('demo-client', 'new-secret')
  while (!log().some(({ msg }) => String(msg).endsWith('is in force'))) await sleep(20)
  t.equal((await get('/fresh/rest/v1.0/me')).status, 403)
  t.equal((await get('/acme/rest/v1.0/me')).status, 404)
})

t.test('while a new secret is tried, the accounts in force are what is shown', async (t) => {
  const { fake, reload, get } = await startRig(t)
  fake.faults.token = { status: 401, body: '{"error":"invalid_client"}', delayMs: 300 }
  const clientSecret = 'another-secret'
  const reloaded = reload(settingsFor(fake, withSecret(clientSecret)))
  await fake.journal.when(({ body }) => body?.includes(clientSecret) === true)
  t.equal((await get('/_proxy/health/ready?strict=1')).status, 200)
  t.match((await get('/_proxy/status')).json, { ready: true, accounts: [{ name: 'app', token: 'valid' }] })
  t.equal((await get('/_proxy/status')).json.accounts.length, 1)
  await reloaded
  t.equal((await get('/_proxy/health/ready?strict=1')).status, 200, 'nor is it shown once it was refused')
})

t.test('an address widens to all of the machine on the same port, and back', async (t) => {
  const port = await freePort()
  const at = (host: string) => ({ listen: `${host}:${port}`, guard: { allowUnauthenticated: true } })
  const { fake, server, reload, get, log } = await startRig(t, { settings: at('127.0.0.1') })
  const urls = () => server.addresses().map(({ url }) => url)
  for (const host of ['0.0.0.0', '127.0.0.1']) {
    await reload(settingsFor(fake, at(host)))
    t.strictSame(urls(), [`http://${host}:${port}`], log().at(-1)?.['error'] as string)
    const base = `http://127.0.0.1:${port}`
    // The client learns that its connection was closed.
    await sleep(50)
    t.equal((await get('/acme/rest/v1.0/me', { base })).status, 200, host)
  }
})

t.test('a port that was any free one may be named then, alone and with others', async (t) => {
  const { fake, server, reload, get, log, url, port } = await startRig(t)
  const named = `127.0.0.1:${port}`
  const kept = await KeptConnection.open(t, url)
  const reloads: [listen: string | string[], urls: string[]][] = [
    [
      [named, `127.0.0.2:${port}`],
      [url, `http://127.0.0.2:${port}`],
    ],
    ['127.0.0.1:0', [url]],
    [`LOCALHOST:${port}`, [url, `http://[::1]:${port}`]],
    [named, [url]],
    [['127.0.0.1:0', named], [url]],
    [named, [url]],
  ]
  for (const [listen, urls] of reloads) {
    await reload(settingsFor(fake, { listen }))
    const told = server.addresses().map((each) => each.url)
    t.strictSame(told, urls, `${listen} ${log().at(-1)?.['error']}`)
    t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200, 'connections are kept')
  }
  t.equal(log().filter(({ level }) => level === 'error').length, 1, 'one port can not be had twice')

  await reload(settingsFor(fake, { listen: '127.0.0.1:0' }))
  const guard = { allowUnauthenticated: true }
  await reload(settingsFor(fake, { listen: [`0.0.0.0:${port}`, `127.0.0.1:${await takenPort(t)}`], guard }))
  t.strictSame(server.addresses(), [{ url, company: undefined }], 'it comes back with its port')
  await reload(settingsFor(fake, { listen: `0.0.0.0:${port}`, guard }))
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
})

t.test('an address for metrics may become one for callers, and the other way round', async (t) => {
  const [first, second] = [await freePort(), await freePort()]
  const at = (callers: number, metrics: number) => ({
    listen: `127.0.0.1:${callers}`,
    metrics: { listen: `127.0.0.1:${metrics}` },
  })
  const { fake, reload, get } = await startRig(t, { settings: at(first, second) })
  const status = async (port: number, path: string) =>
    (await get(path, { base: `http://127.0.0.1:${port}` })).status
  for (const [callers, metrics] of [
    [first, second],
    [second, first],
  ] as const) {
    await reload(settingsFor(fake, at(callers, metrics)))
    t.equal(await status(callers, '/acme/rest/v1.0/me'), 200)
    t.equal(await status(metrics, '/acme/rest/v1.0/me'), 404)
    t.equal(await status(metrics, '/_proxy/metrics'), 200)
  }
})

/** All servers that begin to listen from now on; each is told to `onListen`. */
function watchServers(t: Test, onListen: (server: Server) => void = () => {}): Server[] {
  const servers: Server[] = []
  const { listen } = Server.prototype
  t.intercept(Server.prototype, 'listen', {
    value: function (this: Server, ...args: Parameters<typeof listen>) {
      servers.push(this)
      const server = listen.apply(this, args)
      onListen(server)
      return server
    },
  })
  return servers
}

t.test('an error of a listening server is logged each time, and ends nothing', async (t) => {
  const servers = watchServers(t)
  const { url, get, log } = await startRig(t)
  const server = servers.find((each) => url.endsWith(`:${(each.address() as AddressInfo | null)?.port}`))
  for (let nth = 0; nth < 2; nth++) server?.emit('error', new Error('too many open files'))
  t.equal(log().filter(({ msg }) => /failed to accept/.test(String(msg))).length, 2)
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
})

t.test('what is known of a budget stays with a reload', async (t) => {
  const { fake, reload, get } = await startRig(t, { fake: { rateLimit: { hourly: 2, spike: 100 } } })
  for (let nth = 0; nth < 2; nth++) await get('/acme/rest/v1.0/me')
  await reload(
    settingsFor(fake, {
      companies: { other: { id: '7656', serviceAccount: 'app' } },
      rateLimit: { whenExhausted: 'reject' },
    }),
  )
  fake.journal.clear()
  t.match(await get('/other/rest/v1.0/me'), { status: 429, json: { code: 'rate_limited' } })
  t.equal(fake.journal.api().length, 0)
})

t.test('a secret that was refused shows in status and metrics until a reload works', async (t) => {
  const { fake, reload, get } = await startRig(t)
  await reload(settingsFor(fake, withSecret('wrong')))
  const shown = async () => {
    const { lastReload, warnings } = (await get('/_proxy/status')).json
    const [, metric] =
      /^procore_proxy_config_last_reload_successful (\d)$/m.exec((await get('/_proxy/metrics')).text) ?? []
    return [lastReload.ok, lastReload.errors.join(), metric, ...warnings]
  }
  t.match(await shown(), [false, /refused/, '0', /last reload failed.*refused/])
  t.notMatch((await get('/_proxy/status')).text, 'wrong')
  t.equal((await get('/acme/rest/v1.0/me')).status, 200, 'the old one goes on')
  await reload(settingsFor(fake))
  t.strictSame(await shown(), [true, '', '1'])
})

t.test('an account is tried only if others were in its place before, whatever their names', async (t) => {
  const good = { clientId: 'demo-client', clientSecret: 'demo-secret' }
  const bad = { clientId: 'demo-client', clientSecret: 'wrong' }
  const configuration = (shared: object, own: object, more = {}) => ({
    serviceAccounts: { acme: shared, ...more },
    companies: {
      acme: { id: '7656', serviceAccount: own },
      globex: { id: '4400', serviceAccount: 'acme' },
      ...Object.fromEntries(Object.keys(more).map((name) => [name, { id: '88', serviceAccount: name }])),
    },
  })
  const { fake, reload, get } = await startRig(t, { cold: true, settings: configuration(good, bad) })
  const reloaded = async (settings: Parameters<typeof settingsFor>[1]) => {
    await reload(settingsFor(fake, settings))
    return (await get('/_proxy/status')).json.lastReload.ok
  }
  t.equal((await get('/acme/rest/v1.0/me')).status, 502)
  t.ok(await reloaded(configuration(good, bad, { added: bad })), 'none of these was there before with others')
  const { accounts } = (await get('/_proxy/status')).json
  t.strictSame(accounts.map(({ name }: { name: string }) => name).sort(), ['acme', 'companies.acme'])
  t.notOk(
    await reloaded(configuration(bad, bad, { added: bad })),
    'though another one has the same credentials',
  )
})

t.test('an account has the name that is in force, in log, status and problems', async (t) => {
  const one = { clientId: 'demo-client', clientSecret: 'demo-secret' }
  const two = { clientId: 'other-client', clientSecret: 'other-secret' }
  const fakeOptions = { clients: [one, two].map((each) => ({ ...each, companyIds: ['7656', '4400'] })) }
  const companies = {
    acme: { id: '7656', serviceAccount: 'app' },
    globex: { id: '4400', serviceAccount: 'other' },
  }
  const settings = { serviceAccounts: { app: one, other: two }, companies }
  const { fake, server, reload, get, log } = await startRig(t, { fake: fakeOptions, settings })
  const named = async () =>
    (await get('/_proxy/status')).json.accounts.map((each: { name: string }) => each.name)
  t.strictSame(await named(), ['app', 'other'])
  await reload(settingsFor(fake, { serviceAccounts: { app: two, other: one }, companies }))
  const traded = [...server.tokens.sources()].map(({ account }) => [account.name, account.clientId])
  t.strictSame(traded.sort(), [
    ['app', 'other-client'],
    ['other', 'demo-client'],
  ])
  await reload(
    settingsFor(fake, {
      serviceAccounts: { renamed: one },
      companies: { acme: { id: '7656', serviceAccount: 'renamed' } },
    }),
  )
  t.strictSame(await named(), ['renamed'])
  fake.faults.token = { status: 401 }
  fake.revokeTokens()
  await get('/acme/rest/v1.0/me')
  t.match(await get('/acme/rest/v1.0/me'), { json: { detail: /^Service account renamed / } })
  t.equal(log().findLast(({ msg }) => /token/.test(String(msg)))?.['account'], 'renamed')
})

t.test('a reload that fails leaves every address as it was, whatever it failed at', async (t) => {
  const [port, metrics, other] = await Promise.all([freePort(), freePort(), freePort()])
  const at = (callers: number, forMetrics: number) => ({
    listen: `127.0.0.1:${callers}`,
    metrics: { listen: `127.0.0.1:${forMetrics}` },
  })
  const { fake, server, reload, get, log } = await startRig(t, { settings: at(port, metrics) })
  const before = server.addresses()
  // Its name is too long for any file system.
  const audit = { file: `/tmp/${'x'.repeat(300)}` }
  await reload(
    settingsFor(fake, { ...at(metrics, other), guard: { clientKeys: ['a-key-of-16-chars'] }, audit }),
  )
  t.match(log().at(-1), {
    level: 'error',
    error: /^audit\.file cannot be opened: ENAMETOOLONG/,
    msg: /the old configuration stays in force/,
  })
  t.strictSame(server.addresses(), before)
  const status = async (to: number, path: string) =>
    (await get(path, { base: `http://127.0.0.1:${to}` })).status
  t.equal(await status(metrics, '/acme/rest/v1.0/me'), 404)
  t.equal(await status(port, '/acme/rest/v1.0/me'), 200)
  await reload(settingsFor(fake, at(port, metrics)))
  t.equal(await status(port, '/acme/rest/v1.0/me'), 200, 'connections and budgets are those of before')
})

t.test('calls that wait while a reload changes the secret are sent with the new token', async (t) => {
  const { fake, reload, get } = await startRig(t, { cold: true })
  fake.faults.token = { hang: 'before' }
  const forToken = Array.from({ length: 3 }, () => get('/acme/rest/v1.0/me'))
  await fake.journal.when(({ server: place }) => place === 'login')
  fake.faults.token = undefined
  fake.resetSecret('demo-client', 'second')
  await reload(settingsFor(fake, withSecret('second')))
  for (const { status } of await Promise.all(forToken)) t.equal(status, 200)
  fake.faults.unavailable(1, { times: 1 })
  const forApi = get('/globex/rest/v1.0/me')
  await fake.journal.when(({ url }) => url === '/rest/v1.0/me')
  fake.resetSecret('demo-client', 'third')
  await reload(settingsFor(fake, withSecret('third')))
  t.equal((await forApi).status, 200)
})

t.test(
  'requests behind one that is under way do not outlive their address, or what it was for',
  async (t) => {
    const [first, second] = [await freePort(), await freePort()]
    const key = 'a-key-of-16-chars'
    const before = { listen: [`127.0.0.1:${first}`, `127.0.0.1:${second}`], guard: { clientKeys: [key] } }
    const { fake, reload } = await startRig(t, { settings: before })
    const login = `client_secret=${key}`
    const half = (port: number) =>
      openSocket(port).then((socket) => {
        socket.write(
          `POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${login.length}\r\n\r\n`,
        )
        return socket
      })
    const sockets = [await half(first), await half(second)]
    await sleep(50)
    await reload(settingsFor(fake, { listen: '127.0.0.1:0', metrics: { listen: `127.0.0.1:${second}` } }))
    fake.journal.clear()
    for (const socket of sockets) {
      socket.write(`${login}GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      let text = ''
      for await (const chunk of socket) text += chunk
      t.match(text, /^HTTP\/1\.1 /)
      t.equal(text.match(/HTTP\/1\.1 /g)?.length, 1)
    }
    t.equal(fake.journal.api().length, 0)
  },
)

/** Asks for a list whose second page takes a while; resolves when it is asked for, with what gives the rows. */
async function listUnderWay(
  { fake, get }: Rig,
  delayMs: number,
  prefix = '/acme',
  headers: Record<string, string> = {},
) {
  fake.faults.api.push({ match: (_method, url) => url.includes('page=2'), delayMs, times: 1 })
  const list = get(`${prefix}/_proxy/ndjson/rest/v1.0/projects?per_page=10`, { headers })
  await fake.journal.when(({ url }) => url.includes('page=2'))
  return async () => (await list).text.trim().split('\n').length
}

t.test('a list under way over two reloads uses the new secret', async (t) => {
  const rig = await startRig(t)
  const { fake, reload } = rig
  const rows = await listUnderWay(rig, 500)
  await reload(settingsFor(fake))
  fake.resetSecret('demo-client', 'second')
  await reload(settingsFor(fake, withSecret('second')))
  fake.journal.clear()
  t.equal(await rows(), 45)
  t.strictSame(
    fake.journal.entries.filter(({ server }) => server === 'login'),
    [],
  )
})

t.test('a list under way ends with its account, although a reload changes the client', async (t) => {
  const rig = await startRig(t, { fake: { clients: TWO_CLIENTS }, settings: asClient('a') })
  const rows = await listUnderWay(rig, 300)
  await rig.reload(settingsFor(rig.fake, asClient('b')))
  t.equal(await rows(), 45)
})

t.test('a list under way brings back no account that a reload took away', async (t) => {
  const companies = { '*': { serviceAccount: 'app' } }
  const rig = await startRig(t, {
    fake: { clients: TWO_CLIENTS },
    settings: { ...asClient('a'), companies },
  })
  const { fake, server, reload, get } = rig
  const rows = await listUnderWay(rig, 3_000, '', { 'Procore-Company-Id': '7656' })
  // So many that its company is forgotten, and has to be opened again for the next page.
  for (let id = 1; id <= 256; id++) await get('/rest/v1.0/me', { headers: { 'Procore-Company-Id': `${id}` } })
  await reload(settingsFor(fake, { ...asClient('b'), companies }))
  t.equal(await rows(), 45)
  t.strictSame(
    [...server.tokens.sources()].map(({ account }) => account.clientId),
    ['client-b'],
  )
})

t.test('a port that the system chose for callers is never given to metrics', async (t) => {
  const { fake, server, reload, url } = await startRig(t)
  const listen = `127.0.0.1:${await freePort()}`
  await reload(settingsFor(fake, { listen, metrics: { listen: '127.0.0.1:0' } }))
  t.notOk(server.addresses().some((each) => each.url === url))
  t.equal(server.addresses().length, 2)
})

t.test('a proxy that stops applies no other configuration, whenever it was to come', async (t) => {
  const listen = ['127.0.0.1:0', '127.0.0.2:0']
  const open = ({ server }: Rig) => server.addresses().filter(({ url }) => url !== 'closing')
  const trying = await startRig(t)
  trying.fake.faults.token = { status: 503, delayMs: 300 }
  const tried = trying.reload(settingsFor(trying.fake, { ...withSecret('tried'), listen }))
  await trying.fake.journal.when(({ body }) => body?.includes('tried') === true)
  t.ok(await trying.server.drain())
  await tried
  t.notMatch(trying.logText(), 'tried again in 15 s')
  t.strictSame(open(trying), [])
  const stopped = await startRig(t)
  t.ok(await stopped.server.drain())
  await stopped.reload(settingsFor(stopped.fake, { listen }))
  t.strictSame(open(stopped), [])
  // The accounts are tried, the rest is prepared, and addresses are opened in one of these ticks.
  for (const ticks of [0, 1, 2, 4, 8, 16, 32, 64]) {
    const applying = await startRig(t)
    const config = await loadConfig({ flags: { config: applying.file }, env: {}, cwd: t.testdirName })
    const applied = applying.server.reload({ ...config, listen: [...config.listen, FREE] })
    for (let tick = 0; tick < ticks; tick++) await new Promise<void>((resolve) => process.nextTick(resolve))
    t.ok(await applying.server.drain())
    await applied
    t.strictSame(open(applying), [])
  }
})

t.test(
  'connections that a new configuration does not use end, and those with requests after these',
  async (t) => {
    const one = { upstream: { connections: 1 } }
    const { fake, reload, get } = await startRig(t, { settings: one })
    const open = async (api: number) => {
      const isSo = () => fake.openSockets('api') === api && fake.openSockets('login') === 0
      for (let tries = 0; tries < 100 && !isSo(); tries++) await sleep(20)
      return [fake.openSockets('api'), fake.openSockets('login')]
    }
    for (const company of ['acme', 'globex']) t.equal((await get(`/${company}/rest/v1.0/me`)).status, 200)
    t.equal(fake.openSockets('api'), 2)
    await reload(settingsFor(fake, { ...one, companies: { acme: { id: '7656', serviceAccount: 'app' } } }))
    t.strictSame(await open(1), [1, 0], 'that of the company that stays')
    fake.faults.api.push({ match: () => true, delayMs: 200, times: 3 })
    const answers = [1, 2, 3].map((nth) => get(`/acme/rest/v1.0/me?nth=${nth}`))
    await fake.journal.when(({ url }) => url.includes('nth='))
    await reload(settingsFor(fake, { upstream: { connections: 2 } }))
    t.equal(fake.openSockets('api'), 1)
    for (const answer of answers) t.equal((await answer).status, 200, 'the ones that wait too')
    t.strictSame(await open(0), [0, 0])
  },
)

t.test('a drain that is asked for twice is one drain', async (t) => {
  const { fake, server, get } = await startRig(t)
  fake.faults.api.push({ match: () => true, delayMs: 300, times: 1 })
  const answer = get('/acme/rest/v1.0/me')
  await fake.journal.when(({ url }) => url === '/rest/v1.0/me')
  const start = performance.now()
  t.strictSame(await Promise.all([server.drain(), server.drain()]), [true, true])
  t.ok(performance.now() - start < 10_000, 'and does not wait for its time limit')
  t.equal((await answer).status, 200)
})

t.test('a connection that has sent nothing yet, or half a head, ends with its address', async (t) => {
  const port = await freePort()
  const { fake, reload } = await startRig(t, { settings: { listen: [`127.0.0.1:${port}`, '127.0.0.1:0'] } })
  const [idle, slow, vanished] = [await openSocket(port), await openSocket(port), await openSocket(port)]
  for (const socket of [slow, vanished]) socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: loc')
  await sleep(50)
  let answer = ''
  slow.on('data', (piece) => {
    answer += piece
  })
  const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve).resume())
  const ends = [closed(idle), closed(slow), closed(vanished)]
  await reload(settingsFor(fake))
  t.not(await Promise.race([ends[0], sleep(2_000, 'open')]), 'open')
  slow.write('alhost\r\n\r\n')
  t.not(await Promise.race([ends[1], sleep(4_000, 'open')]), 'open', 'after its response')
  t.match(answer, /^HTTP\/1\.1 200 .*\r\nConnection: close\r\n/s)
  t.not(await Promise.race([ends[2], sleep(8_000, 'open')]), 'open', 'it had some seconds')
})

t.test('a unix socket that cannot be given its mode does not stay open', async (t) => {
  const path = join(shortFolder(t), 'p.sock')
  const servers = watchServers(t, (server) => {
    server.prependOnceListener('listening', () => rmSync(path, { force: true }))
  })
  const { fake, reload, log } = await startRig(t)
  await reload(settingsFor(fake, { listen: ['127.0.0.1:0', `unix:${path}`] }))
  t.match(log().at(-1), { level: 'error', error: /ENOENT/, msg: /the old configuration stays in force/ })
  t.notOk(servers.at(-1)?.listening)
  t.notOk(existsSync(path))
})

t.test('an unexpected error of a reload is told, and holds up no other reload', async (t) => {
  const { file } = await startRig(t)
  const config = await loadConfig({ flags: { config: file }, env: {}, cwd: t.testdirName })
  const log: string[] = []
  const reported: unknown[] = []
  const reloader = new Reloader({
    tokens: { sources: () => [], retain: () => {} },
    login: { use: () => {} },
    log: createLogger(
      { level: 'info', format: 'json' },
      { write: (line: string) => void log.push(JSON.parse(line).msg) },
    ),
    listeners: { addresses: () => [], apply: () => Promise.reject(new Error('no address')) },
    current: () => ({ config }),
    prepare: async () => ({ apply: () => {}, discard: () => Promise.reject(new Error('not discarded')) }),
    loginsOf: () => [],
    report: (problems: unknown) => void reported.push(problems),
  } as unknown as ConstructorParameters<typeof Reloader>[0])
  for (let nth = 0; nth < 2; nth++) await reloader.reload(config)
  const twice = ['reload: the old configuration stays in force', 'reload: unexpected error']
  t.strictSame(log, [...twice, ...twice])
  t.strictSame(reported, ['no address', 'not discarded', 'no address', 'not discarded'])
})

t.test('a configuration that cannot be read replaces the one that was to be tried again', async (t) => {
  const { fake, server, reload, log } = await startRig(t)
  fake.faults.token = { status: 503, headers: { 'Retry-After': '60' } }
  await reload(settingsFor(fake, withSecret('newer')))
  t.match(log().at(-1)?.['msg'], /tried again in 15 s$/)
  let tried = 0
  t.intercept(globalThis, 'clearTimeout', {
    value: new Proxy(clearTimeout, {
      apply: (target, _this, [timer]) => {
        tried++
        return target(timer)
      },
    }),
  })
  server.reloadFailed(['no YAML'])
  t.equal(tried, 1)
})

t.test('a proxy that is stopped before or while it opens its addresses leaves none open', async (t) => {
  const { file } = await startRig(t)
  const config = await loadConfig({ flags: { config: file }, env: {}, cwd: t.testdirName })
  const build = () => buildServer(config, { log: createLogger({ level: 'silent', format: 'json' }) })
  const never = await build()
  t.ok(await never.drain())
  await t.rejects(never.listen(), /stopping/)
  t.strictSame(never.addresses(), [])
  for (const ticks of [0, 1, 2, 4, 8, 16]) {
    const server = await build()
    const opened = server.listen().catch(() => {})
    for (let tick = 0; tick < ticks; tick++) await new Promise<void>((resolve) => process.nextTick(resolve))
    t.ok(await server.drain())
    await opened
    t.notOk(server.addresses().some(({ url }) => url !== 'closing'))
  }
  const reloaded = await build()
  await Promise.all([reloaded.reload({ ...config, listen: [FREE] }), reloaded.listen()])
  t.match(
    reloaded.addresses(),
    [{ url: /^http:\/\/127\.0\.0\.2:/ }],
    'what was reloaded before stays in force',
  )
  t.ok(await reloaded.drain())
})

t.test('a change that only a start makes is told by log and status, until it is taken back', async (t) => {
  const url = `redis://127.0.0.1:${await takenPort(t)}`
  const { fake, reload, get, log } = await startRig(t, { settings: { shared: { url } } })
  const isLate = (text: string) => text.endsWith('at the next start')
  const warnings = async () => ((await get('/_proxy/status')).json.warnings as string[]).filter(isLate)
  t.strictSame(await warnings(), [])
  const changes: [settings: Record<string, unknown>, expected: RegExp[]][] = [
    [{ shared: { url: `${url}/1` } }, [/^reload: a change of `shared`.* takes effect at the next start$/]],
    [{ shared: { url: url.replace('redis', 'rediss') } }, [/`shared`/]],
    [{ log: { format: 'readable' } }, [/`shared`/, /`log.format`/]],
    [{ shared: { url }, log: { level: 'debug' }, shutdownTimeout: '1s' }, []],
  ]
  for (const [settings, expected] of changes) {
    const from = log().length
    await reload(settingsFor(fake, settings))
    const told = log().slice(from)
    const late = told.map(({ msg }) => String(msg)).filter(isLate)
    t.match([late, late.length], [expected, expected.length])
    t.match(told.at(-1)?.['msg'], /is in force$/)
    t.strictSame(await warnings(), late)
  }
})

t.test('a password that Redis repeats at the start is hidden in the log', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.write("-ERR unknown command 'AUTH', beginning with: 'pass-of-redis'\r\n"))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const { logText } = await startRig(t, {
    settings: { shared: { url: `redis://:pass-of-redis@127.0.0.1:${port}` } },
  })
  t.match(logText(), /unknown command 'AUTH', beginning with: '\*'/)
  t.notMatch(logText(), 'pass-of-redis')
})
