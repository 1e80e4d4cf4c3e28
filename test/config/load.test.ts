import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listenText } from '../../src/config/addresses.ts'
import type { Config } from '../../src/config/config.ts'
import type { Flags } from '../../src/config/overrides.ts'
import type { ConfigError } from '../../src/config/problems.ts'
import { ConfigFolder, oneCompany } from '../fixtures/config-folder.ts'

const pieces = { PROCORE_COMPANY_ID: '1', PROCORE_CLIENT_ID: 'id', PROCORE_CLIENT_SECRET: 's3cret' }
const api = { PROCORE_API_URL: 'http://127.0.0.1:9001' }
const login = { PROCORE_LOGIN_URL: 'http://127.0.0.1:9002' }
const custom = { ...api, ...login }

const listens = (config: Config) => config.listen.map(listenText).join()
const account = (config: Config) => config.companies[0]?.account

t.test('precedence: a flag beats a variable, and a variable beats the file', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = oneCompany('listen: "127.0.0.1:1"\nlog: { level: warn, format: json }\nenvironment: federal\n')
  const named = folder.write('named.yaml', oneCompany('shutdownTimeout: 1s'))
  folder.write('other.yaml', oneCompany('shutdownTimeout: 2s'))
  folder.write('secret', 'from file\n')
  const read = {
    listen: listens,
    level: (config: Config) => config.log.level,
    format: (config: Config) => config.log.format,
    environment: (config: Config) => account(config)?.environment,
    environmentName: (config: Config) => account(config)?.environment.name,
    id: (config: Config) => config.companies[0]?.id,
    clientId: (config: Config) => account(config)?.clientId,
    secret: (config: Config) => account(config)?.clientSecret.reveal(),
    file: (config: Config) => config.file,
    timeout: (config: Config) => config.shutdownTimeoutMs,
  }
  const [apiUrl, loginUrl] = [custom.PROCORE_API_URL, custom.PROCORE_LOGIN_URL]
  const cases: [keyof typeof read, Flags, NodeJS.ProcessEnv, unknown][] = [
    ['listen', {}, {}, '127.0.0.1:1'],
    ['listen', {}, { PROCORE_PROXY_LISTEN: 'localhost:2' }, 'localhost:2'],
    ['listen', {}, { PROCORE_PROXY_LISTEN: 'localhost:2,unix:/a' }, 'localhost:2,unix:/a'],
    ['listen', { listen: ['[::1]:3'] }, {}, '[::1]:3'],
    [
      'listen',
      { listen: ['[::1]:3', 'unix:/a'] },
      { PROCORE_PROXY_LISTEN: 'localhost:2' },
      '[::1]:3,unix:/a',
    ],
    ['level', {}, {}, 'warn'],
    ['level', {}, { PROCORE_PROXY_LOG_LEVEL: 'error' }, 'error'],
    ['level', { logLevel: 'debug' }, {}, 'debug'],
    ['level', { logLevel: 'debug' }, { PROCORE_PROXY_LOG_LEVEL: 'error' }, 'debug'],
    ['format', {}, {}, 'json'],
    ['format', { logFormat: 'readable' }, {}, 'readable'],
    ['environmentName', {}, {}, 'federal'],
    ['environmentName', {}, { PROCORE_ENVIRONMENT: 'sandbox' }, 'sandbox'],
    ['environmentName', { environment: 'production' }, {}, 'production'],
    ['environmentName', { environment: 'production' }, { PROCORE_ENVIRONMENT: 'sandbox' }, 'production'],
    ['environment', {}, custom, { name: 'custom', apiUrl, loginUrl, fileDomain: '127.0.0.1' }],
    ['environmentName', { environment: 'sandbox' }, custom, 'sandbox'],
    ['id', {}, {}, '7656'],
    ['id', {}, { PROCORE_COMPANY_ID: '2' }, '2'],
    ['id', { companyId: '3' }, {}, '3'],
    ['id', { companyId: '3' }, { PROCORE_COMPANY_ID: '2' }, '3'],
    ['clientId', {}, {}, 'abc'],
    ['clientId', {}, { PROCORE_CLIENT_ID: 'v' }, 'v'],
    ['clientId', { clientId: 'f' }, {}, 'f'],
    ['clientId', { clientId: 'f' }, { PROCORE_CLIENT_ID: 'v' }, 'f'],
    ['secret', {}, {}, 's3cret'],
    ['secret', {}, { PROCORE_CLIENT_SECRET: 'v' }, 'v'],
    ['secret', {}, { PROCORE_CLIENT_SECRET_FILE: 'secret' }, 'from file'],
    ['file', {}, { PROCORE_PROXY_CONFIG: 'named.yaml' }, named],
    ['timeout', {}, { PROCORE_PROXY_CONFIG: 'named.yaml' }, 1000],
    ['timeout', { config: 'other.yaml' }, {}, 2000],
    ['timeout', { config: 'other.yaml' }, { PROCORE_PROXY_CONFIG: named }, 2000],
  ]
  for (const [key, flags, env, expected] of cases) {
    const config = await folder.load(file, { flags, env })
    const title = JSON.stringify([key, flags, env])
    t.strictSame(read[key](config), expected, title)
    t.strictSame(config.warnings, [], title)
  }
})

