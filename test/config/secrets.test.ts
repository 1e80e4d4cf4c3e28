import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readDocument } from '../../src/config/document.ts'
import { readSettings } from '../../src/config/issues.ts'
import { keyOf } from '../../src/config/problems.ts'
import type { SecretSource } from '../../src/config/schema.ts'
import {
  checkSharedUrl,
  readCredentials,
  readSecret,
  secretFile,
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
  const context = { env: {}, folder: t.testdir() }
  t.strictSame((await readCredentials(settings, none, context)).findings, [])
})

t.test('what is wrong with each secret is told, and what was judged already is left alone', async (t) => {
  const settings = settingsOf(`
serviceAccounts:
  app: { clientId: "a b", clientSecret: { env: NONE } }
  bad: { clientId: "é", clientSecret: { env: NONE } }
  blank: { clientId: " a", clientSecret: x }
  end: { clientId: "a\\n", clientSecret: x }
  mark: { clientId: "\\uFEFFa", clientSecret: x }
guard: { clientKeys: [" k", "k\\n", é, "a good key of 16"] }`)
  const context = { env: {}, folder: '/' }
  const wrong = new Set(['serviceAccounts.bad.clientSecret'])
  const { findings } = await readCredentials(settings, wrong, context)
  t.match(findings.map(({ path, message }) => `${keyOf(path)}: ${message}`).sort(), [
    /^guard\.clientKeys\[0\]: the key has leading or trailing spaces$/,
    /^guard\.clientKeys\[1\]: the key starts or ends with a line break$/,
    /^guard\.clientKeys\[2\]: the key can't be sent in a header$/,
    /^serviceAccounts\.app\.clientId: the client id contains spaces/,
    /^serviceAccounts\.app\.clientSecret: the variable NONE is not set/,
    /^serviceAccounts\.bad\.clientId: the client id contains spaces or characters/,
    /^serviceAccounts\.blank\.clientId: the client id has leading or trailing spaces$/,
    /^serviceAccounts\.end\.clientId: the client id starts or ends with a line break$/,
    /^serviceAccounts\.mark\.clientId: the client id starts with a byte-order mark$/,
  ])
})

