import t from 'tap'
import { readDocument } from '../../src/config/document.ts'
import { readSettings } from '../../src/config/issues.ts'
import { keyOf } from '../../src/config/problems.ts'
import {
  checkPlainSecrets,
  checkSharedUrl,
  readCredentials,
  secretFlaw,
  sendsPasswordInClear,
} from '../../src/config/secrets.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

const settingsOf = (yaml: string) => readSettings(readDocument(yaml).value).settings
const none: ReadonlySet<string> = new Set()

t.test('every secret is read, and its files are known', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('secret', 's3cret\n')
  const settings = settingsOf(`
serviceAccounts: { app: { clientId: { env: ID }, clientSecret: { file: secret } } }
companies: { acme: { id: "1", serviceAccount: { clientId: x, clientSecret: { file: ${file} } } } }
guard: { clientKeys: [a-key-of-16-chars, { env: KEY }] }`)
  const context = {
    env: { ID: 'id', KEY: 'another key of mine' },
    folder: folder.path,
    platform: 'linux' as const,
  }
  const { values, findings, files } = await readCredentials(settings, none, context)
  t.strictSame(findings, [])
  t.strictSame(files, [file])
  t.strictSame(Object.fromEntries(values), {
    'serviceAccounts.app.clientId': 'id',
    'serviceAccounts.app.clientSecret': 's3cret',
    'companies.acme.serviceAccount.clientId': 'x',
    'companies.acme.serviceAccount.clientSecret': 's3cret',
    'guard.clientKeys[0]': 'a-key-of-16-chars',
    'guard.clientKeys[1]': 'another key of mine',
  })
})

t.test('secrets are read at the same time', async (t) => {
  // Each program waits until the other one has started.
  const script = `const { existsSync, writeFileSync } = require('node:fs')
    const [own, other] = process.argv.slice(1)
    writeFileSync(own, '')
    setInterval(() => existsSync(other) && (console.log(own + '-key-of-a-caller'), process.exit()), 5)`
  const source = (...files: string[]) =>
    `{ command: ${JSON.stringify([process.execPath, '-e', script, ...files])}, timeout: 20s }`
  const settings = settingsOf(`guard: { clientKeys: [${source('one', 'two')}, ${source('two', 'one')}] }`)
  const context = { env: {}, folder: t.testdir(), platform: 'linux' as const }
  t.strictSame((await readCredentials(settings, none, context)).findings, [])
})

t.test('what is wrong with each secret is told, and what was judged already is left alone', async (t) => {
  const settings = settingsOf(`
serviceAccounts:
  app: { clientId: "a b", clientSecret: { env: NONE } }
  bad: { clientId: "é", clientSecret: { env: NONE } }
guard: { clientKeys: [" k", "k\\n", é, "a good key of 16"] }`)
  const context = { env: {}, folder: '/', platform: 'linux' as const }
  const wrong = new Set(['serviceAccounts.bad.clientSecret'])
  const { findings } = await readCredentials(settings, wrong, context)
  t.match(findings.map(({ path, message }) => `${keyOf(path)}: ${message}`).sort(), [
    /^guard\.clientKeys\[0\]: the key can't be sent in a header/,
    /^guard\.clientKeys\[1\]/,
    /^guard\.clientKeys\[2\]/,
    /^serviceAccounts\.app\.clientId: the client id contains blanks/,
    /^serviceAccounts\.app\.clientSecret: the variable NONE is not set/,
    /^serviceAccounts\.bad\.clientId/,
  ])
})

t.test(
  'a plain client secret in a file that others can read is refused, a plain key warned of',
  async (t) => {
    const settings = settingsOf(`
serviceAccounts: { app: { clientId: x, clientSecret: s3cret }, env: { clientId: x, clientSecret: { env: A } } }
companies: { acme: { id: "1", serviceAccount: { clientId: x, clientSecret: s3cret } } }
guard: { clientKeys: [key, { env: A }] }`)
    const context = { file: '/f.yaml', mode: 0o644, platform: 'linux' as const, isOverridden: () => false }
    const { findings, warnings } = checkPlainSecrets(settings, none, context)
    const message = 'a secret is written here, and other users can read this file (mode 644)'
    const fix = 'chmod 600 /f.yaml'
    t.strictSame(findings, [
      { path: ['serviceAccounts', 'app', 'clientSecret'], message, fix },
      { path: ['companies', 'acme', 'serviceAccount', 'clientSecret'], message, fix },
    ])
    t.strictSame(warnings, [`/f.yaml guard.clientKeys[0]: ${message.replace('secret', 'key')}. ${fix}`])
    for (const safe of [
      { mode: 0o600 },
      { platform: 'win32' },
      { file: undefined },
      { isOverridden: () => true },
    ]) {
      const found = checkPlainSecrets(settings, none, { ...context, ...(safe as Partial<typeof context>) })
      t.strictSame(found, { findings: [], warnings: [] })
    }
  },
)

