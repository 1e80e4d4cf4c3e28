// A configuration of another version of the program, from outside: older ones work with warnings, newer ones are refused.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { get, MAIN, run, runToEnd, startPlace } from '../fixtures/cli.ts'

t.jobs = 2

/** A process for which keys were renamed: a module of the test's own fills the table that the program reads. */
const RENAMED = [
  { old: 'serviceAccounts.*.secret', now: 'serviceAccounts.*.clientSecret', since: '0.7.0' },
  { old: 'companies.*.account', now: 'companies.*.serviceAccount', since: '0.8.0' },
]
// Each test its own: tap writes into it.
const needsTable = () => (MAIN.endsWith('.ts') ? {} : { skip: 'the table is within the bundle' })

function withRenamedKeys(folder: string): Record<string, string> {
  const source = pathToFileURL(join(import.meta.dirname, '../../src/config/deprecations.ts'))
  const text = `import { DEPRECATIONS } from ${JSON.stringify(source)}\nDEPRECATIONS.push(...${JSON.stringify(RENAMED)})\n`
  writeFileSync(join(folder, 'renamed.mjs'), text)
  return { NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${folder}/renamed.mjs` }
}

const SECRET = 'demo-secret'

/** The usual file, with old keys: one account's secret on line 5, two companies' accounts on 7 and 8. */
async function oldPlace(t: Test) {
  const place = await startPlace(t)
  const { apiUrl, loginUrl } = place.fake
  const text = `listen: "127.0.0.1:0"
environment: lab
environments: { lab: { apiUrl: "${apiUrl}", loginUrl: "${loginUrl}" } }
serviceAccounts:
  app: { clientId: demo-client, secret: ${SECRET} }
companies:
  acme: { id: "7656", account: app }
  "*": { account: app }
`
  const write = (value: string) => writeFileSync(place.file, value, { mode: 0o600 })
  write(text)
  return { ...place, text, write, env: withRenamedKeys(place.folder) }
}

const words = (file: string) => {
  const said = (place: string, now: string, since: string) =>
    `${file}:${place}: has been named ${now} since version ${since}. Write ${now}; the old key still works`
  return [
    said('5:33 serviceAccounts.app.secret', 'serviceAccounts.app.clientSecret', '0.7.0'),
    said('7:23 companies.acme.account', 'companies.acme.serviceAccount', '0.8.0'),
    said('8:10 companies."*".account', 'companies."*".serviceAccount', '0.8.0'),
  ]
}

t.test('old keys work; start, check, status and the status page warn of each', needsTable(), async (t) => {
  const { folder, file, env, fake } = await oldPlace(t)
  const expected = words(file)
  const proxy = run(t, ['-c', file], { cwd: folder, env })
  const url = await proxy.ready()
  t.match(await get(t, url, '/acme/rest/v1.0/me'), { status: 200 })
  t.equal(fake.journal.tokenRequests().length, 1, 'it logged in with the secret of the old key')
  const warned = proxy.lines().filter(({ level }) => level === 'warn')
  t.strictSame(
    warned.map(({ msg }) => msg),
    expected,
  )
  const { body } = await get(t, url, '/_proxy/status')
  t.strictSame(JSON.parse(body).warnings, expected)
  const status = await runToEnd(t, ['status', '--url', url], { cwd: folder })
  for (const warning of expected) t.ok(status.out.includes(`- ${warning}\n`), warning)
  const check = await runToEnd(t, ['check', '-c', file], { cwd: folder, env })
  t.equal(check.code, 0, check.out + check.err)
  for (const warning of expected) t.ok(check.out.includes(`\nwarning: ${warning}\n`), warning)
  const json = await runToEnd(t, ['check', '--offline', '--json', '-c', file], { cwd: folder, env })
  t.strictSame(JSON.parse(json.out).warnings, expected)
  for (const text of [proxy.out, body, status.out, check.out, json.out]) t.notMatch(text, SECRET)
})

t.test(
  'an old and a new key at once end the start with status 2, without either value',
  needsTable(),
  async (t) => {
    const { folder, file, env, text, write } = await oldPlace(t)
    write(text.replace('secret: ', `clientSecret: other-${SECRET}, secret: `))
    const { code, out, err } = await runToEnd(t, ['-c', file], { cwd: folder, env })
    t.equal(code, 2)
    t.equal(
      err,
      `procore-proxy: ${file}:5:66 serviceAccounts.app.secret: is the old name of serviceAccounts.app.clientSecret, and serviceAccounts.app.clientSecret is there too. Keep one of the two, as serviceAccounts.app.clientSecret\n`,
    )
    t.notMatch(out + err, SECRET)
  },
)

t.test('a file of a newer format is refused with status 2, and says what to do', async (t) => {
  const { folder, file, settings, write } = await startPlace(t)
  write({ version: 2, ...settings(), futureKey: true })
  for (const args of [['start'], ['check'], ['check', '--offline'], ['explain', 'GET', '/rest/v1.0/me']]) {
    const { code, out, err } = await runToEnd(t, [...args, '-c', file], { cwd: folder })
    t.strictSame(
      [code, out, err],
      [
        2,
        '',
        `procore-proxy: ${file}:1:2 version: this file is made for a newer procore-proxy: its format is version 2, and this one reads 1. Upgrade procore-proxy, or go back to the file that you had for this one\n`,
      ],
      args.join(' '),
    )
  }
})

t.test(
  'a running proxy keeps its configuration where the file is of a newer format, and takes the mended one',
  async (t) => {
    const { folder, file, settings, write } = await startPlace(t)
    const proxy = run(t, ['-c', file], { cwd: folder })
    const url = await proxy.ready()
    const next = async (text: string, act: () => void) => {
      const from = proxy.lines().length
      act()
      return proxy.line(text, from)
    }
    await next('the old configuration stays in force', () => write({ version: 2, companies: {} } as never))
    t.match(
      proxy.lines().find(({ msg }) => String(msg).includes('newer procore-proxy')),
      { level: 'error' },
    )
    t.match(await get(t, url, '/acme/rest/v1.0/me'), { status: 200 })
    await next('the new configuration is in force', () => write(settings({ version: 1 } as never)))
    t.match(await get(t, url, '/acme/rest/v1.0/me'), { status: 200 })
  },
)
