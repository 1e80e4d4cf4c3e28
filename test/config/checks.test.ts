import t, { type Test } from 'tap'
import { checkSettings } from '../../src/config/checks.ts'
import { readDocument } from '../../src/config/document.ts'
import { readSettings } from '../../src/config/issues.ts'
import { keyOf } from '../../src/config/problems.ts'
import { namedCompanies, placedAccounts } from '../../src/config/schema.ts'

function check(yaml: string, sources: Record<string, string> = {}) {
  const raw = readDocument(yaml).value
  const { settings, wrong } = readSettings(raw)
  const result = checkSettings({ settings, raw, wrong, sources: new Map(Object.entries(sources)) })
  return {
    settings,
    said: result.findings.map(({ path, message, fix }) => `${keyOf(path)}: ${message}. ${fix}`),
    warnings: result.warnings,
  }
}

/** `match` alone would accept more than is expected. */
function tells(t: Test, yaml: string, expected: RegExp | RegExp[]) {
  const { said } = check(yaml)
  t.equal(said.length, [expected].flat().length, yaml)
  t.match(said, [expected].flat(), yaml)
}

const own = 'serviceAccount: { clientId: x, clientSecret: y }'

t.test('a wrong name is told, whatever its entry is', async (t) => {
  const lab = '{ apiUrl: "https://a.b", loginUrl: "https://a.b" }'
  const cases: Record<string, RegExp> = {
    [`environments: { Lab: ${lab} }`]: /^environments\.Lab: "Lab" is not a name/,
    'serviceAccounts: { "a b": { clientId: x, clientSecret: y } }':
      /^serviceAccounts\."a b": "a b" is not a name\. Use letters, digits, dots/,
    [`companies: { rest: { id: "1", ${own} } }`]: /^companies\.rest: "rest" is a reserved word/,
    [`companies: { _proxy: { id: "1", ${own} } }`]: /^companies\._proxy: "_proxy" is a reserved word/,
    [`companies: { Acme: { id: "1", ${own} } }`]:
      /^companies\.Acme: "Acme" is not a company name\. Use lower-case letters/,
    'companies: { Acme: 1 }': /^companies\.Acme: "Acme" is not a company name/,
    'callers: { "*": { key: { env: KEY } } }': /^callers\."\*": "\*" is not a name/,
    'callers: { _proxy: { key: { env: KEY } } }': /^callers\._proxy: "_proxy" is not a name/,
  }
  for (const [yaml, expected] of Object.entries(cases)) {
    tells(t, yaml, expected)
  }
  const fine = `environments: { rest: ${lab} }\ncompanies: { "*": { ${own} } }\nserviceAccounts: { A.b: { clientId: x, clientSecret: y } }`
  t.strictSame(check(fine).said, [])
})

t.test('accounts are found wherever they are written, shared ones first', async (t) => {
  const { settings } = check(`
companies:
  acme: { id: "1", ${own} }
  "*": { ${own} }
  globex: { id: "2", serviceAccount: app }
serviceAccounts: { app: { clientId: x, clientSecret: y } }`)
  t.strictSame(
    placedAccounts(settings).map(({ path, name }) => `${keyOf(path)} ${name}`),
    ['serviceAccounts.app app', 'companies."*".serviceAccount *', 'companies.acme.serviceAccount acme'],
  )
  t.strictSame(
    namedCompanies(settings).map(([name]) => name),
    ['acme', 'globex'],
  )
})

