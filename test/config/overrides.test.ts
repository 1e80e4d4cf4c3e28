import t from 'tap'
import { readDocument } from '../../src/config/document.ts'
import { applyOverrides, type Flags, readCompanyId } from '../../src/config/overrides.ts'

function apply(yaml: string, env: NodeJS.ProcessEnv = {}, flags: Flags = {}) {
  const result = applyOverrides(readDocument(yaml).value, { env, flags, cwd: '/work' })
  const { value, sources, problems, warnings, reported } = result
  return {
    value: JSON.parse(JSON.stringify(value ?? null)),
    sources: Object.fromEntries(sources),
    problems: problems.map(({ key, message, fix }) => `${key}: ${message}. ${fix}`),
    warnings,
    reported: [...reported],
  }
}

const all = { PROCORE_COMPANY_ID: '1', PROCORE_CLIENT_ID: 'id', PROCORE_CLIENT_SECRET: 's3cret' }

t.test('each flag and variable lands at its key, and is remembered as its source', async (t) => {
  const urls = { PROCORE_API_URL: 'https://a', PROCORE_LOGIN_URL: 'https://l' }
  const lab = { apiUrl: 'https://a', loginUrl: 'https://l' }
  const account = { clientId: 'flag', clientSecret: 's3cret' }
  const cases: [NodeJS.ProcessEnv, Flags, object, string][] = [
    [{ PROCORE_PROXY_LISTEN: 'a:1, b:2,' }, {}, { listen: ['a:1', 'b:2'] }, 'listen=PROCORE_PROXY_LISTEN'],
    [{ PROCORE_PROXY_LISTEN: 'a:1' }, { listen: ['c:3'] }, { listen: ['c:3'] }, 'listen=--listen'],
    [
      { PROCORE_PROXY_LOG_LEVEL: 'warn' },
      {},
      { log: { level: 'warn' } },
      'log.level=PROCORE_PROXY_LOG_LEVEL',
    ],
    [
      { PROCORE_PROXY_LOG_LEVEL: 'warn' },
      { logLevel: 'x' },
      { log: { level: 'x' } },
      'log.level=--log-level',
    ],
    [{}, { logFormat: 'json' }, { log: { format: 'json' } }, 'log.format=--log-format'],
    [{ PROCORE_ENVIRONMENT: 'lab' }, {}, { environment: 'lab' }, 'environment=PROCORE_ENVIRONMENT'],
    [
      { PROCORE_ENVIRONMENT: 'lab' },
      { environment: 'federal' },
      { environment: 'federal' },
      'environment=--environment',
    ],
    [
      urls,
      {},
      { environments: { custom: lab }, environment: 'custom' },
      'environments.custom=PROCORE_API_URL environments.custom.apiUrl=PROCORE_API_URL environments.custom.loginUrl=PROCORE_LOGIN_URL environment=PROCORE_API_URL',
    ],
    [
      { ...all, PROCORE_COMPANY_ID: '2' },
      { companyId: 'app.procore.com/3/company', clientId: 'flag' },
      { companies: { default: { default: true, id: '3', serviceAccount: account } } },
      'companies.default.default=--company-id companies.default.id=--company-id companies.default.serviceAccount.clientId=--client-id companies.default.serviceAccount.clientSecret=PROCORE_CLIENT_SECRET',
    ],
  ]
  for (const [env, flags, value, sources] of cases) {
    const result = apply('', env, flags)
    t.strictSame(result.value, value)
    t.equal(
      Object.entries(result.sources)
        .map((entry) => entry.join('='))
        .join(' '),
      sources,
    )
    t.strictSame([...result.problems, ...result.warnings, ...result.reported], [])
  }
})

t.test('empty flags and variables count as not set', async (t) => {
  const names = 'CLIENT_ID CLIENT_SECRET COMPANY_ID ENVIRONMENT API_URL PROXY_LISTEN PROXY_LOG_LEVEL'
  const blank = Object.fromEntries(names.split(' ').map((name) => [`PROCORE_${name}`, ' ']))
  const flags = { listen: [], logLevel: '', companyId: undefined }
  const result = apply('', { ...blank, PROCORE_CLIENT_ID: '' }, flags)
  t.strictSame(result, { value: {}, sources: {}, problems: [], warnings: [], reported: [] })
})

t.test('variables that contradict each other are told', async (t) => {
  const [api, login] = [{ PROCORE_API_URL: 'https://a' }, { PROCORE_LOGIN_URL: 'https://a' }]
  const cases: [NodeJS.ProcessEnv, RegExp][] = [
    [api, /^PROCORE_LOGIN_URL: is not set, but PROCORE_API_URL is\. Set both or neither/],
    [login, /^PROCORE_API_URL: is not set, but PROCORE_LOGIN_URL is/],
    [
      { ...api, ...login, PROCORE_ENVIRONMENT: 'lab' },
      /^PROCORE_ENVIRONMENT: names an environment, but PROCORE/,
    ],
    [
      { ...all, PROCORE_CLIENT_SECRET_FILE: 'x' },
      /^PROCORE_CLIENT_SECRET_FILE: and PROCORE_CLIENT_SECRET are both/,
    ],
  ]
  for (const [env, expected] of cases) t.match(apply('', env).problems, [expected])
})

