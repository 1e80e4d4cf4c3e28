// A running proxy gets another configuration: by SIGHUP, by a changed file, by a swapped symlink.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  freePort,
  get,
  KeptConnection,
  type Run,
  run,
  shortFolder,
  startPlace,
  takenPort,
} from '../fixtures/cli.ts'
import { asClient, type Settings, TWO_CLIENTS, withSecret } from '../fixtures/proxy.ts'

t.jobs = 2

const IN_FORCE = 'reload: the new configuration is in force'
const STAYS = 'reload: the old configuration stays in force'
const MORE = {
  companies: {
    acme: { id: '7656', serviceAccount: 'app' },
    globex: { id: '562949953443325', serviceAccount: 'app' },
    fresh: { id: '90210', serviceAccount: 'app' },
  },
}

async function startProxy(t: Test, over: Settings = {}, options: Parameters<typeof startPlace>[2] = {}) {
  const place = await startPlace(t, over, options)
  const proxy = run(t, ['-c', place.file], { cwd: place.folder })
  const url = await proxy.ready()
  return { ...place, proxy, url }
}

/** Does something and waits for the log line that tells what came of it. */
async function expectLine(proxy: Run, text: string, act: () => void, ms?: number) {
  const from = proxy.lines().length
  act()
  return proxy.line(text, from, ms)
}

