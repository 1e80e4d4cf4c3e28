import t, { type Test } from 'tap'
import { DEPRECATIONS, type Deprecation, newerFormat, renewKeys } from '../../src/config/deprecations.ts'
import { readDocument } from '../../src/config/document.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError, keyOf } from '../../src/config/problems.ts'
import { knownKeys, nodesAt } from '../../src/config/schema-nodes.ts'
import { ConfigFolder, oneCompany } from '../fixtures/config-folder.ts'

/** What a later version might have renamed. */
const TABLE: readonly Deprecation[] = [
  { old: 'companies.*.account', now: 'companies.*.serviceAccount', since: '0.2.0' },
  { old: 'companies.*.rules.*.verbs', now: 'companies.*.rules.*.methods', since: '0.3.0' },
  { old: 'serviceAccounts.*.secret', now: 'serviceAccounts.*.clientSecret', since: '0.2.0' },
  {
    old: 'companies.*.serviceAccount.secret',
    now: 'companies.*.serviceAccount.clientSecret',
    since: '0.2.0',
  },
  { old: 'timeout', now: 'upstream.responseTimeout', since: '0.4.0' },
  { old: 'upstream.timeout', now: 'upstream.responseTimeout', since: '0.3.0' },
  { old: 'limits', now: 'rateLimit', since: '0.2.0' },
  { old: 'rateLimit.most', now: 'rateLimit.maxQueued', since: '0.3.0' },
  { old: 'page.history', now: 'inspector.requests', since: '0.5.0' },
]

/** What it comes to, with the table: `warnings`, or the error's message. */
async function load(t: Test, text: string, env: NodeJS.ProcessEnv = {}) {
  const folder = new ConfigFolder(t.testdir())
  const config = folder.write('config.yaml', text)
  const plain = (words: string) => words.replaceAll(folder.path, 'FOLDER')
  try {
    const loaded = await loadConfig(
      { flags: { config }, env, cwd: folder.path, homedir: folder.path, platform: 'linux' },
      TABLE,
    )
    return { config: loaded, warnings: loaded.warnings.map(plain), message: '' }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { config: undefined, warnings: [], message: plain(error.message) }
  }
}

const SECRET = 'never-to-be-shown'

const OLD = `timeout: 7s
limits:
  whenExhausted: reject
page: { history: 5 }
serviceAccounts:
  app: { clientId: a, secret: ${SECRET} }
companies:
  acme:
    id: "1"
    account: app
    rules:
      - { deny: /rest/**/users }
      - { deny: /rest/**/files, verbs: [writes] }
  globex:
    id: "2"
    account: { clientId: b, secret: ${SECRET} }
  "*":
    account: app
`

t.test(
  'old keys are read as the new ones, and each is warned of with its line, both names and the version',
  async (t) => {
    const { config, warnings, message } = await load(t, OLD)
    t.equal(message, '')
    t.match(config, {
      upstream: { responseTimeoutMs: 7000 },
      rateLimit: { whenExhausted: 'reject', maxQueued: 1000 },
      inspector: { requests: 5 },
      companies: [
        {
          name: 'acme',
          account: { name: 'app' },
          rules: [{}, { methods: ['DELETE', 'PATCH', 'POST', 'PUT'] }],
        },
        { name: 'globex', account: { name: 'globex', clientId: 'b' } },
      ],
      anyCompany: { account: { name: 'app' } },
    })
    t.equal(config?.companies[1]?.account.clientSecret.reveal(), SECRET)
    const said = (place: string, now: string, since: string) =>
      `FOLDER/config.yaml:${place}: has been named ${now} since version ${since}. Write ${now}; the old key still works`
    t.strictSame(warnings, [
      said('10:5 companies.acme.account', 'companies.acme.serviceAccount', '0.2.0'),
      said('16:5 companies.globex.account', 'companies.globex.serviceAccount', '0.2.0'),
      said('18:5 companies."*".account', 'companies."*".serviceAccount', '0.2.0'),
      said('13:33 companies.acme.rules[1].verbs', 'companies.acme.rules[1].methods', '0.3.0'),
      said('6:23 serviceAccounts.app.secret', 'serviceAccounts.app.clientSecret', '0.2.0'),
      said('16:29 companies.globex.account.secret', 'companies.globex.serviceAccount.clientSecret', '0.2.0'),
      said('1:1 timeout', 'upstream.responseTimeout', '0.4.0'),
      said('2:1 limits', 'rateLimit', '0.2.0'),
      said('4:9 page.history', 'inspector.requests', '0.5.0'),
    ])
  },
)

