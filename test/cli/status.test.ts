// `status`, from outside; and tables for a terminal.
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { reportStatus, status } from '../../src/cli/status.ts'
import { renderTable } from '../../src/cli/table.ts'
import type { Status } from '../../src/observe/status.ts'
import { freePort, run, runToEnd, shortFolder, startPlace } from '../fixtures/cli.ts'
import { sendRaw } from '../fixtures/proxy.ts'

t.jobs = 2

async function serve(t: Test, listener: RequestListener) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close().closeAllConnections())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

t.test('tells what a running proxy does, as tables and as JSON, by TCP and by unix socket', async (t) => {
  const socket = join(shortFolder(t), 'p.sock')
  const { folder, fake } = await startPlace(t, {
    listen: [`unix:${socket}`, '127.0.0.1:0'],
    companies: {
      acme: { id: '7656', serviceAccount: 'app', default: true, listen: '127.0.0.1:0' },
      bad: {
        id: '99',
        serviceAccount: { clientId: 'demo-client', clientSecret: 'wrong-secret' },
        access: 'read-only',
        rules: [{ deny: '/rest/v1.0/x' }],
      },
      '*': { serviceAccount: 'app' },
    },
  })
  const proxy = run(t, [], { cwd: folder })
  const [, url = ''] = await proxy.listening(3)
  const port = Number(new URL(url).port)
  const get = (path: string) =>
    sendRaw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  await get('/acme/rest/v1.0/me')
  await get('/bad/rest/v1.0/me?token=query0')
  await get('/acme/rest/v1.0/me')
  fake.faults.api = [{ status: 500, headers: { 'X-Rate-Limit-Reset': 'never' } }]
  await get('/7/rest/v1.0/me')
  const tables = await runToEnd(t, ['status'], { cwd: folder })
  t.match(tables, { code: 0, err: '' })
  const lines: RegExp[] = [
    /^procore-proxy \d\S+ at unix:\S+: ready, up (\d+ min )?(\d+ s)?, 1 in flight\n/,
    /^listening on http:\/\/127\.0\.0\.1:\d+ \(acme\)$/m,
    /^acme \(default\) +7656 +app +read-write +2 +0 +0 +\d+ of 100 for \d+ s$/m,
    /^bad +99 +bad +read-only, 1 rule +1 +1 +0 +-$/m,
    /^\* +- +app +read-write +1 +1 /m,
    /^app +fake +valid +\d+ s +1 h \d+ min +-$/m,
    /^bad +fake +rejected +- +- +rejected: /m,
    /^last errors\n/m,
    /^\S+Z +GET \/bad\/rest\/v1\.0\/me\?token=\* +502 +credentials_rejected +Service account bad .*invalid_client\)\.$/m,
    /^warnings\n- The token of service account bad/m,
  ]
  for (const line of lines) t.match(tables.out, line)
  t.notMatch(tables.out, /query0|demo-secret|wrong-secret/)
  const json = await runToEnd(t, ['status', '--json', '--url', url])
  t.match(json, { code: 0, err: '' })
  t.match(JSON.parse(json.out), {
    ready: true,
    companies: [{ name: 'acme' }, { name: 'bad' }, { name: '*' }],
  })
})

t.test('gives the key that the proxy wants, and only to the proxy of the configuration', async (t) => {
  const port = await freePort()
  const { file: config, folder } = await startPlace(t, {
    listen: `127.0.0.1:${port}`,
    guard: { clientKeys: [{ env: 'STATUS_KEY' }], requireHeader: true },
  })
  const env = { STATUS_KEY: 'key-0-of-the-status-test' }
  const proxy = run(t, [], { cwd: folder, env })
  await proxy.ready()
  const url = `http://127.0.0.1:${port}`
  t.match(await runToEnd(t, ['status'], { cwd: folder, env }), { code: 0, err: '' })
  const given = { PROCORE_PROXY_KEY: 'key-0-of-the-status-test' }
  t.match(await runToEnd(t, ['status', '--url', url], { cwd: folder, env: given }), { code: 0, err: '' })
  await t.rejects(status({ config }), {
    status: 1,
    message:
      /answered 401: .*Procore-Proxy-Key.*\nThe configuration's key could not be read: \S+ \S+: the variable STATUS_KEY is not set/,
  })
  const elsewhere = await runToEnd(t, ['status', '--url', url], { cwd: folder, env })
  t.match(elsewhere, { code: 1, out: '', err: /answered 401: .*Procore-Proxy-Key/s })
  t.notMatch(elsewhere.err, 'key-0-of-the-status-test')
})