/** Replaces a file in one go, as an editor does. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

t.test('a changed file is taken by itself, and by SIGHUP; what did not change stays', async (t) => {
  const { proxy, url, settings, write, fake } = await startProxy(t)
  const kept = await KeptConnection.open(t, url)
  t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200)
  t.match(await kept.get('/fresh/rest/v1.0/me'), {
    status: 404,
    headers: { 'procore-proxy-error': 'company_unknown' },
  })

  await expectLine(proxy, IN_FORCE, () => write(settings(MORE)))
  t.ok(await proxy.line('reload: a file changed'))
  const answer = await kept.get('/fresh/rest/v1.0/me')
  const fresh = { status: 403, headers: { 'procore-proxy-company': 'fresh' } }
  t.match(answer, fresh, 'the same socket, the new company')
  t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200)
  t.equal(fake.journal.tokenRequests().length, 1, 'the token stayed')
  const sockets = fake.journal.api().filter(({ headers }) => headers['procore-company-id'] === '7656')
  t.equal(new Set(sockets.map(({ socket }) => socket)).size, 1, 'and the connection to the API')

  await expectLine(proxy, IN_FORCE, () => proxy.kill('SIGHUP'))
  t.ok(await proxy.line('reload: SIGHUP'))
  const moved = proxy.lines().filter(({ msg }, i) => i > 8 && String(msg).startsWith('listening'))
  t.strictSame(moved, [], 'no address moved')

  await expectLine(proxy, IN_FORCE, () => write(settings({ ...MORE, log: { level: 'debug' } })))
  await expectLine(proxy, 'reload: a file changed', () => write(settings({ log: { level: 'warn' } })))
  // At level warn it says no more what it does: the company tells.
  for (;;) if ((await kept.get('/fresh/rest/v1.0/me')).status === 404) break
  t.equal((await kept.get('/acme/rest/v1.0/me?afterwards')).status, 200)
  proxy.kill('SIGTERM')
  const { code, out } = await proxy.end()
  t.equal(code, 0)
  t.notMatch(out, 'afterwards', 'info is no longer logged')
})

t.test('bad YAML and mistakes are told and ignored', async (t) => {
  const { proxy, url, file, settings, write } = await startProxy(t)
  await expectLine(proxy, STAYS, () => replace(file, 'companies: [unclosed'))
  t.equal((await get(t, url, '/acme/rest/v1.0/me')).status, 200)
  const from = proxy.lines().length
  await expectLine(proxy, STAYS, () => replace(file, '{"listen": 1, "foo": 2}'))
  const told = proxy.lines().slice(from)
  for (const key of [' listen', ' foo', ' companies']) {
    const errors = told.filter(({ level, msg }) => level === 'error' && String(msg).includes(file))
    t.ok(
      errors.some(({ msg }) => String(msg).includes(key)),
      key,
    )
  }
  await expectLine(proxy, STAYS, () => rmSync(file))
  t.equal((await get(t, url, '/acme/rest/v1.0/me')).status, 200)
  await expectLine(proxy, IN_FORCE, () => write(settings(MORE)))
  t.equal((await get(t, url, '/fresh/rest/v1.0/me')).status, 403)
  t.notMatch(proxy.out, 'demo-secret')
})

t.test('an address that changed moves, and one that can not be had changes nothing', async (t) => {
  const [first, second, own] = [await freePort(), await freePort(), await freePort()]
  const socket = join(shortFolder(t), 'p.sock')
  const at = (port: number) => ({ listen: ['127.0.0.1:0', `127.0.0.1:${port}`] })
  const { proxy, settings, write, fake } = await startProxy(t, at(first))
  const [stays = '', old = ''] = await proxy.listening(2)
  fake.faults.api.push({ match: '/rest/v1.0/echo', delayMs: 1_500, times: 1 })
  const under = await KeptConnection.open(t, old)
  under.send('/acme/rest/v1.0/echo')
  await fake.journal.when(({ url }) => url === '/rest/v1.0/echo')
  const idle = await KeptConnection.open(t, old)
  await idle.get('/_proxy/health/live')

  await expectLine(proxy, IN_FORCE, () => write(settings(at(second))))
  const moved = `http://127.0.0.1:${second}`
  t.ok(await proxy.line(`listening on ${moved}`))
  t.equal((await get(t, moved, '/acme/rest/v1.0/me')).status, 200)
  t.equal((await get(t, stays, '/acme/rest/v1.0/me')).status, 200, 'port 0 is still the same')
  await t.rejects(KeptConnection.open(t, old), { code: 'ECONNREFUSED' })
  await idle.closed()
  t.equal((await under.reply()).status, 200, 'what was under way ended as it began')
  await under.closed()

  const company = (listen?: string) => ({
    listen: ['127.0.0.1:0', `unix:${socket}`],
    companies: { acme: { id: '7656', serviceAccount: 'app', ...(listen && { listen }) } },
  })
  await expectLine(proxy, IN_FORCE, () => write(settings(company(`127.0.0.1:${own}`))))
  t.match(await get(t, `http://127.0.0.1:${own}`, '/rest/v1.0/me'), { status: 200 })
  t.match(await get(t, `unix:${socket}`, '/rest/v1.0/me'), { status: 200 })
  t.equal((await get(t, stays, '/rest/v1.0/me')).status, 200, 'port 0 is still the same')

  const port = await takenPort(t)
  const refused = await expectLine(proxy, STAYS, () =>
    write(settings({ ...company(), listen: `127.0.0.1:${port}` })),
  )
  t.match(refused, { level: 'error', error: /another program listens there/ })
  t.match(await get(t, `http://127.0.0.1:${own}`, '/rest/v1.0/me'), { status: 200 })
})

t.test('a mode of a unix socket that changed is set without a break', async (t) => {
  const path = join(shortFolder(t), 'p.sock')
  const { proxy, settings, write } = await startProxy(t, { listen: `unix:${path}` })
  const kept = await KeptConnection.open(t, `unix:${path}`)
  await kept.get('/_proxy/health/live')
  await expectLine(proxy, IN_FORCE, () => write(settings({ listen: { path, mode: '0660' } })))
  t.equal(lstatSync(path).mode & 0o777, 0o660)
  t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200)
})

t.test('a secret file: a bad secret stays out, a good one comes in, by rename and by symlink', async (t) => {
  const place = await startPlace(t)
  const { folder, fake, settings, write } = place
  // As Kubernetes mounts a secret: app → ..data/app, ..data → a folder; ..data is swapped.
  const version = (name: string, secret: string) => {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'app'), `${secret}\n`, { mode: 0o600 })
    symlinkSync(name, join(folder, '..data.new'))
    renameSync(join(folder, '..data.new'), join(folder, '..data'))
  }
  version('..v1', 'demo-secret')
  symlinkSync('..data/app', join(folder, 'app'))
  write(settings(withSecret({ file: 'app' })))
  const proxy = run(t, [], { cwd: folder })
  const url = await proxy.ready()
  const kept = await KeptConnection.open(t, url)
  t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200)

  const rejected = await expectLine(proxy, STAYS, () => version('..v2', 'wrong-secret'))
  t.match(rejected, { level: 'error', error: /refused the credentials/, help: /client id, secret/ })
  t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200, 'the old one stays in force')

  fake.resetSecret('demo-client', 'new-secret')
  await expectLine(proxy, IN_FORCE, () => version('..v3', 'new-secret'))
  t.equal((await kept.get('/acme/rest/v1.0/me')).status, 200)
  t.equal(fake.journal.api().at(-1)?.tokenSerial, 2, 'with a token of the new secret')
  t.notMatch(proxy.out, /new-secret|wrong-secret|demo-secret/)
})

t.test('credentials are changed under load without a failed request', async (t) => {
  const rateLimit = { hourly: Number.POSITIVE_INFINITY, spike: Number.POSITIVE_INFINITY }
  const over = { ...asClient('a'), log: { level: 'info' } }
  const options = { fake: { clients: TWO_CLIENTS, rateLimit, tokenDelayMs: 100 } }
  const { proxy, url, settings, write, fake } = await startProxy(t, over, options)
  let stop = false
  const statuses = new Map<number, number>()
  const load = Array.from({ length: 6 }, async () => {
    const connection = await KeptConnection.open(t, url)
    while (!stop) {
      const { status } = await connection.get('/acme/rest/v1.0/me')
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  })
  for (const name of ['b', 'a', 'b']) {
    await expectLine(proxy, IN_FORCE, () => {
      write(settings(asClient(name)))
      proxy.kill('SIGHUP')
    })
  }
  stop = true
  await Promise.all(load)
  t.strictSame([...statuses.keys()], [200])
  t.ok(statuses.get(200)! > 20)
  const serials = new Set(fake.journal.api().map(({ tokenSerial }) => tokenSerial))
  t.ok(serials.size >= 3, 'with tokens of all')
})

/** A secret whose program replaces the configuration that names it by `next.yaml`, once. */
const REPLACING = {
  command: ['sh', '-c', 'mv next.yaml procore-proxy.yaml 2>/dev/null; echo demo-secret'],
}