t.test('one company needs no file at all', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const config = await folder.load(undefined, { env: pieces })
  t.match(config, {
    file: undefined,
    companies: [{ name: 'default', id: '1', isDefault: true, account: { name: 'default', clientId: 'id' } }],
    accounts: [{ environment: { name: 'production' } }],
    watchedFiles: { length: 0 },
    warnings: { length: 0 },
  })
  t.equal(account(config)?.clientSecret.reveal(), 's3cret')
  const sandbox = await folder.load(undefined, { env: { ...pieces, PROCORE_ENVIRONMENT: 'sandbox' } })
  t.equal(account(sandbox)?.environment.apiUrl, 'https://sandbox.procore.com')
  const secret = folder.write('secret', 'from file\n')
  const { PROCORE_CLIENT_SECRET: _, ...rest } = pieces
  const fromFile = await folder.load(undefined, { env: { ...rest, PROCORE_CLIENT_SECRET_FILE: 'secret' } })
  t.equal(account(fromFile)?.clientSecret.reveal(), 'from file')
  t.strictSame(fromFile.watchedFiles, [secret])
  const withFile = await folder.load('log: { level: debug }', { env: pieces })
  t.match(withFile, { log: { level: 'debug' }, companies: [{ name: 'default', id: '1' }] })
})

t.test('without a file and variables the message names init and demo', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const expected =
    /^there is no configuration: .* PROCORE_COMPANY_ID, .*\. Run procore-proxy init .* procore-proxy demo /
  t.match(await folder.message(undefined), expected)
  const env = { PROCORE_PROXY_LISTEN: '127.0.0.1:1' }
  t.match(await folder.message(undefined, { env }), /procore-proxy init/)
  t.equal(
    await folder.message(undefined, { env: { PROCORE_COMPANY_ID: '1x', PROCORE_CLIENT_ID: 'a' } }),
    [
      'PROCORE_COMPANY_ID: "1x" is not a company id. Write its 1 to 20 digits, such as "7656"',
      'PROCORE_CLIENT_SECRET: is not set. Set it (or PROCORE_CLIENT_SECRET_FILE), or write a configuration file with procore-proxy init',
    ].join('\n'),
  )
})

