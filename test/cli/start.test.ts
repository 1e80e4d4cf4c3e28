// `start`, from outside: where it listens, what it prints, and how it ends by a signal.
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { start } from '../../src/cli/start.ts'
import {
  companyVariables,
  freePort,
  get,
  KeptConnection,
  NEEDS_IMPORT,
  type Place,
  run,
  runToEnd,
  shortFolder,
  startPlace,
  takenPort,
} from '../fixtures/cli.ts'
import type { Settings } from '../fixtures/proxy.ts'
import { hasRedis, startRedis } from '../fixtures/redis.ts'

t.jobs = 2

async function startProxy(t: Test, over: Settings = {}, args: string[] = []) {
  const place = await startPlace(t, over)
  const proxy = run(t, args, { cwd: place.folder })
  const url = await proxy.ready()
  return { ...place, proxy, url }
}

t.test('no file and no variables: a message that names init and demo', async (t) => {
  const ended = await runToEnd(t, [], { cwd: t.testdir() })
  t.match(ended, { code: 2, out: '' })
  t.match(ended.err, /^procore-proxy: there is no configuration.* procore-proxy init .*procore-proxy demo/)
  t.notMatch(ended.err, /^ +at /m)
})

t.test('a bad configuration ends with 2 and every mistake', async (t) => {
  const folder = t.testdir({ 'procore-proxy.yaml': 'listen: 8377\nfoo: 1\ncompanies:\n  acme: { id: x }\n' })
  const error = await start({ config: join(folder, 'procore-proxy.yaml') }).catch((error) => error)
  t.equal(error.status, 2)
  for (const key of ['listen', 'foo', 'companies.acme.id', 'companies.acme.serviceAccount'])
    t.match(error.message, key)
  await t.rejects(start({ config: 'none.yaml' }), { status: 2, message: /--config.*does not exist/ })
})

t.test('a port that is taken ends with 1 and a sentence', async (t) => {
  const port = await takenPort(t)
  const { folder } = await startPlace(t, { listen: ['127.0.0.1:0', `127.0.0.1:${port}`] })
  const { code, err } = await runToEnd(t, [], { cwd: folder })
  t.equal(code, 1)
  t.match(
    err,
    new RegExp(`^procore-proxy: cannot listen on 127.0.0.1:${port}: another program listens there; .*\n$`),
  )
  const bad = await runToEnd(t, ['--listen', 'unix:/no/such/folder/x.sock'], { cwd: folder })
  t.match(bad, { code: 1, err: /: the folder does not exist, or this user may not write to it\n$/ })
})

t.test('an audit file that cannot be opened ends with 1 and a sentence, with Redis too', async (t) => {
  const shared = hasRedis(t) ? { shared: { url: (await startRedis(t)).url } } : {}
  const audit = { file: `/tmp/${'x'.repeat(300)}` }
  const { folder } = await startPlace(t, { audit, ...shared })
  const ended = await runToEnd(t, [], { cwd: folder })
  t.match(ended, {
    code: 1,
    err: /^procore-proxy: audit\.file cannot be opened: ENAMETOOLONG: .* Correct the path.*\n$/,
  })
})