t.test('what refers to nothing is told with what there is', async (t) => {
  const cases: Record<string, RegExp | RegExp[]> = {
    'environment: prod':
      /^environment: there is no environment "prod"\. Known are production, sandbox, monthly-sandbox, federal; /,
    [`environments: { lab: { apiUrl: "https://a.b", loginUrl: "https://a.b" } }\ncompanies: { a: { id: "1", serviceAccount: { environment: toString, clientId: x, clientSecret: y } } }`]:
      /^companies\.a\.serviceAccount\.environment: there is no environment "toString"\. Known are .*, federal, lab;/,
    'companies: { a: { id: "1", serviceAccount: app } }':
      /^companies\.a\.serviceAccount: there is no service account "app"\. Add it under/,
    'serviceAccounts: { one: { clientId: x, clientSecret: y }, two: {} }\ncompanies: { "*": { serviceAccount: constructor } }':
      /^companies\."\*"\.serviceAccount: there is no service account "constructor"\. Known are one, two;/,
    'serviceAccounts: { broken: {} }\ncompanies: { a: { id: "1", serviceAccount: broken } }': [],
    'environments: { lab: 1 }\nenvironment: lab': [],
  }
  for (const [yaml, expected] of Object.entries(cases)) tells(t, yaml, expected)
})

t.test("Procore's own environments stay, and files come from no whole top-level domain", async (t) => {
  const lab = (name: string, more: string) =>
    `environments: { ${name}: { apiUrl: "http://localhost:1", loginUrl: "http://localhost:1"${more} } }`
  t.match(check(lab('sandbox', '')).said, [/^environments\.sandbox: sandbox is one of .*my-sandbox/])
  t.match(check(lab('lab', ', fileDomain: com')).said, [/^environments\.lab\.fileDomain: "com" is a top/])
  for (const domain of ['localhost', 'example.test', '"[::1]"']) {
    t.strictSame(check(lab('lab', `, fileDomain: ${domain}`)).said, [])
  }
  const address = (scheme: string) =>
    `environments: { lab: { apiUrl: "${scheme}://127.0.0.1:1", loginUrl: "http://localhost:1", fileDomain: localhost } }`
  t.strictSame(check(address('http')).said, [])
  t.match(check(address('https')).said, [/"localhost" is a top-level domain/])
  const single = 'apiUrl: "https://intranet", loginUrl: "https://intranet", fileDomain: intranet'
  t.strictSame(check(`environments: { lab: { ${single} } }`).said, [])
})

t.test('a variable that an account overrules is warned of', async (t) => {
  const yaml = `environment: sandbox
serviceAccounts:
  a: { environment: production, clientId: x, clientSecret: y }
  b: { environment: sandbox, clientId: x, clientSecret: y }
  c: { clientId: x, clientSecret: y }`
  t.strictSame(check(yaml, { environment: 'PROCORE_ENVIRONMENT' }).warnings, [
    'PROCORE_ENVIRONMENT has no effect on serviceAccounts.a, which names the environment production itself.',
  ])
  t.strictSame(check(yaml).warnings, [])
})

t.test('companies do not clash in ids, names of digits or defaults', async (t) => {
  const cases: Record<string, RegExp | RegExp[]> = {
    'a: { id: "1" }, b: { id: "2" }': [],
    'a: { id: "1" }, b: { id: 1 }': /^companies\.b\.id: 1 is the id of a too/,
    '"7": { id: "7" }': [],
    'a7: { id: "1" }, 7b: { id: "2" }': [],
    '"77": { id: "8" }':
      /^companies\.77: the name consists of digits but is not the company's id 8\. .*use 8$/,
    '"7": { id: "8" }, a: { id: "7" }': /^companies\.7: the name is the id of a\./,
    'a: { id: "1", default: true }, b: { id: "2", default: false }': [],
    'a: { id: "1", default: true }, b: { id: "2", default: true }, c: { id: "3", default: true }': [
      /^companies\.b\.default: a is the default company too/,
      /^companies\.c\.default: a is/,
    ],
    'a: { id: x }, b: { id: x }, "7": { id: y }, c: { id: "0" }': [],
  }
  for (const [companies, expected] of Object.entries(cases)) {
    const yaml = `companies: { ${companies.replaceAll('}', `, ${own} }`)} }`
    tells(t, yaml, expected)
  }
})