t.test('mistakes of flags and variables are told by their names', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  folder.write('open', 's', 0o644)
  const cases: Record<string, Flags | NodeJS.ProcessEnv> = {
    '"8377" is a port without a host': { listen: ['8377'] },
    '0.0.0.0:1 is open to other machines': { PROCORE_PROXY_LISTEN: '0.0.0.0:1' },
    'is an empty list': { PROCORE_PROXY_LISTEN: ' , ' },
    '"loud" is not one of': { logLevel: 'loud' },
    '"LOUD" is not one of': { PROCORE_PROXY_LOG_LEVEL: 'LOUD' },
    '"xml"': { logFormat: 'xml' },
    'there is no environment "prod"': { environment: 'prod' },
    'there is no environment "test". Known are production': { PROCORE_ENVIRONMENT: 'test' },
    '"http://a.b" would send secrets unencrypted': { PROCORE_API_URL: 'http://a.b', ...login },
    '"a.b" is not an http or https origin': { PROCORE_LOGIN_URL: 'a.b', ...api },
    '"1e3" is not a company id': { companyId: '1e3' },
    'the client id contains spaces': { clientId: 'a b' },
    'FOLDER/none does not exist': { PROCORE_CLIENT_SECRET_FILE: 'none' },
    'other users can read FOLDER/open (mode 644). chmod 600 FOLDER/open': {
      PROCORE_CLIENT_SECRET_FILE: 'open',
    },
    'FOLDER/none.yaml does not exist': { config: 'none.yaml' },
    'FOLDER/no.yaml does not exist': { PROCORE_PROXY_CONFIG: 'no.yaml' },
  }
  for (const [expected, given] of Object.entries(cases)) {
    const [name = ''] = Object.keys(given)
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    const isVariable = name.startsWith('PROCORE_')
    const message = await folder.message(
      oneCompany(),
      isVariable ? { env: given as NodeJS.ProcessEnv } : { flags: given },
    )
    t.equal(message.startsWith(`${isVariable ? name : `--${flag}`}: ${expected}`), true, message)
    t.notMatch(message, '\n')
  }
})

t.test('all mistakes are told at once, each with its place', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const message = await folder.message(
    `lissten: "127.0.0.1:1"
environment: prod
serviceAccounts:
  app:
    clientId: abc
    clientSecret: { env: APP_SECRET }
companies:
  acme: { id: 01, serviceAccount: app, default: true }
  globex: { id: "2", serviceAccount: nope, default: true, access: rw }
  acme: { id: "3", serviceAccount: app }
`,
    { env: { PROCORE_CLIENT_SECRET: 'a', PROCORE_CLIENT_SECRET_FILE: 'b', PROCORE_PROXY_LOG_LEVEL: 'loud' } },
  )
  t.strictSame(
    message.split('\n').map((line) => line.replace(/(?<=: .*)\. .*/, '')),
    [
      'FOLDER/procore-proxy.yaml:1:1 lissten: is not a known key',
      'FOLDER/procore-proxy.yaml:2:1 environment: there is no environment "prod"',
      'FOLDER/procore-proxy.yaml:6:5 serviceAccounts.app.clientSecret: the variable APP_SECRET is not set',
      'FOLDER/procore-proxy.yaml:8:11 companies.acme.id: 01 is a number that would not be kept as it is written',
      'FOLDER/procore-proxy.yaml:9:22 companies.globex.serviceAccount: there is no service account "nope"',
      'FOLDER/procore-proxy.yaml:9:44 companies.globex.default: acme is the default company too',
      'FOLDER/procore-proxy.yaml:9:59 companies.globex.access: "rw" is not one of read-write, read-only',
      'FOLDER/procore-proxy.yaml:10:3 companies.acme: this key exists twice',
      'PROCORE_PROXY_LOG_LEVEL: "loud" is not one of fatal, error, warn, info, debug, trace, silent',
      'PROCORE_CLIENT_SECRET_FILE: and PROCORE_CLIENT_SECRET are both set',
    ],
  )
})