t.test('a key is long, no single character repeated, and belongs to one caller', async (t) => {
  const read = async (yaml: string) => {
    const context = { env: { SHORT: 'fifteen-letters' }, folder: '/' }
    const { findings, warnings } = await readCredentials(settingsOf(yaml), none, context)
    const said = [...findings, ...warnings.map(({ path, text }) => ({ path, message: text }))]
    return said.map(({ path, message }) => `${keyOf(path)}: ${message}`)
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
serviceAccounts: { app: { clientId: "'x1d'", clientSecret: "s3cret " } }
shared: { url: "redis://u:s3cret@redis.test" }`)
  const context = { env: {}, folder: '/' }
  const { findings, warnings } = await readCredentials(settings, none, context)
  t.strictSame(findings, [])
  const said = warnings.map(({ path, text }) => `${keyOf(path)}: ${text}`)
  t.match(said, [
    /^serviceAccounts\.app\.clientId: The client id is in quotes, which count as part of it\. Remove them\.$/,
    /^serviceAccounts\.app\.clientSecret: .*spaces/,
    /^shared\.url: .*unencrypted.*rediss:/,
  ])
  t.notMatch(said.join(), /x1d|s3cret/)
})

t.test('a damaged secret is recognised, and no part of it is repeated', async (t) => {
  const cases: [string, RegExp][] = [
    ['s3cret\n', /starts or ends with a line break/],
    ['s3cret\r', /starts or ends with a line break/],
    ['\ns3cret', /starts or ends with a line break/],
    ['s3c\nret', /contains a line break/],
    [' s3cret', /leading or trailing spaces/],
    ['s3cret\t', /leading or trailing spaces/],
    ['s3cret\u00a0', /leading or trailing spaces/],
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
    ['redis://u:s3cret%off@h', /has a % that encodes nothing/],
    ['redis://s3cret%:p@h', /has a % that encodes nothing/],
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

const node = (script: string): string[] => [process.execPath, '-e', script]

function reader(folder: string, env: NodeJS.ProcessEnv = {}) {
  return async (source: SecretSource) => {
    const result = await readSecret(source, { env, folder })
    return typeof result === 'string' ? result : `! ${result.message}. ${result.fix}`
  }
}

t.test('a secret may be in the file itself', async (t) => {
  const read = reader('/')
  t.equal(await read(' s3cret '), ' s3cret ')
  t.equal(await read('  '), '! the value is empty. Write the value')
})

t.test('a secret may be in a variable', async (t) => {
  const read = reader('/', { SET: 's3cret\n', EMPTY: '', BLANK: ' ' })
  t.equal(await read({ env: 'SET' }), 's3cret\n')
  t.equal(
    await read({ env: 'EMPTY' }),
    '! the variable EMPTY is not set. Set EMPTY in the environment of the proxy',
  )
  t.match(await read({ env: 'UNSET' }), /^! the variable UNSET is not set/)
  t.match(await read({ env: 'BLANK' }), /^! the variable BLANK is empty/)
})

t.test('a secret may be in a file of its own, and one final newline is removed', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const read = reader(folder.path)
  const cases: [string, string][] = [
    ['s3cret', 's3cret'],
    ['s3cret\n', 's3cret'],
    ['s3cret\r\n', 's3cret'],
    ['s3cret\n\n', 's3cret\n'],
    [' s3cret ', ' s3cret '],
  ]
  for (const [text, expected] of cases) {
    const file = folder.write('secret', text)
    t.equal(await read({ file }), expected)
    t.equal(await read({ file: 'secret' }), expected, "relative to the configuration file's folder")
  }
  folder.write('secret', '\n')
  t.match(await read({ file: 'secret' }), /^! .*\/secret is empty\. Write the secret into it/)
  t.match(await read({ file: 'missing' }), /^! .*\/missing does not exist/)
  folder.write('secret', 'x'.repeat(64 * 1024 + 1))
  t.match(await read({ file: 'secret' }), /larger than 64 KiB/)
  t.equal(secretFile({ file: 'a' }, '/x'), '/x/a')
  t.equal(secretFile({ env: 'a' }, '/x'), undefined)
  t.equal(secretFile('a', '/x'), undefined)
})

t.test("a secret's file that other users can read is refused, except on Windows", async (t) => {
  const folder = new ConfigFolder(t.testdir())
  for (const mode of [0o644, 0o640, 0o604, 0o660, 0o601]) {
    const file = folder.write('secret', 's3cret', mode)
    t.equal(
      await reader(folder.path)({ file }),
      `! other users can read ${file} (mode ${mode.toString(8)}). chmod 600 ${file}`,
    )
  }
  t.intercept(process, 'platform', { value: 'win32' })
  t.equal(await reader(folder.path)({ file: 'secret' }), 's3cret')
})

t.test('a file below /run/secrets may be readable, but a path that leaves it again may not', async (t) => {
  const systemds = `/run/credentials/procore-proxy-test-${process.pid}.service`
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('secret', 's3cret', 0o644)
  const read = reader('/')
  t.match(await read({ file: `/run/secrets/../..${file}` }), /^! other users can read/)
  t.match(await read({ file: '/run/secrets' }), /^! /, 'the folder itself is no secret')
  try {
    mkdirSync('/run/secrets', { recursive: true })
    new ConfigFolder('/run/secrets').write(`procore-proxy-test-${process.pid}`, 's3cret\n', 0o644)
    mkdirSync(systemds, { recursive: true })
    new ConfigFolder(systemds).write('secret', 's3cret', 0o440)
  } catch {
    t.comment('/run may not be written here')
    return
  }
  t.teardown(() => rmSync(systemds, { recursive: true }))
  const mounted = `/run/secrets/procore-proxy-test-${process.pid}`
  t.teardown(() => rmSync(mounted))
  t.equal(await read({ file: mounted }), 's3cret')
  t.equal(await read({ file: `/x/../run/secrets/./procore-proxy-test-${process.pid}` }), 's3cret')
  t.equal(await read({ file: `${systemds}/secret` }), 's3cret')
})

t.test('a secret may be what a program prints, without a shell', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const read = reader(folder.path, { NAME: 's3cret' })
  const timeout = 20_000
  const from = (script: string, ...args: string[]) => read({ command: [...node(script), ...args], timeout })
  t.equal(await from('process.stdout.write("s3cret\\r\\n")'), 's3cret')
  t.equal(await from('console.log(process.argv[1])', '$(id); `id`'), '$(id); `id`')
  t.equal(await from('console.log(process.env.NAME)'), 's3cret')
  t.equal(await from('console.log(process.cwd())'), folder.path)
  t.equal(await from('process.stdin.on("end", () => console.log("asked")).resume()'), 'asked')
  t.match(await from(''), /^! the output of .* is empty/)
})

t.test('a program that fails is told without what it printed', async (t) => {
  const read = reader(t.testdir())
  const from = (script: string, timeout = 20_000) => read({ command: node(script), timeout })
  const failed = await from('console.log("s3cret"); console.error("s3cret"); process.exitCode = 3')
  t.match(failed, /failed \(exit status 3\)\. Run it by hand to see why, as its output is not shown here/)
  t.notMatch(failed, /s3cret/)
  t.match(await from('process.kill(process.pid, "SIGTERM"); setTimeout(() => {}, 9e3)'), /failed \(SIGTERM\)/)
  t.match(
    await from('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)', 300),
    /did not finish within 300ms\. Make it faster, or increase its timeout/,
  )
  t.match(await from('process.stdout.write("x".repeat(1e6))'), /printed more than 64 KiB/)
  t.match(
    await read({ command: ['no-such-program-here'], timeout: 1000 }),
    /no-such-program-here was not found/,
  )
  t.match(await read({ command: [join(t.testdirName, '.')], timeout: 1000 }), /failed \(EACCES\)/)
  t.match(await read({ command: ['a\0b'], timeout: 1000 }), /can't be started/)
})