t.test('the same file without the table is full of unknown keys', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const keys = (await folder.problems(OLD)).filter(({ message }) => message === 'is not a known key')
  t.match(keys.map(({ key }) => key).join(' '), /timeout limits page .*companies\.acme\.account/)
})

t.test('a file with the new keys alone is not warned of', async (t) => {
  const { config, warnings } = await load(t, oneCompany('upstream: { responseTimeout: 7s }\n'))
  t.equal(config?.upstream.responseTimeoutMs, 7000)
  t.strictSame(warnings, [])
})

t.test('old and new at once is an error, which tells neither value', async (t) => {
  const cases: [string, string][] = [
    [
      oneCompany('upstream: { responseTimeout: 7s, timeout: 7s }\n'),
      'FOLDER/config.yaml:5:34 upstream.timeout: is the old name of upstream.responseTimeout, and upstream.responseTimeout is there too. Keep one of the two, as upstream.responseTimeout',
    ],
    [
      oneCompany('timeout: 8s\nupstream: { timeout: 7s }\n'),
      'FOLDER/config.yaml:6:13 upstream.timeout: is the old name of upstream.responseTimeout, and timeout is there too. Keep one of the two, as upstream.responseTimeout',
    ],
    [
      oneCompany('limits: { maxQueued: 1 }\nrateLimit: { maxWait: 1s }\n'),
      'FOLDER/config.yaml:5:1 limits: is the old name of rateLimit, and rateLimit is there too. Keep one of the two, as rateLimit',
    ],
    [
      `serviceAccounts:\n  app: { clientId: a, clientSecret: ${SECRET}, secret: ${SECRET}-2 }\ncompanies:\n  "*": { serviceAccount: app }\n`,
      'FOLDER/config.yaml:2:56 serviceAccounts.app.secret: is the old name of serviceAccounts.app.clientSecret, and serviceAccounts.app.clientSecret is there too. Keep one of the two, as serviceAccounts.app.clientSecret',
    ],
  ]
  for (const [text, expected] of cases) t.equal((await load(t, text)).message, expected)
})

t.test('a mistake in a value is told where the file has it, under the name that the file uses', async (t) => {
  const cases: [string, RegExp][] = [
    [
      oneCompany('log: {}\ntimeout: soon\n'),
      /^FOLDER\/config\.yaml:6:1 timeout: "soon" is not a duration\. [^\n]*$/,
    ],
    [
      oneCompany('limits:\n  maxQueued: many\n  new: 1\n'),
      /^FOLDER\/config\.yaml:6:3 limits\.maxQueued: [^\n]*\nFOLDER\/config\.yaml:7:3 limits\.new: is not a known key\. Known here: whenExhausted/,
    ],
    [
      'companies:\n  acme:\n    id: "1"\n    account: { clientId: a }\n',
      /^FOLDER\/config\.yaml:4:5 companies\.acme\.account\.clientSecret: is missing\. [^\n]*$/,
    ],
    [
      `companies:\n  acme:\n    id: "1"\n    account: { clientId: a, secret: { env: NOT_SET } }\n`,
      /^FOLDER\/config\.yaml:4:\d+ companies\.acme\.account\.secret: [^\n]*NOT_SET[^\n]*$/,
    ],
    [oneCompany('upstream: [8s]\n'), /^FOLDER\/config\.yaml:5:1 upstream: must be a map[^\n]*$/],
    // Something that is no map where the value belongs: that is the mistake.
    [oneCompany('timeout: 8s\nupstream: fast\n'), /^FOLDER\/config\.yaml:6:1 upstream: must be a map[^\n]*$/],
  ]
  for (const [text, expected] of cases) t.match((await load(t, text)).message, expected)
})

t.test('a key at the top with nothing below it counts as left out, under its old name too', async (t) => {
  const { config, warnings } = await load(t, oneCompany('timeout:\nlimits:\nrateLimit: { maxQueued: 3 }\n'))
  t.match(config, { upstream: { responseTimeoutMs: 120_000 }, rateLimit: { maxQueued: 3 } })
  t.match(warnings, [/:5:1 timeout: /, /:6:1 limits: /])
  const upstream = await load(t, oneCompany('timeout: 8s\nupstream:\n'))
  t.equal(upstream.config?.upstream.responseTimeoutMs, 8000)
})