t.test('a wrong name hides no mistake below it, nor one that depends on it', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const problems = await folder.problems(
    `environments: { "La b": { apiUrl: "ftp://a.b", loginUrl: 1 } }
serviceAccounts: { "a b": { clientId: 1, clientSecret: { file: missing } } }
callers: { Excel: { key: { env: MISSING }, companies: [nope] }, x: { key: [short, { env: NOPE }, 5] } }
companies:
  acme: { id: "1", serviceAccount: "a b", default: true }
  Bad_Name: { id: "1", serviceAccount: nope, default: true }
  rest: { id: "2", serviceAccount: { environment: nope, clientId: x, clientSecret: { env: MISSING } } }
cache: { keep: [{ paths: [nope], for: 60s, whenExhausted: 1s }] }
`,
  )
  t.strictSame(
    problems.map(({ line, key, message }) => `${line} ${key}: ${message}`.replace(folder.path, '…')),
    [
      '1 environments."La b": "La b" is not a name',
      '1 environments."La b".apiUrl: "ftp://a.b" is not an http or https origin',
      '1 environments."La b".loginUrl: must be an origin',
      '2 serviceAccounts."a b": "a b" is not a name',
      '2 serviceAccounts."a b".clientId: is neither text nor one of {env: NAME}, {file: PATH} and {command: [program, argument]}',
      '2 serviceAccounts."a b".clientSecret: …/missing does not exist',
      '3 callers.Excel: "Excel" is not a name',
      '3 callers.Excel.key: the variable MISSING is not set',
      '3 callers.Excel.companies[0]: there is no company "nope"',
      '3 callers.x.key[0]: the key has fewer than 16 characters',
      '3 callers.x.key[1]: the variable NOPE is not set',
      '3 callers.x.key[2]: is neither text nor one of {env: NAME}, {file: PATH} and {command: [program, argument]}',
      '6 companies.Bad_Name: "Bad_Name" is not a company name',
      '6 companies.Bad_Name.id: 1 is the id of acme too',
      '6 companies.Bad_Name.serviceAccount: there is no service account "nope"',
      '6 companies.Bad_Name.default: acme is the default company too',
      '7 companies.rest: "rest" is a reserved word, because paths of the proxy itself start with it',
      '7 companies.rest.serviceAccount.environment: there is no environment "nope"',
      '7 companies.rest.serviceAccount.clientSecret: the variable MISSING is not set',
      '8 cache.keep[0].paths[0]: "nope" can\'t match any path that is forwarded',
      '8 cache.keep[0].whenExhausted: is shorter than `for`',
    ],
  )
})

t.test('nothing is said about what replaces a wrong value', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write(
    'procore-proxy.yaml',
    `listen: { mode: 600 }
companies:
  acme: { id: "1", serviceAccount: { clientId: x, clientSecret: { env: $A } }, listen: "127.0.0.1:8377" }
  globex: { id: "2", serviceAccount: { clientId: x, clientSecret: { env: A } }, listen: 1, publicUrl: "https://a.b" }
  initech: { id: "3", serviceAccount: { clientId: x, clientSecret: { env: A } }, listen: { zz: 1 }, publicUrl: "https://a.b" }
callers: { excel: { key: { env: 1 } }, powerbi: { key: [{ env: 1 }] } }
guard: { clientKeys: [{ env: 1 }] }
shared: { url: { env: 1 } }
`,
    0o644,
  )
  t.strictSame(
    (await folder.problems(undefined, { flags: { config: file }, env: { A: 'a' } })).map(({ key }) => key),
    [
      'listen.path',
      'companies.acme.serviceAccount.clientSecret.env',
      'companies.globex.listen',
      'companies.initech.listen.path',
      'companies.initech.listen.zz',
      'callers.excel.key.env',
      'callers.powerbi.key[0].env',
      'guard.clientKeys[0].env',
      'shared.url.env',
    ],
  )
})

