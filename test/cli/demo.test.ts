// `demo` and `fake`, from outside: no account needed, nothing left behind, and a proxy works with what `fake` prints.
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { demo } from '../../src/cli/demo.ts'
import { get, run, runToEnd, takenPort } from '../fixtures/cli.ts'

t.jobs = 1

t.test('--once makes its calls, prints them and leaves nothing', async (t) => {
  const folder = t.testdir()
  const ended = await runToEnd(t, ['demo', '--once', '--listen', '127.0.0.1:0'], { env: { TMPDIR: folder } })
  t.match(ended, { code: 0, err: '' })
  const { out } = ended
  t.match(out, /^The proxy: +http:.*\nA fake Procore: login http:\/\/127\.0\.0\.1:\d+, API http/)
  for (const call of ['GET /acme/rest/v1.0/me', 'POST /acme/rest/v1.0/projects', 'DELETE /globex'])
    t.match(out, call)
  for (const answer of ['answer    200 ', 'answer    201 ', 'answer    403 ', 'answer    409 '])
    t.match(out, answer)
  t.match(out, 'Procore   (nothing arrived)')
  t.match(out, 'Procore-Proxy-Error: access_denied')
  t.match(out, /Link: <http:\/\/127\.0\.0\.1:\d+\/acme\/rest/)
  t.match(out, 'Authorization: Bearer …')
  t.notMatch(out, /demo-secret|access_token|Bearer [^…]|sig=[0-9a-f]{8,}/)
  t.notMatch(out, /ey[\w-]{20}|[A-Za-z0-9_-]{40}/, 'no token')
  t.strictSame(readdirSync(folder), [], 'no temporary file')
})

t.test('it runs until a signal, on another port where 8377 is taken', async (t) => {
  const folder = t.testdir()
  const busy = createServer()
  busy.listen(8377, '127.0.0.1')
  // Somebody else may have it: just as well.
  await Promise.race([once(busy, 'listening'), once(busy, 'error')]).catch(() => {})
  t.teardown(() => busy.close())
  const running = run(t, ['demo'], { env: { TMPDIR: folder } })
  const out = await running.says('The proxy stays up')
  const url = /The proxy: +(\S+)/.exec(out)?.[1] ?? ''
  t.notMatch(url, ':8377')
  t.match(out, `curl ${url}/acme/rest/v1.0/projects`)
  t.equal((await get(t, url, '/acme/rest/v1.0/me')).status, 200)
  t.equal((await get(t, url, '/globex/rest/v1.0/me')).status, 200)
  t.strictSame(readdirSync(folder), [])
  running.kill('SIGINT')
  t.match(await running.end(), { code: 0, err: '' })
})

t.test('an address that cannot be opened ends it', async (t) => {
  const folder = t.testdir()
  const port = await takenPort(t)
  process.env['TMPDIR'] = folder
  t.teardown(() => delete process.env['TMPDIR'])
  const cases: [string, number, RegExp][] = [
    [`127.0.0.1:${port}`, 1, /cannot listen on 127\.0\.0\.1:\d+: another program listens there/],
    ['127.0.0.1:99999', 2, /--listen: "99999" is not a port/],
    ['0.0.0.0:0', 2, /clientKeys/],
    ['unix:/tmp/x.sock', 2, /127\.0\.0\.1:PORT/],
  ]
  for (const [listen, status, message] of cases) {
    await t.rejects(demo({ listen: [listen] }), { name: 'CommandError', status, message }, listen)
  }
  t.strictSame(readdirSync(folder), [])
})

t.test('a proxy with the variables that it prints gets answers, until a signal ends it', async (t) => {
  t.testdir()
  const fake = run(t, ['fake', '--login-port', '0', '--api-port', '0'])
  const out = await fake.says('PROCORE_COMPANY_ID')
  // Must not open the debugger of Node, which would say so on standard error.
  fake.kill('SIGUSR1')
  const env = Object.fromEntries(
    [...out.matchAll(/^ {2}(PROCORE_\w+)=(.+)$/gm)].map(([, name = '', value = '']) => [name, value]),
  )
  const proxy = run(t, [], { env: { ...env, PROCORE_PROXY_LISTEN: '127.0.0.1:0' } })
  const url = await proxy.ready()
  const { status, body } = await get(t, url, '/rest/v1.0/projects')
  t.equal(status, 200)
  t.match(body, /"id":/)
  fake.kill('SIGTERM')
  t.match(await fake.end(), { code: 0, err: '' })
  proxy.kill('SIGTERM')
  t.match(await proxy.end(), { code: 0, err: '' })
})

t.test('a port that cannot be opened is an error', async (t) => {
  t.testdir()
  const port = await takenPort(t)
  const taken = await runToEnd(t, ['fake', '--login-port', '0', '--api-port', String(port)])
  t.match(taken, { code: 1, out: '', err: /^procore-proxy: the fake Procore cannot start: .*EADDRINUSE/ })
})