t.test('a key of an old name in a section of an old name is read, and told as the file has it', async (t) => {
  const { config, warnings } = await load(t, oneCompany('limits: { most: 3 }\n'))
  t.equal(config?.rateLimit.maxQueued, 3)
  t.match(warnings, [
    /:5:1 limits: .* rateLimit /,
    /:5:11 limits\.most: .* rateLimit\.maxQueued since version 0\.3\.0/,
  ])
  t.match((await load(t, oneCompany('limits: { most: x }\n'))).message, /:5:11 limits\.most: "x" is not /)
})

t.test('variables beat what stands under an old key', async (t) => {
  const text = `companies:\n  acme:\n    id: "1"\n    account: { clientId: a, secret: ${SECRET} }\n`
  const { config } = await load(t, text, { PROCORE_CLIENT_SECRET: 'given' })
  t.equal(config?.companies[0]?.account.clientSecret.reveal(), 'given')
})

t.test('names are taken as they are, and no warning holds more than one line', async (t) => {
  const { value } = readDocument(
    'companies: { "a.b": { account: x }, "\\u2028\\n": { account: y }, none: 1 }\nlimits: 1',
  )
  const { moves } = renewKeys(value, TABLE)
  t.strictSame(
    moves.map(({ to }) => keyOf(to)),
    ['companies."a.b".serviceAccount', 'companies."\u2028\\n".serviceAccount', 'rateLimit'],
  )
  t.strictSame(renewKeys('no map', TABLE), { moves: [], warnings: [], findings: [] })
})

/** What makes entries useless: an old key that is still one, a new one that is none, other `*`, no version. */
function unfit(table: readonly Deprecation[]): string[] {
  const pathOf = (pattern: string) => pattern.split('.').map((part) => (part === '*' ? 0 : part))
  const isKnown = (pattern: string) => {
    const paths = [pathOf(pattern), pattern.split('.').map((part) => (part === '*' ? 'any-name' : part))]
    // Which of the two a star is depends on its place.
    const mixed = pattern.split('.').map((part, index) => (part !== '*' ? part : index > 1 ? 0 : 'any-name'))
    return [...paths, mixed].some(
      (path) => nodesAt(path).length > 0 && knownKeys(path.slice(0, -1)).includes(String(path.at(-1))),
    )
  }
  const stars = (pattern: string) => pattern.split('.').filter((part) => part === '*').length
  return table
    .filter(
      ({ old, now, since }) =>
        isKnown(old) || !isKnown(now) || stars(old) !== stars(now) || !/^\d+\.\d+\.\d+$/.test(since),
    )
    .map(({ old }) => old)
}

t.test('each entry of the table leads from a key that is gone to one that there is', async (t) => {
  t.strictSame(unfit(TABLE), [])
  t.strictSame(unfit(DEPRECATIONS), [])
  const wrong = [
    { old: 'listen', now: 'log.level', since: '1.0.0' },
    { old: 'limits', now: 'rateLimits', since: '1.0.0' },
    { old: 'companies.*.account', now: 'log.level', since: '1.0.0' },
    { old: 'limits', now: 'rateLimit', since: 'soon' },
  ]
  t.strictSame(
    unfit(wrong),
    wrong.map(({ old }) => old),
  )
})

t.test('a file of a newer format is told as such, and nothing else of it is judged', async (t) => {
  const newer = (version: string) =>
    `FOLDER/config.yaml:2:1 version: this file is made for a newer procore-proxy: its format is version ${version}, and this one reads 1. Upgrade procore-proxy, or go back to the file that you had for this one`
  const file = (version: string) => `future: { key: 1 }\nversion: ${version}\ncompanies: []\n`
  for (const version of ['2', '3', '4711']) t.equal((await load(t, file(version))).message, newer(version))
  t.match((await load(t, file('99999999999999999999'))).message, /^[^\n]*newer procore-proxy[^\n]*$/)

  const others = ['0', '-1', '1.0', '2.5', 'true', '"2"', 'two', '[2]', '{ a: 2 }', '1.0.0']
  for (const version of others) {
    const { message } = await load(t, oneCompany(`version: ${version}\n`))
    t.match(
      message,
      /^FOLDER\/config\.yaml:5:1 version: .* is not a version this program knows\. Write 1, without quotes, or leave it out$/,
    )
  }
  t.equal(
    (await load(t, oneCompany('version: "1"\n'))).message,
    'FOLDER/config.yaml:5:1 version: "1" is text, not a number. Write 1, without quotes, or leave it out',
  )
  for (const version of ['1', '']) t.equal((await load(t, oneCompany(`version: ${version}\n`))).message, '')
  t.equal(newerFormat(undefined), undefined)
})