t.test('an id is never rounded, and one that would be is to be quoted', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const load = (id: string) => folder.load(oneCompany().replace('"7656"', id))
  const good: [string, string][] = [
    ['7656', '7656'],
    ['"7656"', '7656'],
    ['562949953443325', '562949953443325'],
    ['9007199254740991', '9007199254740991'],
    ['"9007199254740993"', '9007199254740993'],
    ['"18446744073709551615"', '18446744073709551615'],
    ['!!str 9007199254740993', '9007199254740993'],
    ['"99999999999999999999"', '99999999999999999999'],
    ['"007"', '007'],
  ]
  for (const [written, id] of good) t.equal((await load(written)).companies[0]?.id, id, written)
  const key = 'companies.acme.id: '
  for (const written of ['9007199254740992', '18446744073709551615', '007656']) {
    const message = await folder.message(oneCompany().replace('"7656"', written))
    t.ok(message.includes(`${key}${written} is a number `), message)
    t.ok(message.endsWith(`Quote it: "${written}"`), message)
  }
  // Quotes would not help here.
  const odd = '0x10 0o17 1e3 7656.0 +7656 .inf'.split(' ').map((id) => [id, `${id} is not a company id`])
  const bad: Record<string, string> = {
    ...Object.fromEntries(odd),
    '7_656': '"7_656" is not a company id',
    '-1': '"-1" is not a company id',
    '"12a"': '"12a" is not a company id',
    '" 1"': '" 1" is not a company id',
    '"1\\n"': '"1\\n" is not a company id',
    '"1.5"': '"1.5" is not a company id',
    '"١"': '"١" is not a company id',
    true: 'true is not a company id',
    '[]': 'a list is not a company id',
    '{}': 'a map is not a company id',
    '"184467440737095516150"': '"184467440737095516150" is not a company id',
    '~': 'null is not a company id',
    '': 'null is not a company id',
  }
  for (const [written, expected] of Object.entries(bad)) {
    const message = await folder.message(oneCompany().replace('"7656"', written))
    t.ok(message.includes(key + expected), message)
  }
})

t.test('JSON is as good as YAML', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const json = { companies: { acme: { id: 7656, serviceAccount: { clientId: 'a', clientSecret: 'b' } } } }
  t.match(await folder.load(JSON.stringify(json, null, '\t')), { companies: [{ name: 'acme', id: '7656' }] })
  const rounded = await folder.message('{"companies": {"acme": {"id": 9007199254740993}}}')
  t.match(rounded, /Quote it: "9007199254740993"/)
})

t.test('names that every object has are just names', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const config = await folder.load(`
serviceAccounts: { constructor: { clientId: a, clientSecret: b }, toString: { clientId: c, clientSecret: d } }
companies:
  constructor: { id: "1", serviceAccount: constructor }
  valueof: { id: "2", serviceAccount: toString }`)
  const names = config.companies.map(({ name, account }) => `${name} ${account.clientId}`)
  t.strictSame(names, ['constructor a', 'valueof c'])
  const company = 'companies: { a: { id: "1", serviceAccount: toString } }'
  const missing = await folder.problems(`${company}\nenvironment: valueOf`)
  t.match(missing, [{ key: 'companies.a.serviceAccount' }, { key: 'environment' }])
  t.equal(missing.length, 2)
  const proto = await folder.message('companies: { __proto__: { id: "1" } }')
  t.match(proto, /companies\.__proto__: this key can't be used/)
})

t.test('a file with a plain secret is to be its owner alone', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('procore-proxy.yaml', oneCompany(), 0o640)
  const message = 'a secret is written here, and other users can read this file (mode 640)'
  const key = 'companies.acme.serviceAccount.clientSecret'
  const expected = [{ file, line: 4, column: 38, key, message, fix: `chmod 600 ${file}` }]
  t.strictSame(await folder.problems(undefined), expected)
  t.strictSame(await folder.problems(undefined, { env: { PROCORE_CLIENT_SECRET: 'x' } }), [])
  const env = 'companies: { a: { id: "1", serviceAccount: { clientId: x, clientSecret: { env: S } } } }\n'
  folder.write('procore-proxy.yaml', `${env}guard: { clientKeys: [plain-key-of-mine] }`, 0o644)
  const { warnings } = await folder.load(undefined, { env: { S: 's' } })
  t.match(warnings, [
    /procore-proxy\.yaml guard\.clientKeys\[0\]: a key is written here, and other users can/,
  ])
})

t.test('a warning about a value names its variable, or its key in the file', async (t) => {
  const env = { PROCORE_COMPANY_ID: '1', PROCORE_CLIENT_ID: 'x', PROCORE_CLIENT_SECRET: '"s3cret"' }
  const { warnings } = await new ConfigFolder(t.testdir()).load(undefined, { env })
  t.match(warnings, [/^PROCORE_CLIENT_SECRET: The secret is in quotes/])
  const config = await new ConfigFolder(t.testdir()).load(oneCompany().replace('s3cret', `'"s3cret"'`))
  t.match(config.warnings, [/^companies\.acme\.serviceAccount\.clientSecret: The secret is in quotes/])
  t.match(account(config)?.secretFlaw, /^The secret is in quotes/)
})

