// `fake`, from outside: with what it prints a proxy works.
import t from 'tap'
import { get, run, runToEnd, takenPort } from '../fixtures/cli.ts'

t.test('a proxy with the variables that it prints gets answers, until a signal ends it', async (t) => {
  t.testdir()
  const fake = run(t, ['fake', '--login-port', '0', '--api-port', '0'])
  const out = await fake.says('PROCORE_COMPANY_ID')
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