t.test('ends with 1 where no proxy answers', async (t) => {
  const gone = `http://127.0.0.1:${await freePort()}`
  await t.rejects(status({ url: gone }), {
    status: 1,
    message: `no proxy answers at ${gone}: it cannot be reached (ECONNREFUSED)`,
  })
  const other = await serve(t, (_, response) => response.end('hello'))
  const elsewhere = 'another server answers there (HTTP 200), not procore-proxy'
  await t.rejects(status({ url: other.url }), {
    status: 1,
    message: `no proxy answers at ${other.url}: ${elsewhere}`,
  })
  const bodies = ['no json', 'null', '{}', '{"companies":[]}']
  const like = await serve(t, ({ url }, response) => {
    if (url === '/_proxy/health/live') response.setHeader('Cache-Control', 'no-store').end('up\n')
    else response.end(bodies.shift())
  })
  const message = `${like.url} answered 200, which is not the status of a procore-proxy`
  for (const body of [...bodies]) await t.rejects(status({ url: like.url }), { status: 1, message }, body)
  const rude = await serve(t, ({ url }, response) => {
    response.setHeader('Cache-Control', 'no-store')
    response.end(url === '/_proxy/health/live' ? 'up\n' : '{"version":"\x9b2J","companies":[],"accounts":[]}')
  })
  const shown = await runToEnd(t, ['status', '--json', '--url', rude.url], { cwd: t.testdir() })
  t.match(shown, { code: 0, out: '"version": "\\u009b2J"' })
  const lost = await serve(t, ({ url }, response) => {
    if (url === '/_proxy/health/live') response.setHeader('Cache-Control', 'no-store').end('up\n')
    else response.destroy()
  })
  await t.rejects(status({ url: lost.url }), {
    status: 1,
    message: `no proxy answers at ${lost.url}: it cannot be reached (ECONNRESET)`,
  })
  await t.rejects(status({ url: 'ftp://x' }), { status: 2, message: /write http/ })
})

t.test('no key of the configuration goes to another server on the port', async (t) => {
  const seen: (string | string[] | undefined)[] = []
  const other = await serve(t, ({ headers }, response) => {
    seen.push(headers['procore-proxy-key'])
    response.setHeader('Server', 'grabber').end('{}')
  })
  const { folder } = await startPlace(t, {
    listen: `127.0.0.1:${new URL(other.url).port}`,
    guard: { clientKeys: [{ env: 'STATUS_KEY' }] },
  })
  const env = { STATUS_KEY: 'a-key-that-is-long-enough' }
  t.match(await runToEnd(t, ['status'], { cwd: folder, env }), {
    code: 1,
    err: /another server answers there/,
  })
  t.strictSame(seen, [undefined])
})

t.test('a status without the usual, and with what no terminal should see', async (t) => {
  const bare: Status = {
    ...{
      version: '1',
      cache: null,
      node: '24',
      startedAt: '',
      uptimeSeconds: 0,
      ready: false,
      inFlight: 0,
      listeners: [],
    },
    ...{ companies: [], accounts: [], callers: [], lastReload: null, shared: null, logLinesLost: 0 },
    ...{ lastErrors: [], warnings: [] },
  }
  t.match(reportStatus('http://p', bare), /^procore-proxy 1 at http:\/\/p: not ready, up 0 s, 0 in flight\n/)
  t.notMatch(reportStatus('http://p', bare), /last errors|warnings/)
  const company = {
    ...{ name: 'a', id: '1', account: 'x', access: 'read-write', rules: 2, inFlight: 1, queued: 2 },
    requests: { '2xx': 5, '3xx': 0, '4xx': 1, '5xx': 1, none: 1 },
    budget: { limit: 10, remaining: 3, resetSeconds: null },
  }
  const error = {
    ...{ at: 'then', method: 'GET', path: '/x\x9b2J', status: null },
    ...{ code: 'overloaded', detail: 'too\x1b[31m many' },
  }
  const rest = { companies: [company], lastErrors: [error], warnings: ['two\r\nlines'] }
  const full = { ...bare, uptimeSeconds: 90_000, ...rest } as unknown as Status
  const text = reportStatus('http://p', full)
  t.match(text, /up 1 d 1 h, /)
  t.match(text, /^a +1 +x +read-write, 2 rules +8 +3 +1, 2 wait +3 of 10$/m)
  t.match(text, /^then +GET \/x\\u009b2J +- +overloaded +too\\u001b\[31m many$/m)
  t.notMatch(text, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
  const long = { ...company, name: 'n'.repeat(60), id: '18446744073709551615', account: 'a'.repeat(60) }
  const warning = 'word '.repeat(40).trim()
  const shown = () => reportStatus('http://p', { ...full, companies: [long], warnings: [warning] } as never)
  for (const whole of [`${long.name}  ${long.id}  ${long.account}  read-write, 2 rules`, `- ${warning}\n`])
    t.ok(shown().includes(whole), whole)
})

t.test('columns are as wide as their widest cell', async (t) => {
  t.equal(renderTable(['a', 'name'], [['1', 'x'], ['22']]), 'a   name\n1   x\n22\n')
})

t.test('colours take no room', async (t) => {
  t.equal(renderTable(['', 'x'], [['\x1b[32mok\x1b[39m', '1']]), '    x\n\x1b[32mok\x1b[39m  1\n')
})