t.test('the file and the files of its secrets are watched', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const secret = folder.write('conf/secrets/app', 's3cret\n')
  const account1 = '{ clientId: { file: secrets/app }, clientSecret: { file: secrets/app } }'
  const file = folder.write('conf/proxy.yaml', `companies: { a: { id: "1", serviceAccount: ${account1} } }`)
  const config = await folder.load(undefined, { flags: { config: 'conf/proxy.yaml' } })
  t.strictSame(config.watchedFiles, [file, secret])
  t.equal(
    account(config)?.clientSecret.reveal(),
    's3cret',
    'relative to the file, not to the working directory',
  )
  rmSync(secret)
  const error = await folder.load(undefined, { flags: { config: file } }).catch((error: unknown) => error)
  t.strictSame((error as ConfigError).watchedFiles, [file, secret], 'one that is missing may come back')
})

t.test('a file with no company, no map or no YAML says so and nothing else', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const cases: Record<string, RegExp> = {
    '': /^FOLDER\/procore-proxy\.yaml:1:1 companies: no company is configured\. Add one, or set PROCORE_COMPANY_ID/,
    'companies:': /companies: no company is configured/,
    'companies: {}': /companies: no company is configured/,
    'companies: []': /companies: must be a map/,
    '[]': /^FOLDER\/procore-proxy\.yaml:1:1: the file is not a map/,
    'companies: {': /^FOLDER\/procore-proxy\.yaml:1:13: this is not valid YAML/,
  }
  for (const [yaml, expected] of Object.entries(cases)) {
    const message = await folder.message(yaml)
    t.match(message, expected, yaml)
    t.notMatch(message, '\n', yaml)
  }
  const large = await folder.message('x'.repeat(1024 * 1024 + 1))
  t.match(large, /^FOLDER\/procore-proxy\.yaml is larger than 1024 KiB/)
})

t.test('"*" alone is enough, and is no company of its own', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const yaml = 'companies: { "*": { access: read-only, serviceAccount: { clientId: a, clientSecret: b } } }'
  const anyCompany = { access: 'read-only', account: { name: '*' } }
  t.match(await folder.load(yaml), { companies: { length: 0 }, anyCompany })
})

t.test('without secrets, where the proxy listens can be known from little', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const load = (text: string | undefined, env: NodeJS.ProcessEnv = {}) =>
    folder.load(text, { env, resolveSecrets: false })
  t.equal(listens(await load(undefined)), '127.0.0.1:8377')
  const partly = await load(undefined, { PROCORE_PROXY_LISTEN: 'localhost:1', PROCORE_COMPANY_ID: '1' })
  t.equal(listens(partly), 'localhost:1')
  t.strictSame(partly.companies, [])
  const file =
    'companies: { a: { id: "1", serviceAccount: { clientId: { env: A }, clientSecret: { command: [nope] } } } }'
  const config = await load(`${file}\nlisten: "0.0.0.0:1"\nguard: { clientKeys: [{ env: K }] }`)
  t.match(config, {
    companies: [{ name: 'a', account: { clientId: '' } }],
    file: join(folder.path, 'procore-proxy.yaml'),
  })
  t.equal(account(config)?.clientSecret.reveal(), '')
  t.match(await folder.message('listen: 8377', { resolveSecrets: false }), /listen: 8377 is a port/)
})

t.test('a file that others can change is warned of', { skip: process.platform === 'win32' }, async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const account = '{ clientId: a, clientSecret: { env: S } }'
  const yaml = `companies: { acme: { id: "1", serviceAccount: ${account} } }`
  for (const mode of [0o600, 0o620, 0o602]) {
    folder.write('procore-proxy.yaml', yaml, mode)
    const { warnings } = await folder.load(undefined, { env: { S: 's3cret' } })
    t.match(warnings, mode === 0o600 ? [] : [/chmod go-w/], mode.toString(8))
    t.equal(warnings.length, mode === 0o600 ? 0 : 1)
  }
})
