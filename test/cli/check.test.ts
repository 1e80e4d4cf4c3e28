// `check` and `token`, from outside: what they find, what they say to do about it, and what they never print.
import { copyFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import t, { type Test } from 'tap'
import { checkOnline, reportChecks, token } from '../../src/cli/check.ts'
import { companyNamed } from '../../src/cli/config.ts'
import { loadConfig } from '../../src/server.ts'
import { COMMAND, companyVariables, freePort, type Place, runToEnd, startPlace } from '../fixtures/cli.ts'
import { HAS_TERMINALS, Terminal } from '../fixtures/terminal.ts'
import { certificate, tlsFile } from '../fixtures/tls.ts'

t.jobs = 2

const COMPANIES = {
  acme: { id: '7656', serviceAccount: 'app' },
  globex: { id: '562949953443325', serviceAccount: 'app' },
}

/** What `check` prints, and that nothing of it is secret. Runs in this process, which takes a tenth of the time. */
async function report(t: Test, { fake, file }: Place, names?: string[], env: Record<string, string> = {}) {
  const config = await loadConfig({ flags: { config: file }, env, cwd: t.testdirName })
  const companies = names?.map((name) => companyNamed(config, name)) ?? config.companies
  const accounts = names === undefined ? config.accounts : companies.map(({ account }) => account)
  const findings = await checkOnline(config, companies, accounts)
  const out = stripVTControlCharacters(reportChecks(config, findings, false))
  for (const secret of ['demo-secret', 'wrong-secret', ...fake.issuedTokens()]) {
    t.notMatch(out, secret, 'nothing secret')
  }
  const failed = out.split('\n').filter((line) => line.startsWith('FAIL'))
  for (const line of failed) {
    const [, kind, name] = line.split(/ +/)
    t.match(out, new RegExp(`^${kind} ${name}, what to do:\n  - .+`, 'm'), `a fix for ${kind} ${name}`)
  }
  return { out, failed }
}

/** Runs the command itself. */
function check(t: Test, { file }: Place, args: string[] = [], env: Record<string, string> = {}) {
  return runToEnd(t, ['check', '-c', file, ...args], { env })
}

t.test('all is good: a table, or JSON', async (t) => {
  const place = await startPlace(t)
  const { code, out, err } = await check(t, place)
  t.match({ code, err }, { code: 0, err: '' })
  const table = `    kind     name    id               environment  result
ok  account  app                      fake         token issued, valid for 5400 s
ok  company  acme    7656             fake         /rest/v1.0/me answered 200
ok  company  globex  562949953443325  fake         /rest/v1.0/me answered 200
`
  t.equal(out, `configuration: ${place.file}\n${table}`)
  t.equal(place.fake.journal.tokenRequests().length, 1)
  const asked = { method: 'GET', url: '/rest/v1.0/me' }
  t.match(place.fake.journal.api(), [
    { ...asked, headers: { 'procore-company-id': '7656' } },
    { ...asked, headers: { 'procore-company-id': '562949953443325' } },
  ])
  const json = await check(t, place, ['--json'])
  t.equal(json.code, 0)
  t.match(JSON.parse(json.out), {
    ok: true,
    file: place.file,
    warnings: [],
    findings: [{ kind: 'account', name: 'app' }, { name: 'acme', id: '7656', ok: true, fixes: [] }, {}],
  })
})

t.test('--offline connects to nothing', async (t) => {
  const place = await startPlace(t)
  const { code, out } = await check(t, place, ['--offline'])
  t.equal(code, 0)
  t.match(out, `configuration: ${place.file}\nThe configuration is valid. Procore was not called`)
  t.match(JSON.parse((await check(t, place, ['--offline', '--json'])).out), {
    ok: true,
    findings: { length: 0 },
  })
  t.equal(place.fake.journal.entries.length, 0)
  const rude = join(dirname(place.file), '\x9b2J.yaml')
  copyFileSync(place.file, rude)
  const json = await check(t, { ...place, file: rude }, ['--offline', '--json'])
  t.match(json.out, '\\u009b2J.yaml"')
  t.equal(JSON.parse(json.out).file, rude)
  place.write({ companies: {} })
  t.match(await check(t, place, ['--offline']), { code: 2, out: '', err: /no company is configured/ })
})

t.test('variables alone are a configuration too', async (t) => {
  const { fake } = await startPlace(t)
  const env = companyVariables(fake)
  const ended = await runToEnd(t, ['check'], { cwd: t.testdir(), env })
  t.match(ended, { code: 0, out: /^configuration: variables and flags\n/, err: '' })
})

t.test('only the companies that are named', async (t) => {
  const place = await startPlace(t, {
    serviceAccounts: {
      app: { clientId: 'demo-client', clientSecret: 'demo-secret' },
      other: { clientId: 'unknown', clientSecret: 'wrong-secret' },
    },
    companies: { ...COMPANIES, third: { id: '3', serviceAccount: 'other' } },
  })
  const named = await check(t, place, ['acme', '562949953443325'])
  t.match(named, { code: 0, out: /result\nok +account +app .*\nok +company +acme .*\nok +company +globex/ })
  t.notMatch(named.out, /company +(third|other)/)
  const err = /umbrella is not configured; configured are: acme, globex, third/
  t.match(await check(t, place, ['umbrella']), { code: 2, out: '', err })

  place.write(place.settings({ companies: { '*': { serviceAccount: 'app' } } }))
  t.match((await report(t, place, ['7656'])).out, /^ok +company +7656 +7656 /m)
  t.match(await report(t, place), { failed: [/account +other/] })
  const none = /configured are: none by name, and any other id/
  await t.rejects(report(t, place, ['umbrella']), { status: 2, message: none })
})

t.test('credentials that are refused', async (t) => {
  const place = await startPlace(t, {
    serviceAccounts: { app: { clientId: 'demo-client', clientSecret: 'wrong-secret' } },
  })
  const { out, failed } = await report(t, place)
  t.equal(failed.length, 3)
  t.match(out, /account +app +fake +the login server refused the credentials \(HTTP 401, invalid_client\)/)
  t.match(out, /client id or the secret is wrong/)
  t.match(out, /Fix service account app first/)
  t.equal(place.fake.journal.tokenRequests().length, 1, 'asked once')
  t.equal(place.fake.journal.api().length, 0)
  const ended = await check(t, place, ['--json'])
  t.equal(ended.code, 1)
  t.notMatch(ended.out + ended.err, 'wrong-secret')
  const json = JSON.parse(ended.out)
  t.equal(json.ok, false)
  for (const { ok, fixes } of json.findings) t.ok(!ok && fixes.length > 0)
})

t.test('a flaw of the client id or secret comes before everything else', async (t) => {
  const accounts = [
    { clientId: 'demo-client', clientSecret: '"demo-secret"', what: 'secret' },
    { clientId: '"demo-client"', clientSecret: 'demo-secret', what: 'client id' },
  ]
  for (const { what, ...app } of accounts) {
    const { out } = await report(t, await startPlace(t, { serviceAccounts: { app } }))
    t.match(out, `account app, what to do:\n  - The ${what} is in quotes`)
    t.match(out, new RegExp(`^warning: serviceAccounts\\.app\\.client\\w+: The ${what} is in quotes`, 'm'))
  }
})

t.test('what the API may answer', async (t) => {
  const place = await startPlace(t, {
    companies: { ...COMPANIES, initech: { id: '90210', serviceAccount: 'app' } },
  })
  const { faults } = place.fake
  const initech = await report(t, place)
  t.equal(initech.failed.length, 1)
  t.match(initech.out, /company +initech +90210 +fake +\/rest\/v1\.0\/me answered 403/)
  t.match(initech.out, /what to do:\n {2}- The app is not connected to this company\. .*App Management.*\n$/)

  const cases: [status: number, body: string, fix: RegExp][] = [
    [401, '{"error":"no"}', /The secret was reset/],
    [403, '{}', /permissions are still None/],
    [404, '{}', /company id is wrong/],
    [429, '{}', /rate limit/],
    [500, '<html>', /status\.procore\.com/],
  ]
  for (const [status, body, fix] of cases) {
    faults.clear()
    faults.api.push({ match: '/rest/v1.0/me', status, body })
    const { failed, out } = await report(t, place, ['acme'])
    t.equal(failed.length, 1)
    t.match(out, `/rest/v1.0/me answered ${status}`)
    t.match(out, fix)
  }
  faults.clear()
  faults.reset()
  t.match(await report(t, place, ['acme']), { out: /The API broke the connection off/ })
  faults.clear()
  faults.hang()
  place.write(place.settings({ upstream: { responseTimeout: '300ms' } }))
  t.match(await report(t, place, ['acme']), { out: /sent nothing within upstream\.responseTimeout/ })
})

t.test('a server that is not there, or in trouble', async (t) => {
  const place = await startPlace(t)
  const { apiUrl, loginUrl } = place.fake
  const gone = `http://127.0.0.1:${await freePort()}`
  place.write(place.settings({ environments: { fake: { apiUrl, loginUrl: gone } } }))
  const login = await report(t, place)
  t.match(login.out, /account +app +fake +the login server could not be reached \(ECONNREFUSED\)/)
  t.match(login.out, `Check that this machine reaches ${gone}`)
  place.write(place.settings({ environments: { fake: { apiUrl: gone, loginUrl } } }))
  const api = await report(t, place, ['acme'])
  t.match(api.out, /ok +account/)
  t.match(api.out, /FAIL +company +acme .*The API refused the connection/)
  t.match(api.out, /Check the network, DNS/)
  place.write(place.settings())
  place.fake.faults.token = { status: 503, body: '<html>down</html>' }
  const inTrouble = await report(t, place, ['acme'])
  t.match(inTrouble.out, /the login server answered HTTP 503/)
  t.match(inTrouble.out, /what to do:\n +- The login server can be reached, but is in trouble/)
  for (const answer of [
    { status: 200, body: '<html>Sign in to the network</html>' },
    { status: 302, headers: { Location: 'http://portal.example.test/' } },
    { status: 404, body: 'no such page' },
    { status: 200, body: '{}' },
  ]) {
    place.fake.faults.token = answer
    const { out } = await report(t, place, ['acme'])
    t.match(out, /what to do:\n +- Something else may answer in place of the login server: .* `loginUrl`/s)
    t.notMatch(out, 'Check that this machine reaches')
  }
})

t.test('certificates: refused with a fix, and trusted where their CA is named', async (t) => {
  const place = await startPlace(t, {}, { fake: { tls: certificate('good') } })
  const refused = await report(t, place)
  t.match(refused.out, /account +app +fake +TLS with the login server failed: its certificate .* \(/)
  t.match(refused.out, 'NODE_EXTRA_CA_CERTS')
  t.equal(place.fake.journal.entries.length, 0)
  const plain = await startPlace(t)
  plain.write(
    plain.settings({ environments: { fake: { apiUrl: place.fake.apiUrl, loginUrl: plain.fake.loginUrl } } }),
  )
  const api = await report(t, plain, ['acme'])
  t.match(api.out, /FAIL +company +acme .*TLS with the API failed: its certificate/)
  t.match(api.out, 'NODE_EXTRA_CA_CERTS')
  place.write(place.settings())
  const trusting = await check(t, place, [], { NODE_EXTRA_CA_CERTS: tlsFile('ca.pem') })
  t.match(trusting, { code: 0, err: '' })
})

t.test('what is allowed but unwise is said', async (t) => {
  const { out } = await report(t, await startPlace(t), [], { PROCORE_COMPANY_ID: '1' })
  t.match(out, /\nwarning: PROCORE_COMPANY_ID is ignored/)
})

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
  await t.rejects(token('acme', { config: file, show: true }), { status: 2, message: /any other id/ })
  const env = companyVariables(fake)
  const folder = t.testdir({})
  t.match(await runToEnd(t, ['token', 'default'], { cwd: folder, env }), { code: 0, out: /^\S+\n$/ })
})

t.test('what goes wrong is a sentence with fixes, and nothing is on stdout', async (t) => {
  const { fake, file } = await startPlace(t)
  await t.rejects(token('umbrella', { config: file, show: true }), {
    status: 2,
    message: 'company umbrella is not configured; configured are: acme, globex',
  })
  fake.resetSecret('demo-client', 'another-secret')
  const refused = await runToEnd(t, ['token', 'acme', '-c', file])
  t.match(refused, {
    code: 1,
    out: '',
    err: /^procore-proxy: no token for acme: the login server refused the credentials .*; what to do:\n {2}- /,
  })
  t.notMatch(refused.err, /demo-secret|^ +at /m)
  fake.faults.token = { status: 503, body: '<html>' }
  const unavailable = { status: 1, message: /HTTP 503.*what to do/ }
  await t.rejects(token('acme', { config: file, show: true }), unavailable)
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