t.test('no address is listened on twice', async (t) => {
  const company = (name: string, listen: string) =>
    `${name}: { id: "${name.length}", listen: "${listen}", ${own} }`
  const cases: Record<string, RegExp | RegExp[]> = {
    'listen: ["127.0.0.1:1", "127.0.0.1:2"]': [],
    'listen: ["127.0.0.1:1", "127.0.0.1:1"]': /^listen\[1\]: listen\[0\] is 127\.0\.0\.1:1 too/,
    'listen: ["[::1]:1", "[0:0::1]:1"]': /^listen\[1\]: listen\[0\] is \[::1\]:1 too/,
    'listen: ["127.0.0.1:0", "127.0.0.1:0"]': [],
    'listen: ["unix:/a", { path: /a, mode: "660" }]': /^listen\[1\]: listen\[0\] is unix:\/a too/,
    [`companies: { ${company('a', '127.0.0.1:8377')} }`]:
      /^companies\.a\.listen: listen is 127\.0\.0\.1:8377 too/,
    [`companies: { ${company('a', 'localhost:1')}, ${company('bb', 'LOCALHOST:1')} }`]:
      /^companies\.bb\.listen: companies\.a\.listen is localhost:1 too/,
  }
  for (const [yaml, expected] of Object.entries(cases)) tells(t, yaml, expected)
})

t.test('an address that other machines reach needs a key, or an explicit word', async (t) => {
  for (const host of ['0.0.0.0', '[::]', '10.0.0.1', 'proxy.example', '[2001:db8::1]']) {
    const listen = `listen: "${host}:1"`
    const { said } = check(listen)
    t.equal(said.length, 1, host)
    t.match(
      said[0],
      /^listen: .* is open to other machines, .*\. Listen on 127\.0\.0\.1, .*guard\.clientKeys.*allowUnauthenticated: true/,
    )
    t.strictSame(check(`${listen}\nguard: { clientKeys: [{ env: KEY }] }`).said, [])
    const open = check(`${listen}\nguard: { allowUnauthenticated: true }`)
    t.strictSame(open.said, [])
    t.match(open.warnings, [
      /^guard\.allowUnauthenticated is on: anyone who can connect to .*:1 can use your service accounts\.$/,
    ])
    const company = check(`companies: { a: { id: "1", listen: "${host}:1", ${own} } }`)
    t.match(company.said, [/^companies\.a\.listen: .* is open to other machines/])
  }
  for (const listen of ['127.0.0.1:1', 'localhost:1', '[::1]:1', 'unix:/a']) {
    const { said, warnings } = check(`listen: "${listen}"\nguard: { allowUnauthenticated: true }`)
    t.strictSame([...said, ...warnings], [])
  }
  for (const wrong of [
    'guard: 1',
    'guard: { allowUnauthenticated: yes }',
    'guard: { clientKeys: 1 }',
    'guard: { clientKeys: [1] }',
    'callers: 1',
    'callers: { one: 1 }',
  ])
    t.strictSame(check(`listen: "0.0.0.0:1"\n${wrong}`).said, [], `${wrong} may be meant to allow it`)
  for (const wrong of [
    '{ zz: 1 }',
    '{ allowedHosts: [1] }',
    '{ requireHeader: yes }',
    '{ allowedOrigins: 1 }',
  ])
    t.match(check(`listen: "0.0.0.0:1"\nguard: ${wrong}`).said, [/^listen: .* is open to other machines/])
})

const keyed = 'key: { env: KEY }'

t.test('keys of callers open an address to other machines, and metrics need none', async (t) => {
  t.strictSame(check(`listen: "0.0.0.0:1"\ncallers: { one: { ${keyed} } }`).said, [])
  t.strictSame(check('metrics: { listen: "0.0.0.0:1" }').said, [])
  t.strictSame(check('listen: "0.0.0.0:1"\ncallers: { one: {} }').said, [], 'the callers alone are at fault')
})