t.test('a file that changes while its configuration is read is read again', async (t) => {
  const { folder, file, settings, write } = await startPlace(t)
  writeFileSync(join(folder, 'secret'), 'demo-secret', { mode: 0o600 })
  const writeNext = (over: Settings) =>
    writeFileSync(join(folder, 'next.yaml'), JSON.stringify(settings(over)), { mode: 0o600 })
  writeNext({})
  write(settings(withSecret(REPLACING)))
  const proxy = run(t, [], { cwd: folder })
  const url = await proxy.ready()
  t.ok(await proxy.line(IN_FORCE), 'at start')

  writeNext(MORE)
  const serviceAccount = { clientId: 'demo-client', clientSecret: { file: 'secret' } }
  const oneMoreFile = { ...withSecret(REPLACING), companies: { acme: { id: '7656', serviceAccount } } }
  await expectLine(proxy, IN_FORCE, () => replace(file, JSON.stringify(settings(oneMoreFile))))
  const from = proxy.lines().findLastIndex(({ msg }) => msg === IN_FORCE) + 1
  t.ok(await proxy.line(IN_FORCE, from), 'at a reload')
  t.equal((await get(t, url, '/fresh/rest/v1.0/me')).status, 403)
})

t.test('a reload that failed for a missing file is tried again when the file is there', async (t) => {
  const { proxy, url, folder, settings, write } = await startProxy(t)
  const secret = join(folder, 'secret')
  const missing = await expectLine(proxy, `${secret} does not exist`, () =>
    write(settings({ ...MORE, ...withSecret({ file: 'secret' }) })),
  )
  t.match(missing, { level: 'error' })
  await proxy.line(STAYS)
  const open = await expectLine(proxy, `other users can read ${secret}`, () =>
    writeFileSync(secret, 'demo-secret', { mode: 0o644 }),
  )
  t.match(open, { level: 'error' })
  await expectLine(proxy, IN_FORCE, () => chmodSync(secret, 0o600))
  t.equal((await get(t, url, '/fresh/rest/v1.0/me')).status, 403)
})

