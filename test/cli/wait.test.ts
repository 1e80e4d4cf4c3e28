// `wait`, from outside, and what it says of an address in this process, which takes a tenth of the time.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Options } from '../../src/cli/commands.ts'
import { wait } from '../../src/cli/wait.ts'
import { freePort, run, runToEnd, shortFolder, startPlace } from '../fixtures/cli.ts'

t.jobs = 2

/** Waits in vain. */
const inVain = (t: Test, options: Options, message: string | RegExp, status = 1) =>
  t.rejects(wait({ timeout: 0, ...options }), { status, message }, options.url ?? 'by file')

t.test('returns 0 once a proxy is ready, by TCP and by unix socket', async (t) => {
  const socket = join(shortFolder(t), 'p.sock')
  const { folder } = await startPlace(t, { listen: [`unix:${socket}`, '127.0.0.1:0', '[::1]:0'] })
  const proxy = run(t, [], { cwd: folder })
  const [, v4 = '', v6 = ''] = await proxy.listening(3)
  t.match(await runToEnd(t, ['wait', '--url', v4]), { code: 0, out: '', err: '' })
  for (const url of [`unix:${socket}`, `${v6}/`, v4.replace('127.0.0.1', 'LOCALHOST')]) {
    await t.resolves(wait({ url, timeout: 5_000 }), url)
  }
  const patient = await runToEnd(t, ['wait', '--url', v4, '--timeout', '9999h'])
  t.match(patient, { code: 0, out: '', err: '' }, 'with more patience than a timer can have')
  const first = await runToEnd(t, ['wait'], { cwd: folder })
  t.match(first, { code: 0, err: '' }, 'the first of the configuration')
})

t.test('takes the address from the configuration, and waits for a proxy that starts later', async (t) => {
  const port = await freePort()
  const { folder, file, settings, write } = await startPlace(t, {
    listen: `localhost:${port}`,
    serviceAccounts: { app: { clientId: 'demo-client', clientSecret: { env: 'NOT_SET_FOR_WAIT' } } },
  })
  const waiting = run(t, ['wait'], { cwd: folder })
  const secret = { NOT_SET_FOR_WAIT: 'demo-secret' }
  // It has asked in vain for a while.
  await inVain(
    t,
    { config: file, timeout: 500 },
    `no proxy is ready at http://localhost:${port}: it cannot be reached (ECONNREFUSED)`,
  )
  t.notOk(waiting.over)
  const proxy = run(t, [], { cwd: folder, env: secret })
  t.match(await waiting.end(), { code: 0, out: '', err: '' })
  await proxy.ready()

  const shownAs = { '0.0.0.0': 'http://127.0.0.1', '[::]': 'http://[::1]' }
  for (const [host, shown] of Object.entries(shownAs)) {
    const free = await freePort()
    write(settings({ listen: `${host}:${free}`, guard: { allowUnauthenticated: true } }))
    await inVain(t, { config: file }, `no proxy is ready at ${shown}:${free}: there was no time to ask`)
  }
  write(settings({ listen: '127.0.0.1:0' }))
  await inVain(t, { config: file }, /port 0.*--url/, 2)
  const known = await freePort()
  write(settings({ listen: ['127.0.0.1:0', `127.0.0.1:${known}`] }))
  await inVain(
    t,
    { config: file },
    `no proxy is ready at http://127.0.0.1:${known}: there was no time to ask`,
  )
})

t.test('waits for the first token, and says what it waited for in vain', async (t) => {
  const { folder, fake } = await startPlace(t, {}, { fake: { tokenDelayMs: 60_000 } })
  const proxy = run(t, [], { cwd: folder })
  const [url = ''] = await proxy.listening()
  const vain = await runToEnd(t, ['wait', '--url', url, '--timeout', '300ms'])
  const err = `procore-proxy: no proxy is ready at ${url}: it is up, but not ready\n`
  t.match(vain, { code: 1, out: '', err })
  // Sooner than the token request times out, after which the proxy is ready.
  await t.resolves(wait({ url, live: true, timeout: 5_000 }), 'it is up')
  t.ok(fake.journal.tokenRequests().length > 0, 'a token request is under way')

  const gone = `http://127.0.0.1:${await freePort()}`
  const none = `no proxy is ready at ${gone}: it cannot be reached (ECONNREFUSED)`
  await inVain(t, { url: gone, timeout: 300 }, none)
  await inVain(t, { url: gone, timeout: 300, live: true }, none)
  await inVain(t, { url: gone.replace('127.0.0.1', 'localhost'), timeout: 300 }, /reached \(ECONNREFUSED\)/)
  await inVain(t, { url: `unix:${shortFolder(t)}/none.sock`, timeout: 300 }, /reached \(ENOENT\)/)
})

t.test('another server on the port is not taken for a proxy', async (t) => {
  const other = createServer((_, response) => response.setHeader('Server', 'nginx').end('ok'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  t.teardown(() => other.close().closeAllConnections())
  const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
  const found = 'another server answers there (HTTP 200, nginx), not procore-proxy'
  await inVain(t, { url, timeout: 300 }, `no proxy is ready at ${url}: ${found}`)
})

t.test('an address that cannot be asked is refused at once', async (t) => {
  for (const url of ['127.0.0.1:8377', 'unix:relative', 'http://', 'http://127.0.0.1:1/path', 'ftp://x']) {
    await inVain(t, { url, timeout: 60_000 }, `--url ${url}: write http://HOST:PORT or unix:/PATH`, 2)
  }
})
