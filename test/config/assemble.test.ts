import { hash } from 'node:crypto'
import t from 'tap'
import { readDocument } from '../../src/config/document.ts'
import { readSettings } from '../../src/config/issues.ts'
import { accountKey, assembleConfig } from '../../src/config/load.ts'

const assemble = (yaml: string, values: Record<string, string> = {}) =>
  assembleConfig({
    settings: readSettings(readDocument(yaml).value).settings,
    values: new Map(Object.entries(values)),
    file: '/f.yaml',
    folder: '/',
    warnings: ['w'],
    watchedFiles: ['/f.yaml', '/s', '/s'],
  })

t.test('accounts are equal exactly when login origin, client id and secret are', async (t) => {
  const key = accountKey('https://login.procore.com', 'id', 's3cret')
  t.equal(key, hash('sha256', '["https://login.procore.com","id","s3cret"]', 'base64url'))
  t.equal(accountKey('https://login.procore.com/', 'id', 's3cret'), key)
  t.not(accountKey('https://login-sandbox.procore.com', 'id', 's3cret'), key)
  t.not(accountKey('https://login.procore.com', 'id"', 's3cret'), key)
  t.not(accountKey('https://l', 'a","b', 'c'), accountKey('https://l', 'a', 'b","c'))
})

t.test('settings become a Config', async (t) => {
  const config = assemble(
    `
environment: lab
environments:
  lab: { apiUrl: "http://127.0.0.1:9001/", loginUrl: "https://login.example" }
  gate: { apiUrl: "https://gate.example", loginUrl: "https://gate.example", fileDomain: Files.example }
serviceAccounts:
  app: { environment: gate, clientId: x, clientSecret: y }
companies:
  globex: { id: 562949953443325, serviceAccount: app, listen: "127.0.0.1:0", access: read-only, default: true }
  acme: { id: "7656", serviceAccount: { clientId: x, clientSecret: y }, rewriteFileUrls: true }
  "*": { serviceAccount: app }
guard: { clientKeys: [k], allowedHosts: [A.B] }
upstream: { connectTimeout: 1s }
rateLimit: { maxWait: 2s }
`,
    {
      'serviceAccounts.app.clientId': 'id',
      'serviceAccounts.app.clientSecret': 's3cret',
      'guard.clientKeys[0]': 'key',
    },
  )
  const [app, inline] = config.accounts
  t.match(app, { name: 'app', clientId: 'id', environment: { name: 'gate', fileDomain: 'files.example' } })
  t.equal(app?.clientSecret.reveal(), 's3cret')
  t.match(inline, {
    name: 'acme',
    environment: { name: 'lab', apiUrl: 'http://127.0.0.1:9001', fileDomain: '127.0.0.1' },
  })
  t.match(config.companies, [
    { name: 'globex', id: '562949953443325', isDefault: true, access: 'read-only', rewriteFileUrls: false },
    { name: 'acme', id: '7656', isDefault: false, access: 'read-write', rewriteFileUrls: true },
  ])
  t.equal(config.companies.length, 2)
  t.equal(config.companies[0]?.account, app, 'a shared account is the same object everywhere')
  t.equal(config.anyCompany?.account, app)
  t.equal(config.companies[1]?.account, inline)
  t.strictSame(config.companies[0]?.listen, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  t.strictSame(config.listen, [{ kind: 'tcp', host: '127.0.0.1', port: 8377 }])
  t.equal(config.guard.clientKeys[0]?.reveal(), 'key')
  t.match(config, {
    file: '/f.yaml',
    warnings: ['w'],
    watchedFiles: ['/f.yaml', '/s'],
    guard: { allowedHosts: ['a.b'] },
    upstream: { connectTimeoutMs: 1000, responseTimeoutMs: 120_000 },
    rateLimit: { maxWaitMs: 2000 },
    shutdownTimeoutMs: 30_000,
  })
  t.notMatch(JSON.stringify(config), /s3cret|"key"(?!:)/)
})

t.test("access is the company's own word, else that of its environment, else read-write", async (t) => {
  const config = assemble(`
environment: sandbox
defaultAccess: { production: read-only, lab: read-only }
environments: { lab: { apiUrl: "http://127.0.0.1:1", loginUrl: "http://127.0.0.1:1" } }
serviceAccounts:
  prod: { environment: production, clientId: x, clientSecret: y }
  top: { clientId: x, clientSecret: y }
companies:
  a: { id: "1", serviceAccount: prod }
  b: { id: "2", serviceAccount: prod, access: read-write }
  c: { id: "3", serviceAccount: top }
  d: { id: "4", serviceAccount: top, access: read-only }
  e: { id: "5", serviceAccount: { environment: lab, clientId: x, clientSecret: y } }
  "*": { serviceAccount: prod }
`)
  const expected = { a: 'read-only', b: 'read-write', c: 'read-write', d: 'read-only', e: 'read-only' }
  t.strictSame(Object.fromEntries(config.companies.map(({ name, access }) => [name, access])), expected)
  t.equal(config.anyCompany?.access, 'read-only')
})

t.test('rules are made ready once, in their order', async (t) => {
  const config = assemble(`
companies:
  acme:
    id: "1"
    serviceAccount: { clientId: x, clientSecret: y }
    rules: [{ deny: [/rest/A, /vapid/**] }, { allow: /**, methods: [writes, GET] }]
  "*": { serviceAccount: { clientId: x, clientSecret: y } }`)
  const [patterns, foldedPatterns] = [
    ['/rest/A', '/vapid/**'],
    ['/rest/a', '/vapid/**'],
  ]
  const methods = ['GET', 'HEAD', 'DELETE', 'PATCH', 'POST', 'PUT']
  t.strictSame(config.companies[0]?.rules, [
    { effect: 'deny', methods: undefined, patterns, foldedPatterns },
    { effect: 'allow', methods, patterns: ['/**'], foldedPatterns: ['/**'] },
  ])
  t.strictSame(config.anyCompany?.rules, [])
})

t.test('a Config is frozen through and through', async (t) => {
  const visit = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null) return
    t.ok(Object.isFrozen(value), path)
    for (const [key, inner] of Object.entries(value)) visit(inner, `${path}.${key}`)
  }
  const account = 'serviceAccount: { clientId: x, clientSecret: y }'
  const company = `companies: { acme: { id: "1", rules: [{ deny: /rest/a }], ${account} } }`
  visit(assemble(`listen: ["unix:/a"]\n${company}`), 'config')
})