t.test('a key is long, no single character repeated, and belongs to one caller', async (t) => {
  const read = async (yaml: string) => {
    const context = { env: { SHORT: 'fifteen-letters' }, folder: '/', platform: 'linux' as const }
    const { findings, warnings } = await readCredentials(settingsOf(yaml), none, context)
    return [...findings.map(({ path, message }) => `${keyOf(path)}: ${message}`), ...warnings]
  }
  const good = 'a-key-of-16-chars'
  const cases: Record<string, RegExp | RegExp[]> = {
    [`callers: { one: { key: [${good}, another-key-of-mine] }, two: { key: third-key-of-mine } }`]: [],
    'callers: { one: { key: { env: SHORT } } }': /^callers\.one\.key: the key has fewer than 16 characters/,
    'guard: { clientKeys: [aaaaaaaaaaaaaaaaaaaa] }': /^guard\.clientKeys\[0\]: the key is one character/,
    [`callers: { one: { key: ${good} }, two: { key: [${good}] } }`]:
      /^callers\.two\.key\[0\]: callers\.one has the same key/,
    [`guard: { clientKeys: [${good}] }\ncallers: { one: { key: ${good} } }`]:
      /^callers\.one\.key: guard\.clientKeys has the same key/,
    [`callers: { one: { key: [${good}, ${good}] } }`]: [],
    [`callers: { one: { key: '"quoted-key-of-mine"' } }`]: /^callers\.one\.key: The secret is in quotes/,
  }
  for (const [yaml, expected] of Object.entries(cases)) {
    const said = await read(yaml)
    t.equal(said.length, [expected].flat().length, yaml)
    t.match(said, [expected].flat(), yaml)
    t.notMatch(said.join(), good)
  }
})

t.test('secrets that were damaged, and a password without TLS, are warned of', async (t) => {
  const settings = settingsOf(`
serviceAccounts: { app: { clientId: x, clientSecret: "s3cret " } }
shared: { url: "redis://u:s3cret@redis.test" }`)
  const context = { env: {}, folder: '/', platform: 'linux' as const }
  const { findings, warnings } = await readCredentials(settings, none, context)
  t.strictSame(findings, [])
  t.match(warnings, [/^serviceAccounts\.app\.clientSecret: .*blanks/, /^shared\.url: .*unencrypted.*rediss:/])
  t.notMatch(warnings.join(), 's3cret')
})

t.test('a damaged secret is recognised, and no part of it is repeated', async (t) => {
  const cases: [string, RegExp][] = [
    ['s3cret\n', /line end/],
    ['s3cret\r', /line end/],
    ['\ns3cret', /line end/],
    ['s3c\nret', /line end in it/],
    [' s3cret', /blanks/],
    ['s3cret\t', /blanks/],
    ['s3cret\u00a0', /blanks/],
    ['\ufeffs3cret', /byte-order mark/],
    ['"s3cret"', /quotes/],
    ["'s3cret'", /quotes/],
    ['“s3cret”', /quotes/],
    ['s\u00003\u0000c\u0000ret', /UTF-16/],
    ['\ufffd\ufffds3cret', /UTF-16/],
  ]
  for (const [value, expected] of cases) {
    const flaw = secretFlaw(value)
    t.match(flaw, expected, JSON.stringify(value))
    t.match(flaw, /^The secret .*\.$/)
    t.notMatch(flaw, /s3cret/)
  }
  for (const value of ['s3cret', 'two words', '"', "it's", 'a"b"', ''])
    t.equal(secretFlaw(value), undefined, value)
})

t.test('the URL of Redis has a host, and at most a port, a login and a database', async (t) => {
  for (const url of ['redis://h', 'rediss://h:1/', 'redis://:p@h/2', 'rediss://u:p%40@[::1]:6379/0'])
    t.equal(checkSharedUrl(url), undefined, url)
  const cases: [string, RegExp][] = [
    ['', /is not a redis/],
    ['redis:', /is not a redis/],
    ['redis:///1', /is not a redis/],
    ['http://h:s3cret', /is not a redis/],
    ['localhost:6379', /is not a redis/],
    ['redis://u:s3cret@h/name', /more than a host/],
    ['redis://u:s3cret@h?db=1', /more than a host/],
    ['redis://u:s3cret#x@h', /more than a host|is not a redis/],
  ]
  for (const [url, expected] of cases) {
    const mistake = checkSharedUrl(url)
    t.match(mistake?.message, expected, url)
    t.notMatch(JSON.stringify(mistake), /s3cret/)
  }
})

t.test('a password over a network needs TLS', async (t) => {
  t.equal(sendsPasswordInClear('redis://u:p@redis.test'), true)
  const safe = ' rediss://u:p@redis.test redis://redis.test redis://u:p@127.0.0.1 redis://u:p@[::1]:1'
  for (const url of safe.split(' ')) t.equal(sendsPasswordInClear(url), false, url)
})