t.test('a name that web pages can use needs keys, the header, or explicit permission', async (t) => {
  const open: Record<string, RegExp> = {
    'guard: { allowedHosts: [localhost, proxy.test] }':
      /^guard\.allowedHosts\[1\]: any web page .*proxy\.test/,
    'publicUrl: http://proxy.test/x': /^publicUrl: any web page .* proxy\.test\. Set guard\.requireHeader/,
    [`companies: { a: { id: "1", listen: "127.0.0.1:1", publicUrl: "http://a.test", ${own} } }`]:
      /^companies\.a\.publicUrl: any web page/,
  }
  for (const [yaml, expected] of Object.entries(open)) {
    tells(t, yaml, expected)
    t.strictSame(check(`${yaml}\ncallers: { one: { ${keyed} } }`).said, [])
    if (yaml.startsWith('guard')) continue
    for (const guard of ['requireHeader: true', 'allowUnauthenticated: true', 'clientKeys: [{ env: K }]'])
      t.strictSame(check(`${yaml}\nguard: { ${guard} }`).said, [], guard)
  }
  t.strictSame(check('publicUrl: http://proxy.test\nguard: { requireHeader: yes }').said, [])
  t.match(check('publicUrl: http://proxy.test\nguard: { zz: 1 }').said, [/^publicUrl: any web page/])
  for (const url of ['https://proxy.test', 'http://localhost:1', 'http://127.0.0.1'])
    t.strictSame(check(`publicUrl: ${url}`).said, [], url)
})

t.test('an API or login server that is the proxy itself is a mistake', async (t) => {
  const lab = (apiUrl: string, more = '') =>
    check(`environments: { lab: { apiUrl: "${apiUrl}", loginUrl: "https://l.test" } }\n${more}`).said
  t.match(lab('http://localhost:8377'), [
    /^environments\.lab\.apiUrl: .* leads back to this proxy \(listen\)/,
  ])
  t.match(lab('http://127.0.0.1:9', 'metrics: { listen: "127.0.0.1:9" }'), [/\(metrics\.listen\)/])
  t.match(lab('https://proxy.test', 'publicUrl: https://proxy.test/path'), [/\(publicUrl\)/])
  t.strictSame(lab('http://localhost:9001'), [])
  const login = 'environments: { lab: { apiUrl: "https://a.test", loginUrl: "http://127.0.0.1:8377" } }'
  t.match(check(login).said, [/^environments\.lab\.loginUrl: /])
})

t.test('callers name companies that exist', async (t) => {
  const callers = (companies: string, more = '') =>
    check(
      `companies: { acme: { id: "7", ${own} }${more} }\ncallers: { one: { ${keyed}, companies: [${companies}] } }`,
    ).said
  const any = `, "*": { ${own} }`
  t.strictSame(callers('acme'), [])
  t.strictSame(callers('acme, 562949953443325, "8"', any), [], 'ids of others where "*" is configured')
  t.match(callers('acne'), [
    /^callers\.one\.companies\[0\]: there is no company "acne"\. Did you mean acme\? Known/,
  ])
  t.match(callers('8'), [/there is no company "8"/])
  t.match(callers('7', any), [/7 is the id of acme\. Write its name: acme/])
  for (const name of ['8a', 'a8', '9'.repeat(21)])
    t.match(callers(`"${name}"`, any), [/^callers\.one\.companies\[0\]: there is no company/], name)
  t.match(callers('"*"', any), [/there is no company "\*"/])
})

t.test('rules of callers make sense', async (t) => {
  const rules = (more: string) =>
    check(`callers: { one: { ${keyed}, rules: [{ allow: /rest/v1.0/me }], ${more} } }`).said
  t.match(rules('access: read-write'), [/^callers\.one\.rules: deny nothing/])
  t.strictSame(rules('access: read-only'), [])
  t.strictSame(rules('projects: ["1"]'), [], 'they allow calls that name no project')
})

t.test('a wrong value hides nothing about what is next to it', async (t) => {
  const lab = (urls: string) => `environments: { lab: { ${urls} } }`
  const cases: Record<string, RegExp> = {
    [`companies: { a: { id: "1", serviceAccount: 7 }, b: { id: "1", ${own} } }`]:
      /^companies\.b\.id: 1 is the id/,
    [`callers: { one: { ${keyed}, companies: [{}, nope] } }`]: /^callers\.one\.companies\[1\]: there is no/,
    [lab('apiUrl: 1, loginUrl: "http://127.0.0.1:8377"')]: /^environments\.lab\.loginUrl: .* leads back/,
    [lab('apiUrl: "http://127.0.0.1:8377", loginUrl: 1')]: /^environments\.lab\.apiUrl: .* leads back/,
    'guard: { allowedHosts: [1, proxy.test] }': /^guard\.allowedHosts\[1\]: any web page/,
  }
  for (const [yaml, expected] of Object.entries(cases)) tells(t, yaml, expected)
})