t.test('every form of address is opened and printed, and closed by a signal', async (t) => {
  const [port, own] = [await freePort(), await freePort()]
  const socket = join(shortFolder(t), 'p.sock')
  const globex = { id: '562949953443325', serviceAccount: 'app', access: 'read-only' }
  const { fake, proxy } = await startProxy(t, {
    listen: [`127.0.0.1:0`, '127.0.0.1:0', '[::1]:0', `localhost:${port}`, 'localhost:0', `unix:${socket}`],
    companies: {
      acme: { id: '7656', serviceAccount: 'app', default: true },
      globex: { ...globex, listen: `127.0.0.1:${own}` },
      '*': { serviceAccount: 'app' },
    },
  })
  const urls = await proxy.listening(8)
  t.match(urls, [
    /^http:\/\/127\.0\.0\.1:\d+$/,
    /^http:\/\/127\.0\.0\.1:\d+$/,
    /^http:\/\/\[::1\]:\d+$/,
    `http://127.0.0.1:${port}`,
    `http://[::1]:${port}`,
    /^http:\/\/127\.0\.0\.1:\d+$/,
    `unix:${socket}`,
    `http://127.0.0.1:${own}`,
  ])
  t.equal(new Set(urls).size, 8)
  t.notOk(urls.some((url) => url.endsWith(':0')))
  for (const url of urls) {
    const answer = await get(t, url, '/rest/v1.0/me')
    t.equal(answer.status, 200, url)
    t.equal(answer.headers['procore-proxy-company'], url.endsWith(`:${own}`) ? 'globex' : 'acme', url)
  }
  t.equal(lstatSync(socket).mode & 0o777, 0o600)

  const companies = proxy.lines().filter(({ msg }) => msg === 'company')
  const common = { environment: 'fake', account: 'app' }
  t.match(companies, [
    { company: 'acme', id: '7656', default: true, access: 'read-write', ...common },
    { company: 'globex', id: '562949953443325', access: 'read-only', ...common },
    { company: '*', ...common },
  ])
  t.match(proxy.lines()[0], { msg: 'procore-proxy starts', version: /^\d/, node: process.versions.node })
  t.match(await proxy.line('listening on http://127.0.0.1:'.concat(String(own))), { company: 'globex' })
  for (const secret of ['demo-secret', 'demo-client', ...fake.issuedTokens()]) t.notMatch(proxy.out, secret)

  const kept = await KeptConnection.open(t, urls[0] ?? '')
  t.equal((await kept.get('/rest/v1.0/me')).status, 200)
  proxy.kill('SIGINT')
  t.match(await proxy.end(3_000), { code: 0, err: '' }, 'an idle proxy ends at once')
  await kept.closed()
  t.match(await proxy.line('draining'), { signal: 'SIGINT' })
  t.match(proxy.lines().at(-1), { msg: 'stopped' })
  t.notOk(existsSync(socket), 'the socket is gone')
})

t.test('a unix socket makes way only where it is stale', async (t) => {
  const { file, settings, write } = await startPlace(t)
  const socket = join(shortFolder(t), 'p.sock')
  write(settings({ listen: { path: socket, mode: '0660' } }))
  const first = run(t, ['-c', file])
  await first.ready()
  t.equal(lstatSync(socket).mode & 0o777, 0o660)
  const err = /p\.sock: another process listens there; stop it, or choose another path\n$/
  t.match(await runToEnd(t, ['-c', file]), { code: 1, err })
  t.equal((await get(t, `unix:${socket}`, '/acme/rest/v1.0/me')).status, 200, 'the first still serves')
  first.kill('SIGKILL')
  await first.end()
  t.ok(existsSync(socket), 'a stale one is left')
  const third = run(t, ['-c', file])
  await third.ready()
  t.equal((await get(t, `unix:${socket}`, '/acme/rest/v1.0/me')).status, 200, 'it was replaced')
})

t.test('one company by variables alone, and the flags of the log', async (t) => {
  const { fake } = await startPlace(t)
  const folder = t.testdir()
  const env = { ...companyVariables(fake), PROCORE_PROXY_LISTEN: '127.0.0.1:0' }
  const proxy = run(t, ['--log-format', 'readable'], { cwd: folder, env })
  const url = /listening on (\S+)/.exec(await proxy.says(/listening on \S+\n/))?.[1] ?? ''
  const answer = await get(t, url, '/rest/v1.0/me?secret=x')
  t.match(answer, { status: 200, headers: { 'procore-proxy-company': 'default' } })
  const line = /^\d\d:\d\d:\d\d INFO {2}GET \/rest\/v1\.0\/me\?secret=\* 200 [\d.]+ms /m
  t.match(await proxy.says('GET /rest'), line)
  t.match(proxy.out, /INFO {2}company company=default id=7656 environment=custom account=default/)
  t.notMatch(proxy.out, 'demo-secret')

  const warn = ['--log-level', 'warn', '--listen', `127.0.0.1:${await freePort()}`]
  const quiet = run(t, warn, { cwd: folder, env })
  const wrong = run(t, ['--log-level', 'warn'], { cwd: folder, env: { ...env, PROCORE_CLIENT_SECRET: 'no' } })
  t.match(await wrong.line('token request failed'), { level: 'warn', reason: 'rejected', account: 'default' })
  quiet.kill('SIGKILL')
  t.equal((await quiet.end()).out, '')
  t.notMatch(wrong.out, 'listening')
})

async function hangOne({ fake }: Place, t: Test, url: string, delayMs: number) {
  fake.faults.api.push({ match: '/rest/v1.0/echo', delayMs })
  const under = await KeptConnection.open(t, url)
  under.send('/acme/rest/v1.0/echo')
  await fake.journal.when((entry) => entry.url === '/rest/v1.0/echo')
  return under
}