t.test('where no company is configured, each missing piece is told by its variable', async (t) => {
  const result = apply('companies: {}', { PROCORE_CLIENT_ID: 'x' })
  t.match(result.problems, [
    /^PROCORE_COMPANY_ID: is not set/,
    /^PROCORE_CLIENT_SECRET: is not set\. Set it \(or PROCORE_CLIENT_SECRET_FILE\)/,
  ])
  t.strictSame(result.reported, ['companies.default.id', 'companies.default.serviceAccount.clientSecret'])
  t.match(apply('', { PROCORE_COMPANY_ID: '1' }).problems, [/^PROCORE_CLIENT_ID/, /^PROCORE_CLIENT_SECRET/])
  const { problems } = apply('', { PROCORE_CLIENT_SECRET_FILE: 'x' })
  t.match(problems, [/^PROCORE_COMPANY_ID/, /^PROCORE_CLIENT_ID/])
})

t.test("with one company, the pieces replace the company's own", async (t) => {
  const app = 'serviceAccounts: { app: { clientId: a, clientSecret: { file: f } } }'
  const companies = 'companies: { acme: { id: "9", serviceAccount: app }, "*": { serviceAccount: app } }'
  const shared = apply(`${app}\n${companies}`, all)
  t.match(shared.value, {
    serviceAccounts: { app: { clientId: 'id', clientSecret: 's3cret' } },
    companies: { acme: { id: '1', serviceAccount: 'app' } },
  })
  t.equal(shared.sources['serviceAccounts.app.clientSecret'], 'PROCORE_CLIENT_SECRET')
  const acme = (text: string, env: NodeJS.ProcessEnv) =>
    apply(`companies: { acme: ${text} }`, env).value.companies.acme
  const inline = acme('{ id: "9", serviceAccount: { clientId: a } }', {
    PROCORE_CLIENT_SECRET_FILE: 'secret',
  })
  t.strictSame(inline.serviceAccount, { clientId: 'a', clientSecret: { file: '/work/secret' } })
  t.strictSame(acme('{}', all), { id: '1', serviceAccount: { clientId: 'id', clientSecret: 's3cret' } })
  t.strictSame(acme('{ serviceAccount: nope }', all), { serviceAccount: 'nope', id: '1' })
})

t.test(
  'with several companies, or "*" alone, variables are ignored with a warning, flags refused',
  async (t) => {
    for (const names of ['a: {}, b: {}', '"*": {}']) {
      const result = apply(`companies: { ${names} }`, all)
      const ignored = ['PROCORE_COMPANY_ID', 'PROCORE_CLIENT_ID', 'PROCORE_CLIENT_SECRET']
      t.match(
        result.warnings,
        ignored.map((name) => new RegExp(`^${name} is ignored`)),
      )
      t.strictSame(result.sources, {})
      const flags = apply(`companies: { ${names} }`, {}, { companyId: '1', clientId: 'x' })
      t.match(flags.problems, [
        /^--company-id: is for a single company/,
        /^--client-id: is for a single company/,
      ])
    }
  },
)

t.test('there is no warning for a variable that the file itself reads', async (t) => {
  const yaml =
    'companies: { a: { serviceAccount: { clientId: { env: PROCORE_CLIENT_ID } } }, b: {} }\nguard: { clientKeys: [{ env: PROCORE_CLIENT_SECRET }] }'
  const { warnings } = apply(yaml, all)
  t.match(warnings, [/^PROCORE_COMPANY_ID is ignored/])
  t.equal(warnings.length, 1)
})

t.test('a section with nothing below it is as good as none', async (t) => {
  t.strictSame(apply('log:\nupstream: ~\nenvironment: x').value, { environment: 'x' })
})

t.test('what is no map is left to the schema', async (t) => {
  t.strictSame(apply('- a', all).value, ['a'])
  t.equal(apply('a', all).value, 'a')
  t.strictSame(apply('companies: []\nlog: x', all, { logLevel: 'info' }).value, { companies: [], log: 'x' })
  t.strictSame(apply('companies: []', { PROCORE_CLIENT_ID: 'id' }).problems, [])
  t.strictSame(apply('companies: { acme: 1 }', all).value, { companies: { acme: 1 } })
  t.strictSame(
    apply('companies: { acme: { serviceAccount: 1 } }', all).value.companies.acme.serviceAccount,
    1,
  )
})

t.test('a company id is read from the addresses that browsers show', async (t) => {
  const cases: [string, string | undefined][] = [
    ['7656', '7656'],
    [' 562949953443325\n', '562949953443325'],
    ['https://app.procore.com/7656/company/home/list', '7656'],
    ['app.procore.com/7656/company/home', '7656'],
    ['https://us02.procore.com/webclients/host/companies/7656/tools/x?a=b', '7656'],
    ['https://app.procore.com/7656/project/home', undefined],
    ['https://app.procore.com/', undefined],
    ['ftp://app.procore.com/7656/company', undefined],
    ['acme', undefined],
    ['1'.repeat(21), undefined],
    ['', undefined],
  ]
  for (const [text, expected] of cases) t.strictSame(readCompanyId(text), expected, text)
})