/** A secret that a program prints as soon as a file `go` is there; it makes a file `asked`. */
function slowSecret(folder: string) {
  const [asked, go] = [join(folder, 'asked'), join(folder, 'go')]
  const program = `touch ${asked}; while [ -d ${folder} ] && [ ! -e ${go} ]; do sleep 0.05; done; echo demo-secret`
  return {
    account: { clientId: 'demo-client', clientSecret: { command: ['sh', '-c', program] } },
    async whenAsked() {
      while (!existsSync(asked)) await sleep(20)
    },
    letGo: () => writeFileSync(go, ''),
    again() {
      rmSync(asked)
      rmSync(go)
    },
  }
}

t.test('SIGTERM during the start ends it, without having listened', async (t) => {
  const { file, folder, settings, write } = await startPlace(t)
  const secret = slowSecret(folder)
  write(settings({ serviceAccounts: { app: secret.account } }))
  const proxy = run(t, ['-c', file], { cwd: folder })
  await secret.whenAsked()
  proxy.kill('SIGTERM')
  t.match(await proxy.end(3_000), { signal: 'SIGTERM', out: '', err: '' })
  secret.letGo()
})

t.test('SIGTERM ends a start that waits for a pipe in place of a secret', async (t) => {
  const { file, folder, settings, write } = await startPlace(t)
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', ['-m', '600', pipe])
  write(settings({ serviceAccounts: { app: { clientId: 'x', clientSecret: { file: pipe } } } }))
  const proxy = run(t, ['-c', file], { cwd: folder })
  await sleep(1_500)
  proxy.kill('SIGTERM')
  t.match(await proxy.end(3_000), { signal: 'SIGTERM', out: '', err: '' })
})

t.test('a stop ends a proxy whose reload waits for a pipe, at once if it is told twice', async (t) => {
  for (const isTwice of [false, true]) {
    const place = await startPlace(t)
    const { file, folder, settings, write, fake } = place
    const proxy = run(t, ['-c', file], { cwd: folder })
    const url = await proxy.ready()
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', ['-m', '600', pipe])
    write(settings({ serviceAccounts: { app: { clientId: 'x', clientSecret: { file: pipe } } } }))
    proxy.kill('SIGHUP')
    await proxy.line('reload: SIGHUP')
    await sleep(500)
    if (isTwice) {
      fake.faults.api.push({ match: '/rest/v1.0/echo', hang: 'before' })
      get(t, url, '/acme/rest/v1.0/echo').catch(() => {})
      await fake.journal.when((entry) => entry.url === '/rest/v1.0/echo')
      proxy.kill('SIGTERM')
      await proxy.line('draining')
    }
    proxy.kill('SIGTERM')
    t.match(await proxy.end(5_000), { signal: 'SIGTERM', err: '' })
    t.match(proxy.lines().at(-1), { msg: isTwice ? /^second signal/ : 'stopped' })
  }
})

t.test('SIGHUP during the start is kept; many during a reload are one', async (t) => {
  const { file, folder, settings, write } = await startPlace(t)
  const secret = slowSecret(folder)
  write(settings({ serviceAccounts: { app: secret.account } }))
  const proxy = run(t, ['-c', file], { cwd: folder })
  await secret.whenAsked()
  proxy.kill('SIGHUP')
  await sleep(200)
  secret.letGo()
  await proxy.ready()
  await proxy.line(IN_FORCE)
  t.ok(await proxy.line('reload: SIGHUP'))

  secret.again()
  const from = proxy.lines().length
  proxy.kill('SIGHUP')
  await secret.whenAsked()
  for (let nth = 0; nth < 10; nth++) {
    proxy.kill('SIGHUP')
    await sleep(20)
  }
  secret.letGo()
  await proxy.line(IN_FORCE, from)
  const first = proxy.lines().findIndex(({ msg }, at) => at >= from && msg === IN_FORCE)
  await proxy.line(IN_FORCE, first + 1)
  await sleep(500)
  const reloads = proxy.lines().slice(from)
  t.equal(reloads.filter(({ msg }) => msg === 'reload: SIGHUP').length, 2)
})