t.test('SIGUSR1 does not open the debugger of Node', async (t) => {
  const { proxy, url } = await startProxy(t)
  proxy.kill('SIGUSR1')
  t.match(await proxy.line('SIGUSR1'), { level: 'warn', msg: /SIGHUP/ })
  t.equal((await get(t, url, '/_proxy/health/live')).status, 200)
  proxy.kill('SIGTERM')
  t.match(await proxy.end(3_000), { code: 0, signal: null, err: '' })
})

t.test('a request under way finishes; what is new is refused meanwhile', async (t) => {
  const started = await startProxy(t)
  const { proxy, url } = started
  const kept = await KeptConnection.open(t, url)
  t.equal((await kept.get('/_proxy/health/ready')).status, 200)
  const under = await hangOne(started, t, url, 2_500)
  proxy.kill('SIGTERM')
  await proxy.line('draining')
  // Must not end the process, nor stop the drain.
  proxy.kill('SIGHUP')
  t.equal((await get(t, url, '/_proxy/health/ready')).status, 503)
  t.equal((await get(t, url, '/_proxy/health/live')).status, 200)
  for (const connection of [kept, await KeptConnection.open(t, url)]) {
    const answer = await connection.get('/acme/rest/v1.0/me')
    t.match(answer, { status: 503, headers: { 'procore-proxy-error': 'shutting_down', connection: 'close' } })
    t.match(JSON.parse(answer.body), { code: 'shutting_down', help: /again/ })
    await connection.closed()
  }
  t.notOk(proxy.over)
  t.equal((await under.reply()).status, 200, 'the one under way')
  await under.closed()
  t.match(await proxy.end(3_000), { code: 0, signal: null, err: '' })
  t.notMatch(proxy.out, 'reload')
})

t.test('a request that takes longer than shutdownTimeout is cut', async (t) => {
  const started = await startProxy(t, { shutdownTimeout: '300ms' })
  const { proxy, url } = started
  const under = await hangOne(started, t, url, 60_000)
  proxy.kill('SIGTERM')
  t.match(await proxy.end(5_000), { code: 1, err: '' })
  await under.closed()
  t.match(proxy.lines().at(-1), { level: 'error', msg: /shutdownTimeout ran out/ })
  t.notMatch(proxy.out, 'stack')
})

t.test('a second signal ends it at once', async (t) => {
  const started = await startProxy(t)
  const { proxy, url } = started
  const under = await hangOne(started, t, url, 60_000)
  proxy.kill('SIGQUIT')
  await proxy.line('draining')
  proxy.kill('SIGUSR2')
  t.match(await proxy.end(3_000), { code: 1, err: '' })
  await under.closed()
  t.match(proxy.lines().at(-1), { msg: /^second signal/ })
})

t.test('a second signal without a request cuts nothing off: what was recorded is written', async (t) => {
  const place = await startPlace(t)
  const proxy = run(t, ['--record', 'recorded'], { cwd: place.folder })
  const url = await proxy.ready()
  t.equal((await get(t, url, '/acme/rest/v1.0/me')).status, 200)
  proxy.kill('SIGINT')
  for (let nth = 0; nth < 20; nth++) {
    await sleep(1)
    proxy.kill(nth % 2 === 0 ? 'SIGTERM' : 'SIGQUIT')
  }
  t.match(await proxy.end(8_000), { code: 0, err: '' })
  t.match(readFileSync(join(place.folder, 'recorded', 'acme.har'), 'utf8'), '/rest/v1.0/me')
})

t.test('an unexpected error drains, ends with 1, and a second one ends at once', NEEDS_IMPORT, async (t) => {
  const boom = `process.on('SIGUSR2', () => {})
    process.on('SIGURG', () => { throw Object.assign(new Error('boom'), { headers: 'Bearer x' }) })`
  const place = await startPlace(t, {}, { files: { 'boom.mjs': boom } })
  const env = { NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${place.folder}/boom.mjs` }
  const proxy = run(t, [], { cwd: place.folder, env })
  const url = await proxy.ready()
  const under = await hangOne(place, t, url, 60_000)
  proxy.kill('SIGURG')
  await proxy.line('unexpected error: shutting down')
  t.equal((await get(t, url, '/_proxy/health/ready')).status, 503)
  proxy.kill('SIGURG')
  t.match(await proxy.end(3_000), { code: 1, err: '' })
  await under.closed()
  t.match(proxy.lines().at(-1), { level: 'fatal', error: 'boom', msg: /^second unexpected/ })
  t.notMatch(proxy.out, 'Bearer')
})
