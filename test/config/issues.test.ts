import t from 'tap'
import { readDocument } from '../../src/config/document.ts'
import { isRawMap, readSettings } from '../../src/config/issues.ts'
import { keyOf } from '../../src/config/problems.ts'

const read = (yaml: string) => readSettings(readDocument(yaml).value)
const said = (yaml: string) =>
  read(yaml).findings.map(({ path, message, fix }) => `${keyOf(path)}: ${message}. ${fix}`)

const account = 'serviceAccount: { clientId: x, clientSecret: y }'

/** Mistakes in a part of a file (`…`), whose keys are below `prefix`. */
const within = (file: string, prefix: string, cases: Record<string, RegExp>) =>
  Object.fromEntries(
    Object.entries(cases).map(([part, expected]) => [
      file.replace('…', () => part),
      new RegExp(expected.source.replace('^', `^${prefix.replaceAll('.', '\\.')}`)),
    ]),
  )
const acme = `companies: { acme: { id: "1", ${account}, … } }`

t.test('each mistake names its key and its fix', async (t) => {
  const cases: Record<string, RegExp> = {
    'lissten: 1': /^lissten: is not a known key\. Did you mean listen\?$/,
    'rate_limit: {}': /^rate_limit: is not a known key\. Did you mean rateLimit\?$/,
    'log: { Level: info }': /^log\.Level: is not a known key\. Did you mean level\?$/,
    'log: nope': /^log: must be a map of keys and values/,
    'log: { level: loud }': /^log\.level: "loud" is not one of fatal, error, .*\. Write fatal or /,
    'log: { format: 1 }': /^log\.format: 1 is not one of auto, json, readable/,
    'version: 2': /^version: is not a known key\. The keys here are listen, publicUrl, /,
    'listen: 8377': /^listen: 8377 is a port without a host\. Write host:port/,
    'listen: true': /^listen: is neither a listen address nor a list of them/,
    'listen: []': /^listen: is an empty list/,
    'listen: [8377]': /^listen\[0\]: 8377 is a port without a host/,
    'listen: ["127.0.0.1:1", localhost]': /^listen\[1\]: "localhost" has no port/,
    'listen: { path: a }': /^listen\.path: "a" is not an absolute path/,
    'listen: { mode: 600 }': /^listen\.path: is missing/,
    'listen: { path: /a, mode: 999 }': /^listen\.mode: "999" is not a file mode/,
    'listen: { path: /a, mod: 600 }': /^listen\.mod: is not a known key\. Did you mean mode\?/,
    'environment: 1': /^environment: must be the name of an environment/,
    'environments: { lab: { apiUrl: "https://a.b" } }':
      /^environments\.lab\.loginUrl: is missing\. Write a scheme/,
    ...within('environments: { lab: { apiUrl: "https://a.b", … } }', 'environments.lab.', {
      'loginUrl: "http://a.b"': /^loginUrl: .*unencrypted/,
      'loginUrl: "https://a.b", fileDomain: "*.a.b"': /^fileDomain: .*wildcard/,
    }),
    'serviceAccounts: { app: { clientSecret: y } }':
      /^serviceAccounts\.app\.clientId: is missing\. Write \{env: NAME\}/,
    ...within('serviceAccounts: { app: { clientId: x, clientSecret: … } }', 'serviceAccounts.app.', {
      '12': /^clientSecret: is neither text nor one of/,
      '""': /^clientSecret: is empty\. Write the value itself/,
      '{ env: A, file: b }': /^clientSecret: is neither text nor/,
      '{ env: $A }': /^clientSecret\.env: "\$A" is not the name of a variable/,
      '{ env: A-B }': /^clientSecret\.env: "A-B" is not the name of a variable/,
      '{ env: A, timeout: 1s }': /^clientSecret\.timeout: is not a known key\. The only key here is env$/,
      '{ file: b, timeot: 1s }': /^clientSecret\.timeot: is not a known key\. The only key here is file$/,
      '{ command: [a], timeot: 1s }': /^clientSecret\.timeot: is not a known key\. Did you mean timeout\?$/,
      '{ command: [a], env: A, timeout: 1s }':
        /^clientSecret\.env: is not a known key\. The keys here are command, timeout$/,
      '{ command: [] }': /^clientSecret\.command: is an empty list/,
      '{ command: [a, 1] }': /^clientSecret\.command\[1\]: must be text/,
      '{ command: [a], timeout: 10 }': /^clientSecret\.timeout: 10 is not a duration/,
    }),
    'serviceAccounts: { clientSecret: { clientId: 1, clientSecret: y } }':
      /^serviceAccounts\.clientSecret\.clientId: is neither/,
    'serviceAccounts: []': /^serviceAccounts: must be a map/,
    [`companies: { acme: { ${account} } }`]: /^companies\.acme\.id: is missing/,
    'companies: { acme: { id: "1" } }': /^companies\.acme\.serviceAccount: is missing/,
    'companies: { acme: { id: "1", serviceAccount: 1 } }':
      /^companies\.acme\.serviceAccount: must be the name of a service account/,
    'companies: { acme: { id: "1", serviceAccount: { clientSecret: y } } }':
      /^companies\.acme\.serviceAccount\.clientId: is missing/,
    'companies: { acme: null }': /^companies\.acme: must be a map/,
    ...within(acme, 'companies.acme.', {
      'access: none': /^access: "none" is not one of read-write, read-only/,
      'listen: 1': /^listen: 1 is a port without a host/,
      'default: yes': /^default: "yes" is not true or false/,
    }),
    'defaultAccess: { production: none }':
      /^defaultAccess\.production: "none" is not one of read-write, read-only/,
    'defaultAccess: read-only': /^defaultAccess: must be a map/,
    ...within(acme.replace('…', 'rules: …'), 'companies.acme.', {
      '{}': /^rules: must be a list/,
      '[]': /^rules: is an empty list\. Write a list, such as \[\{deny/,
      '[1]': /^rules\[0\]: must have either allow or deny\. Write \{deny: /,
      '[{}]': /^rules\[0\]: must have either allow or deny/,
      '[{ methods: [GET] }]': /^rules\[0\]: must have either allow or deny/,
      '[{ allow: /rest/a, deny: /rest/b }]': /^rules\[0\]: must have either allow or deny/,
      '[{ deny: /rest/a, method: [GET] }]': /^rules\[0\]\.method: is not a known key/,
      '[{ deny: 1 }]': /^rules\[0\]\.deny: must be a path pattern or a list of them/,
      '[{ deny: [] }]': /^rules\[0\]\.deny: is an empty list\. Write a path pattern, such/,
      '[{ deny: [/rest/a, 1] }]': /^rules\[0\]\.deny\[1\]: must be a path pattern/,
      '[{ deny: [/rest/a, /a] }]': /^rules\[0\]\.deny\[1\]: "\/a" can't match any path that is forwarded/,
      '[{ deny: /rest/a }, { allow: /rest/a/ }]': /^rules\[1\]\.allow: "\/rest\/a\/" ends with a slash/,
      '[{ deny: /rest/a, methods: [] }]': /^rules\[0\]\.methods: is an empty list/,
      '[{ deny: /rest/a, methods: GET }]': /^rules\[0\]\.methods: must be a list\. Write a list of GET, /,
      '[{ deny: /rest/a, methods: [GET, get] }]':
        /^rules\[0\]\.methods\[1\]: "get" is not a method that is forwarded/,
    }),
    [`companies: { "*": { id: "1", ${account} } }`]: /^companies\."\*"\.id: is not a known key/,
    [`companies: { "*": { default: true, ${account} } }`]: /^companies\."\*"\.default: is not a known key/,
    [`companies: { "*": { listen: "127.0.0.1:1", ${account} } }`]:
      /^companies\."\*"\.listen: is not a known key/,
    'companies: { "*": {} }': /^companies\."\*"\.serviceAccount: is missing/,
    'companies: []': /^companies: must be a map/,
    'upstream: { connectTimeout: 0s }': /^upstream\.connectTimeout: "0s" is out of range/,
    'upstream: { connections: 0 }': /^upstream\.connections: 0 is not a whole number from 1 to 10000/,
    'upstream: { maxQueued: -1 }': /^upstream\.maxQueued: -1 is not a whole number/,
    'upstream: { retries: "2" }': /^upstream\.retries: "2" is not a whole number.*without quotes/,
    'upstream: { retries: 0x2 }': /^upstream\.retries: 0x2 is not a whole number/,
    'rateLimit: { whenExhausted: drop }':
      /^rateLimit\.whenExhausted: "drop" is not one of wait, reject, pass/,
    'rateLimit: { maxWait: 60 }': /^rateLimit\.maxWait: 60 is not a duration/,
    'guard: { allowedHosts: proxy.example }': /^guard\.allowedHosts: must be a list/,
    'guard: { allowedHosts: [a.b, "a.b:1"] }':
      /^guard\.allowedHosts\[1\]: "a\.b:1" is not a host name.*Write a\.b$/,
    'guard: { allowedHosts: [1] }': /^guard\.allowedHosts\[0\]: must be a host name/,
    'guard: { allowedOrigins: ["*"] }': /^guard\.allowedOrigins\[0\]: "\*" would let any web page in/,
    'guard: { clientKeys: [1] }': /^guard\.clientKeys\[0\]: is neither text nor one of/,
    'guard: { clientKeys: [{ env: 1 }] }': /^guard\.clientKeys\[0\]\.env: 1 is not the name of a variable/,
    'shutdownTimeout: soon': /^shutdownTimeout: "soon" is not a duration/,
    'companies: { allow: 5 }': /^companies\.allow: must be a map/,
    'callers: { rules: 5 }': /^callers\.rules: must be a map/,
    'cache: { keep: { paths: 5 } }': /^cache\.keep: must be a list/,
    ...within(acme, 'companies.acme.', {
      'rules: [{ allow: nope }]': /^rules\[0\]\.allow: /,
      'listen: { mode: 600 }': /^listen\.path: is missing/,
    }),
    ...within('serviceAccounts: { app: { clientId: x, clientSecret: … } }', 'serviceAccounts.app.', {
      '{ command: [1], timeout: 1s }': /^clientSecret\.command\[0\]: must be text/,
    }),
    '- a': /^: the file is not a map of keys and values/,
  }
  for (const [yaml, expected] of Object.entries(cases)) {
    const lines = said(yaml)
    t.equal(lines.length, 1, yaml)
    t.match(lines[0], expected, yaml)
  }
})

t.test('a mistake hides no other: what stands beside it is still judged', async (t) => {
  const { findings, settings } = read(`
listen: [8377, "0.0.0.0:1"]
serviceAccounts:
  app: { clientId: 1, clientSecret: { command: [1, 2] }, foo: 1 }
companies:
  rest: { id: 0x1, serviceAccount: 7, access: none, foo: 1, rules: [1, { deny: /a }, { deny: /rest/b, methods: [x] }] }
guard: { clientKeys: [1, { env: A }], allowedHosts: [1, b] }
callers: { x: { key: [short, { env: A }, 5, { env: 1 }] } }
cache: { keep: [{ paths: [nope], for: 60s, whenExhausted: 1s, foo: 1 }, { for: 60s, whenExhausted: 2s }, { paths: 1, for: 1 }] }
`)
  t.strictSame(findings.map(({ path }) => keyOf(path)).sort(), [
    'cache.keep[0].foo',
    'cache.keep[0].paths[0]',
    'cache.keep[1].paths',
    'cache.keep[2].for',
    'cache.keep[2].paths',
    'callers.x.key[2]',
    'callers.x.key[3].env',
    'companies.rest.access',
    'companies.rest.foo',
    'companies.rest.id',
    'companies.rest.rules[0]',
    'companies.rest.rules[1].deny',
    'companies.rest.rules[2].methods[0]',
    'companies.rest.serviceAccount',
    'guard.allowedHosts[0]',
    'guard.clientKeys[0]',
    'listen[0]',
    'serviceAccounts.app.clientId',
    'serviceAccounts.app.clientSecret.command[0]',
    'serviceAccounts.app.clientSecret.command[1]',
    'serviceAccounts.app.foo',
  ])
  t.match(settings.listen, [{}, { host: '0.0.0.0', port: 1 }])
  t.strictSame(settings.guard.clientKeys[1], { env: 'A' })
  t.strictSame(settings.callers['x']?.key, ['short', { env: 'A' }, 'placeholder', 'placeholder'])
  t.match(settings.cache.keep, [{ whenExhausted: 1000 }, { whenExhausted: 2000 }, { for: 1000 }])
})

t.test('a mistake that shows only without another one is told too', async (t) => {
  const yaml = `companies: { acme: { id: [], ${account}, publicUrl: "https://a.b" } }`
  t.match(said(yaml), [/^companies\.acme\.id: a list is not/, /^companies\.acme\.publicUrl: is for requests/])
})

t.test('what replaces a wrong value is no mistake of the file', async (t) => {
  t.strictSame(
    read('cache: { keep: [{ foo: 1, bar: 2 }] }').findings.map(({ path }) => keyOf(path)),
    ['cache.keep[0].paths', 'cache.keep[0].for', 'cache.keep[0].foo', 'cache.keep[0].bar'],
  )
  // The same one is used again by the next reading.
  const yaml = `companies: { acme: { id: "1", ${account}, rules: [5] } }`
  const before = said(yaml)
  said('companies: { allow: 5, rules: 5, keep: 5 }')
  said('callers: { allow: 5, rules: 5, keep: 5 }')
  t.strictSame(said(yaml), before)
})

t.test('raw values stay as they are', async (t) => {
  const raw = readDocument('listen: [8377]\nfoo: 1').value
  const before = JSON.stringify(raw)
  readSettings(raw)
  t.equal(JSON.stringify(raw), before)
})

t.test('even absurdly many mistakes come to an end', async (t) => {
  const deep = `companies: { ${Array.from({ length: 300 }, (_, i) => `A${i}: 1`).join(', ')} }`
  t.equal(said(deep).length, 300)
})

t.test('only maps of a document are raw maps', async (t) => {
  t.equal(isRawMap(Object.create(null)), true)
  for (const value of [{}, [], null, 'a', undefined]) t.equal(isRawMap(value), false)
})