t.test('a wrong rule, access or default hides nothing about the other rules', async (t) => {
  const cases: Record<string, RegExp | RegExp[]> = {
    'rules: [{ deny: /rest/** }, { allow: 1 }, { allow: /rest/a }]':
      /^companies\.a\.rules\[2\]: never decides anything, because rules\[0\]/,
    'rules: [{ deny: /rest/** }, 1, { allow: /rest/a }]': /^companies\.a\.rules\[2\]: never decides anything/,
    'rules: [{ allow: /rest/a }], rulez: 1': /^companies\.a\.rules: deny nothing/,
    'rules: [{ allow: /rest/a }, { allow: 1 }]': /^companies\.a\.rules: deny nothing/,
    'rules: [{ allow: /rest/a }, { deny: 1 }]': [],
    'rules: [{ allow: /rest/a }, { allow: /rest/b, deny: /rest/c }]': [],
    'rules: [{ deny: /rest/** }, { deny: 1 }]': [],
    'rules: [{ allow: /rest/a }], access: readonly': [],
    'rules: { allow: /rest/a }': [],
  }
  const company = (more: string) => `companies: { a: { id: "1", ${own}, ${more} } }`
  for (const [rules, expected] of Object.entries(cases)) tells(t, company(rules), expected)
  const allow = company('rules: [{ allow: /rest/a }]')
  const any = `companies: { "*": { ${own}, rules: [{ allow: /rest/a }] } }`
  t.match(check(any).said, [/^companies\."\*"\.rules: deny nothing/])
  t.strictSame(check(company('rules: [{ allow: /rest/a }], access: read-only')).said, [])
  t.strictSame(check(`${allow}\ndefaultAccess: { production: read-only }`).said, [])
  t.match(check(`${allow}\ndefaultAccess: { sandbox: read-only }`).said, [
    /^companies\.a\.rules: deny nothing/,
  ])
  t.match(check('defaultAccess: { prod: read-only }').said, [/^defaultAccess\.prod: /])
  const lab = 'environments: { lab: { apiUrl: "https://a.b", loginUrl: "https://a.b" } }'
  t.strictSame(check(`${lab}\ndefaultAccess: { lab: read-only }`).said, [])
  const shared = (
    environment: string,
  ) => `serviceAccounts: { app: { environment: ${environment}, clientId: x, clientSecret: y } }
defaultAccess: { production: read-only }
companies: { a: { id: "1", serviceAccount: app, rules: [{ allow: /rest/a }] } }`
  t.strictSame(check(shared('production')).said, [])
  t.match(check(shared('sandbox')).said, [/^companies\.a\.rules: deny nothing/])
  tells(t, allow.replace(own, 'serviceAccount: other'), /^companies\.a\.serviceAccount: there is no service/)
  t.match(check(`${allow}\ndefaultAccess: { sandbox: no }`).said, [/^companies\.a\.rules: deny nothing/])
  for (const wrong of ['{ production: no }', 'no'])
    t.strictSame(check(`${allow}\ndefaultAccess: ${wrong}`).said, [], wrong)
})

t.test('what is kept while the rate limit is used up is kept longer, not shorter', async (t) => {
  const keep = (times: string) => check(`cache: { keep: [{ paths: [/rest/v1.0/projects], ${times} }] }`).said
  t.strictSame(keep('for: 1m'), [])
  t.strictSame(keep('for: 1m, whenExhausted: 10m'), [])
  t.match(keep('for: 1m, whenExhausted: 10s'), [/^cache\.keep\[0\]\.whenExhausted: is shorter/])
})