t.test('callers, the cache, the audit log and Redis become settings in ms and bytes', async (t) => {
  const config = assemble(
    `
companies: { acme: { id: "1", serviceAccount: { clientId: x, clientSecret: y } } }
callers:
  excel: { key: [a, b], companies: [acme], access: read-only, rules: [{ deny: /vapid/** }], projects: [9], share: 25% }
  shell: { key: c }
audit: { file: logs/audit.jsonl }
cache: { keep: [{ paths: [/rest/v1.0/projects], for: 60s, whenExhausted: 10m }, { paths: [/rest/**], for: 1s }], refusals: 30s, size: 1MiB }
shared: { url: redis }
metrics: { listen: "0.0.0.0:9377" }
`,
    {
      'callers.excel.key[0]': 'k0',
      'callers.excel.key[1]': 'k1',
      'callers.shell.key': 'k2',
      'shared.url': 'redis://h',
    },
  )
  t.match(config.callers, [
    { name: 'excel', companies: ['acme'], access: 'read-only', projects: ['9'], share: 0.25 },
    { name: 'shell', companies: undefined, access: 'read-write', rules: [], projects: undefined },
  ])
  const keys = config.callers.map((caller) => caller.keys.map((key) => key.reveal()))
  t.strictSame(keys, [['k0', 'k1'], ['k2']])
  t.equal(config.callers[1]?.share, undefined)
  t.strictSame(config.callers[0]?.rules[0]?.patterns, ['/vapid/**'])
  t.strictSame(config.audit, { file: '/logs/audit.jsonl', what: 'writes' })
  t.strictSame(config.cache, {
    coalesce: false,
    keep: [
      { patterns: ['/rest/v1.0/projects'], forMs: 60_000, whenExhaustedMs: 600_000 },
      { patterns: ['/rest/**'], forMs: 1000, whenExhaustedMs: 0 },
    ],
    refusalsMs: 30_000,
    sizeBytes: 1_048_576,
  })
  t.match(config.shared, { prefix: 'procore-proxy', timeoutMs: 50, whenDown: 'split' })
  t.equal(config.shared?.url.reveal(), 'redis://h')
  t.strictSame(config.metricsListen, { kind: 'tcp', host: '0.0.0.0', port: 9377 })
})
