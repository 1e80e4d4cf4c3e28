// `token`, from outside: the token alone on stdout, and sentences for everything else.
import t from 'tap'
import { COMMAND, companyVariables, runToEnd, startPlace } from '../fixtures/cli.ts'
import { HAS_TERMINALS, Terminal } from '../fixtures/terminal.ts'

t.jobs = 2

t.test('prints a fresh token that works, and nothing else', async (t) => {
  const { fake, file } = await startPlace(t)
  for (const company of ['acme', '562949953443325']) {
    const { code, out, err } = await runToEnd(t, ['token', company, '-c', file])
    t.strictSame({ code, err, out }, { code: 0, err: '', out: `${fake.issuedTokens().at(-1)}\n` })
    const headers = { Authorization: `Bearer ${out.trim()}`, 'Procore-Company-Id': '7656' }
    t.equal((await fetch(`${fake.apiUrl}/rest/v1.0/me`, { headers })).status, 200)
  }
  t.equal(fake.issuedTokens().length, 2, 'a fresh one each time')
})

t.test('any id under "*", and the one company of variables', async (t) => {
  const { fake, file, settings, write } = await startPlace(t)
  write(settings({ companies: { '*': { serviceAccount: 'app' } } }))
  t.match(await runToEnd(t, ['token', '7656', '-c', file]), { code: 0, out: /^\S+\n$/, err: '' })
  t.match(await runToEnd(t, ['token', 'acme', '-c', file]), { code: 2, out: '', err: /any other id/ })
  const env = companyVariables(fake)
  const folder = t.testdir({})
  t.match(await runToEnd(t, ['token', 'default'], { cwd: folder, env }), { code: 0, out: /^\S+\n$/ })
})

t.test('what goes wrong is a sentence with fixes, and nothing is on stdout', async (t) => {
  const { fake, file } = await startPlace(t)
  t.match(await runToEnd(t, ['token', 'umbrella', '-c', file]), {
    code: 2,
    out: '',
    err: 'procore-proxy: company umbrella is not configured; configured are: acme, globex\n',
  })
  t.match(await runToEnd(t, ['token'], { cwd: t.testdirName }), { code: 2, out: '', err: /missing.*company/ })
  fake.resetSecret('demo-client', 'another-secret')
  const refused = await runToEnd(t, ['token', 'acme', '-c', file])
  t.match(refused, {
    code: 1,
    out: '',
    err: /^procore-proxy: no token for acme: the login server refused the credentials .*; what to do:\n {2}- /,
  })
  t.notMatch(refused.err, /demo-secret|^ +at /m)
  fake.faults.token = { status: 503, body: '<html>' }
  t.match(await runToEnd(t, ['token', 'acme', '-c', file]), { code: 1, out: '', err: /HTTP 503.*what to do/ })
})

t.test('a terminal gets it only with --show', HAS_TERMINALS ? {} : { skip: 'no script(1)' }, async (t) => {
  const { fake, folder } = await startPlace(t)
  const command = `${COMMAND.join(' ')} token acme`
  const refused = new Terminal(t, command, { cwd: folder })
  await refused.says('a token that is printed on a terminal stays readable')
  t.equal(await refused.end(), 2)
  t.equal(fake.issuedTokens().length, 0, 'none was asked for')
  const shown = new Terminal(t, `${command} --show`, { cwd: folder })
  t.equal(await shown.end(), 0)
  t.match(shown.text, fake.issuedTokens()[0])
})
