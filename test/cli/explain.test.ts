// `explain`: what it prints and its exit status, that it needs neither secret nor network, and that it says what the running proxy does.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import t, { type Test } from 'tap'
import type { Options } from '../../src/cli/commands.ts'
import { explain, explainRequest, imagineRequest, reportExplanation } from '../../src/cli/explain.ts'
import { resolveRule } from '../../src/config/access-rules.ts'
import type { Config, ListenAddress } from '../../src/config/config.ts'
import { loadConfig } from '../../src/server.ts'
import { runToEnd } from '../fixtures/cli.ts'
import { testAccount, testConfig } from '../fixtures/config.ts'
import { startRig } from '../fixtures/proxy.ts'

t.jobs = 2

const account = { clientId: { env: 'NOT_SET' }, clientSecret: { file: '/nowhere/at/all' } }
const SETTINGS = {
  defaultAccess: { production: 'read-only' },
  serviceAccounts: { app: account, box: { environment: 'sandbox', ...account } },
  companies: {
    acme: {
      id: '7656',
      serviceAccount: 'app',
      rules: [
        { deny: ['/rest/*/users', '/rest/*/users/**'] },
        { allow: '/rest/v1.0/projects/*/logs', methods: ['POST'] },
      ],
    },
    globex: { id: '99', serviceAccount: 'box', listen: '127.0.0.1:8401' },
  },
}

/** Explains in this process, which is quick; gives back what the command would print and its exit status. */
function explainer(t: Test, settings: object = SETTINGS) {
  const folder = t.testdir()
  const file = join(folder, 'procore-proxy.yaml')
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 })
  const flags = { config: file }
  return async (...args: string[]) => {
    const [method = '', url = '', ...rest] = args
    const { values } = parseArgs({ args: rest, options: OPTIONS })
    const config = await loadConfig({ flags, env: {}, cwd: folder, resolveSecrets: false })
    const request = imagineRequest(config, { method, url, headerLines: values.header ?? [] })
    const explanation = await explainRequest(config, request, values.caller)
    const out = values.json ? JSON.stringify(explanation) : reportExplanation(explanation)
    return { code: explanation.verdict === 'refused' ? 1 : 0, out }
  }
}

const OPTIONS = {
  header: { type: 'string', short: 'H', multiple: true },
  caller: { type: 'string' },
  json: { type: 'boolean' },
} as const

t.test('a request that passes: company, upstream, access and headers', async (t) => {
  const explain = explainer(t)
  const ended = await explain(
    ...['get', '/acme/rest/v1.0/me?x=%2e%2E//y', '-H', 'Cookie: c00kie', '-H', 'Authorization: Basic s3cret'],
    ...['--header', 'Connection: X-Hop', '-H', 'X-Hop: 1', '-H', 'Via: 1.0 tool', '-H', 'Accept: a/b'],
  )
  t.strictSame(ended, {
    code: 0,
    out: `forwarded to Procore
company   acme (id 7656, production), by path prefix /acme
access    allowed: No rule matches, and the company is read-only: GET is a reading method.
upstream  https://api.procore.com/rest/v1.0/me?x=%2e%2E//y
added     Host: api.procore.com
          Accept-Encoding: gzip
          Procore-Company-Id: 7656
          Via: 1.0 tool, 1.1 procore-proxy
          Authorization: Bearer …
removed   Cookie
          Authorization
          Connection
          X-Hop
`,
  })
})

t.test('a company by its own address, as JSON', async (t) => {
  const explain = explainer(t)
  const { code, out } = await explain('POST', 'http://127.0.0.1:8401/rest/v1.0/projects#x', '--json')
  t.equal(code, 0)
  t.strictSame(JSON.parse(out), {
    verdict: 'forwarded',
    company: { name: 'globex', id: '99', environment: 'sandbox', why: 'listen address' },
    access: { allowed: true, why: 'The company is read-write.' },
    upstream: 'https://sandbox.procore.com/rest/v1.0/projects',
    headers: {
      added: [
        { name: 'Host', value: 'sandbox.procore.com' },
        { name: 'Accept-Encoding', value: 'gzip' },
        { name: 'Procore-Company-Id', value: '99' },
        { name: 'Via', value: '1.1 procore-proxy' },
        { name: 'Authorization', value: 'Bearer …' },
      ],
      removed: [],
    },
    notes: [],
  })
})

t.test('what access refuses still shows where it would have gone', async (t) => {
  const explain = explainer(t)
  const cases: [args: string[], why: string][] = [
    [['GET', '/acme/rest/v1.0/users/7'], 'Rule 1 (deny /rest/*/users/**) refuses it.'],
    [
      ['GET', '/acme/rest/v1.0//%75sers.json'],
      'Rule 1 (deny /rest/*/users) refuses it, the path read as "/rest/v1.0/users".',
    ],
    [
      ['POST', '/acme/rest/v1.0/projects'],
      'No rule matches, and the company is read-only: POST is a writing method.',
    ],
    [
      ['POST', '/acme/rest/v1.0/projects/5/logs', '-H', 'X-HTTP-Method-Override: DELETE'],
      'No rule matches, and the company is read-only: DELETE is a writing method, taken for DELETE (a header may ask for that).',
    ],
  ]
  for (const [args, why] of cases) {
    const { code, out } = await explain(...args)
    t.equal(code, 1, args.join(' '))
    const advice = 'do        To let it through, change `access` or `rules` in /'
    t.ok(out.startsWith(`refused   403 access_denied: ${why}\n${advice}`), out)
    t.ok(out.includes('\ncompany   acme (id 7656, production), by path prefix /acme\n'), out)
    t.ok(out.includes(`\naccess    denied: ${why}\nupstream  https://api.procore.com/rest/`), out)
  }
  const allowed = await explain('POST', '/acme/rest/v1.0/projects/5/logs')
  t.match(allowed, { code: 0, out: /allowed: Rule 2 \(allow POST / })
})

t.test('each other kind of refusal, as the proxy itself would word it', async (t) => {
  const explain = explainer(t, {
    ...SETTINGS,
    guard: { requireHeader: true, allowedOrigins: ['https://a.example'] },
  })
  const ok = ['-H', 'Procore-Proxy-Request: true']
  const cases: [args: string[], refusal: string][] = [
    [['GET', 'http://evil.example:8377/rest/v1', ...ok], '403 host_not_allowed: The Host "evil.example"'],
    [['GET', '/acme/rest/v1', '-H', 'Host: evil.example', ...ok], '403 host_not_allowed: '],
    [['GET', '/acme/rest/v1', '-H', 'Origin: https://b.example', ...ok], '403 origin_not_allowed: '],
    [['GET', '/acme/rest/v1'], '412 header_required: '],
    [['GET', '/acme/rest/v1/../x', ...ok], '400 request_invalid: The path contains a dot segment.'],
    [['GET', '/rest/v1', ...ok], '400 company_required: '],
    [['GET', '/unknown/rest/v1', ...ok], '404 company_unknown: The path prefix names "unknown"'],
    [['GET', 'http://acme.localhost:8401/rest/v1', ...ok], '409 company_conflict: '],
    [['GET', '/rest/v1.0/companies/99/x', '-H', 'Procore-Company-Id: 7656', ...ok], '409 company_conflict: '],
    [['GET', '/other', ...ok], '404 route_unknown: '],
    [['TRACE', '/globex/rest/v1', ...ok], '405 method_not_allowed: TRACE requests are never forwarded.'],
    [
      ['PROPFIND', '/globex/rest/v1', ...ok],
      '405 method_not_allowed: PROPFIND requests are never forwarded.',
    ],
  ]
  for (const [args, refusal] of cases) {
    const { code, out } = await explain(...args)
    t.equal(code, 1, args.join(' '))
    t.ok(out.startsWith(`refused   ${refusal}`), out)
    t.match(out, /\ndo {8}\S/, 'it says what to do')
    t.notMatch(out, /upstream/)
  }
  const { code, out } = await explain('GET', '/unknown/rest/v1', '--json', ...ok)
  t.equal(code, 1)
  t.match(JSON.parse(out), {
    verdict: 'refused',
    refusal: { code: 'company_unknown', status: 404, detail: /unknown/, help: /companies/ },
    notes: [],
  })
  const preflight = ['-H', 'Origin: https://a.example', '-H', 'Access-Control-Request-Method: GET']
  const answered = await explain('OPTIONS', '/acme/rest/v1', ...preflight)
  t.match(answered, { code: 0, out: 'answered  by the proxy: CORS preflight\n' })
})

t.test("pages of the proxy's own, where there is one, and 404 where there is none", async (t) => {
  const isPage = async (settings: object, method: string, url: string) => {
    const { code, out } = await explainer(t, { ...SETTINGS, ...settings })(method, url)
    return code === 0 ? out : /^refused {3}(\d+ \w+): /.exec(out)?.[1]
  }
  const pages: [method: string, url: string][] = [
    ...['/_proxy/health/live', '/_proxy/status?x', '/acme/_proxy/metrics', '/_proxy/errors', '/']
      .concat(['/_proxy', '/_proxy/', '/_proxy/page.css', '/_proxy/requests/x/1', '/_proxy/events'])
      .map((url): [string, string] => ['GET', url]),
    ['HEAD', '/_proxy/status'],
    ['POST', '/oauth/token'],
    ['GET', '/oauth/token/info'],
    ['POST', '/acme/oauth/revoke'],
  ]
  for (const [method, url] of pages)
    t.equal(await isPage({}, method, url), 'answered  by the proxy itself\n', `${method} ${url}`)
  const none: [method: string, url: string, settings?: object][] = [
    ['GET', '/_proxy/nosuch'],
    ['GET', '/_proxy/%41'],
    ['POST', '/_proxy/status'],
    ['DELETE', '/_proxy/'],
    ['GET', '/oauth/token'],
    ['GET', '/', { inspector: { enabled: false } }],
    ['GET', '/_proxy/', { inspector: { enabled: false } }],
    ['GET', '/acme/_proxy/csv/rest/v1.0/projects', { lists: { enabled: false } }],
    ['POST', '/acme/_proxy/csv/rest/v1.0/projects', { lists: { enabled: false } }],
  ]
  for (const [method, url, settings = {}] of none)
    t.equal(await isPage(settings, method, url), '404 route_unknown', `${method} ${url}`)
  t.equal(await isPage({}, 'POST', '/acme/_proxy/csv/rest/v1.0/projects'), '405 method_not_allowed')
})

t.test('keys are not read, so none is judged, but a note says that one is needed', async (t) => {
  const explain = explainer(t, { ...SETTINGS, guard: { clientKeys: [{ env: 'NOT_SET' }] } })
  t.match(await explain('GET', '/acme/rest/v1.0/me'), {
    code: 0,
    out: /\nnote {6}the proxy asks for a key, in Procore-Proxy-Key for example; the key was not judged here\n$/,
  })
})

t.test('from outside: exit status, JSON, and mistakes', async (t) => {
  const folder = t.testdir({ empty: {} })
  const write = (settings: object) =>
    writeFileSync(join(folder, 'procore-proxy.yaml'), JSON.stringify(settings), { mode: 0o600 })
  write(SETTINGS)
  const run = (...args: string[]) => runToEnd(t, ['explain', ...args], { cwd: folder })
  t.match(await run('GET', '/acme/rest/v1.0/me'), { code: 0, err: '', out: /^forwarded to Procore\n/ })
  const refused = await run('GET', '/other', '--json')
  t.match({ code: refused.code, json: JSON.parse(refused.out) }, { code: 1, json: { verdict: 'refused' } })
  t.match(await run('FETCH', '/rest'), { code: 2, err: 'procore-proxy: FETCH is not an HTTP method\n' })
  const config = join(folder, 'procore-proxy.yaml')
  const refuses = (url: string, more: Options, message: RegExp) =>
    t.rejects(explain('GET', url, { config, ...more }), { status: 2, message })
  await refuses('rest/v1', {}, /neither a path such as .* nor an address of Procore's API$/)
  await refuses('/rest/v1', { header: ['Cookie'] }, /"Cookie" is not a header; write 'Name: value'$/)
  await refuses('/acme/rest', { caller: 'excel' }, /--caller excel: there is no such caller; .* are: none$/)
  write({ ...SETTINGS, defaultAccess: { prod: 'read-only' } })
  await refuses('/acme/rest/v1', {}, /defaultAccess\.prod/)
  write({ companies: {} })
  await refuses('/rest/v1', {}, /no company is configured/)
  const empty = join(folder, 'empty')
  const nothing = await runToEnd(t, ['explain', 'GET', '/rest/v1'], { cwd: empty })
  t.match(nothing, { code: 2, out: '', err: /procore-proxy init .* procore-proxy demo / })
  const env = { PROCORE_COMPANY_ID: '7' }
  const partly = await runToEnd(t, ['explain', 'GET', '/rest/v1'], { cwd: empty, env })
  t.match(partly, { code: 2, out: '', err: /PROCORE_CLIENT_ID/ })
})

t.test("an address of Procore's API in any spelling is judged as a path, and a note says so", async (t) => {
  const explain = explainer(t)
  const header = ['-H', 'Procore-Company-Id: 7656']
  const { code, out } = await explain('GET', 'https://api.procore.com/rest/v1.0/me', ...header)
  t.equal(code, 0)
  t.match(out, /^company {3}acme \(id 7656, production\), by id in the header Procore-Company-Id$/m)
  t.match(
    out,
    /^note {6}https:\/\/api\.procore\.com is the API itself: judged as if sent to http:\/\/127\.0\.0\.1:8377/m,
  )
  t.match(await explain('GET', 'https://api.procore.com/rest/v1.0/me'), {
    code: 1,
    out: /company_required/,
  })
  for (const origin of [
    'https://api.procore.com:443',
    'HTTPS://API.Procore.com',
    'https://api.procore.com.',
    'https://api.procore.com.:443',
    'https://me@api.procore.com',
  ]) {
    const { code, out } = await explain('GET', `${origin}/rest/v1.0/me`, ...header)
    t.equal(code, 0, origin)
    t.match(out, /^note {6}https:\/\/api\.procore\.com is the API itself/m, origin)
  }
  for (const origin of [
    'https://api.procore.com:8443',
    'https://api.procore.com..',
    'https://api.procore.com@example.com',
    'https://api.procore.com.example.com',
    'https://[::1',
  ])
    await t.rejects(
      explain('GET', `${origin}/rest/v1.0/me`, ...header),
      /nor an address of Procore's API/,
      origin,
    )
  const plain = await explain('GET', 'http://api.procore.com/rest/v1.0/me', ...header)
  t.match(plain, { code: 1, out: /403 host_not_allowed/ })
  t.match(await explain('GET', 'https://api.procore.com\\rest', ...header), {
    code: 1,
    out: /400 request_invalid: .* backslash/,
  })
})

t.test('a whole list is judged as a request for its pages', async (t) => {
  const explain = explainer(t)
  const { code, out } = await explain('GET', '/acme/_proxy/csv/rest/v1.0/projects/*/rfis?_bom=1&per_page=50')
  t.equal(code, 0)
  t.match(out, /^upstream {2}https:\/\/api\.procore\.com\/rest\/v1\.0\/projects\/\*\/rfis\?per_page=50$/m)
  t.match(out, /^note {6}the proxy asks for the pages of this list one after another and answers with CSV$/m)
  t.match(out, '* stands for each project')
  t.match((await explain('GET', '/acme/_proxy/csv/vapid/projects/%2A/rfis')).out, '* stands for each project')
  const plain = await explain('HEAD', '/acme/_proxy/ndjson/rest/v1.0/projects', '-H', 'Range: bytes=0-1')
  t.match(plain, { code: 0, out: /^upstream {2}\S+\/rest\/v1\.0\/projects\?per_page=1000$/m })
  t.match(plain.out, /^removed {3}Range$/m)
  t.match(await explain('GET', '/_proxy/csv/rest/v1.0/projects'), { code: 1, out: /company_required/ })
  t.match(await explain('GET', '/acme/_proxy/csv/rest/v1.0/%'), { code: 1, out: /request_invalid/ })
  t.match(await explain('GET', '/acme/_proxy/json/rest/v1.0/users'), { code: 1, out: /access_denied/ })
})

t.test('a caller is judged by its own rights, and its key is not read', async (t) => {
  const callers = { excel: { key: { env: 'NOT_SET' }, companies: ['acme'], access: 'read-only' } }
  const explain = explainer(t, { ...SETTINGS, callers })
  const { code, out } = await explain('GET', '/acme/rest/v1.0/me', '--caller', 'excel')
  t.equal(code, 0)
  t.match(out, /^caller {4}excel$/m)
  t.notMatch(out, /Procore-Proxy-Key|explain-does-not-read/)
  t.match(await explain('GET', '/acme/rest/v1.0/me'), { code: 0, out: /the proxy asks for a key/ })
  t.match(out, /^access {4}allowed: The caller "excel" is read-only/m)
})

t.test('* in a list stands for the projects of the caller, as it does while the proxy runs', async (t) => {
  const key = { env: 'NOT_SET' }
  const deny = (...paths: string[]) => paths.map((path) => ({ deny: path }))
  const callers = {
    all: { key },
    bi: { key, projects: ['5'] },
    two: { key, projects: ['5', '6'], rules: deny('/rest/*/projects/5/**') },
    none: { key, projects: ['5', '6'], rules: deny('/rest/*/projects/*/rfis') },
    blind: { key, rules: deny('/rest/v1.0/projects') },
  }
  const explain = explainer(t, { ...SETTINGS, callers })
  for (const [caller, id] of [
    ['all', '\\*'],
    ['bi', '5'],
    ['two', '6'],
  ] as const) {
    const { code, out } = await explain(
      'GET',
      '/acme/_proxy/csv/rest/v1.0/projects/*/rfis',
      '--caller',
      caller,
    )
    t.equal(code, 0, out)
    t.match(out, new RegExp(`^upstream  \\S+/rest/v1\\.0/projects/${id}/rfis\\?per_page=1000$`, 'm'))
    const whose = caller === 'all' ? 'of the company' : 'that this caller may use'
    t.match(out, `* stands for each project ${whose}, one after another; those that are refused are left out`)
  }
  const byQuery = await explain('GET', '/acme/_proxy/csv/rest/v1.0/rfis?project_id=%2A', '--caller', 'bi')
  t.match(byQuery, { code: 0, out: /^upstream {2}\S+\/rfis\?project_id=5&per_page=1000$/m })
  for (const [caller, why] of [
    ['none', 'Rule 1 of the caller "none" (deny /rest/*/projects/*/rfis) refuses it.'],
    ['blind', 'Rule 1 of the caller "blind" (deny /rest/v1.0/projects) refuses it.'],
  ] as const) {
    const { code, out } = await explain(
      'GET',
      '/acme/_proxy/csv/rest/v1.0/projects/*/rfis',
      '--caller',
      caller,
    )
    t.equal(code, 1)
    t.ok(out.startsWith(`refused   403 access_denied: ${why}\n`), out)
    t.match(out, 'those that are refused are left out')
  }
  const other = await explain('GET', '/acme/_proxy/csv/rest/v1.0/projects/6/rfis', '--caller', 'bi')
  t.match(other, { code: 1, out: /^refused {3}403 access_denied: The request names the project "6"/ })
})

const tcp = (host: string, port: number): ListenAddress => ({ kind: 'tcp', host, port })
const unix: ListenAddress = { kind: 'unix', path: '/run/x.sock', mode: 0o600 }
const imagine = (listen: ListenAddress[], url: string, headers: string[] = []) =>
  imagineRequest(testConfig({ listen }), { method: 'get', url, headerLines: headers })

t.test('a path is asked of the first address', async (t) => {
  const cases: [ListenAddress, string][] = [
    [tcp('127.0.0.1', 8377), '127.0.0.1:8377'],
    [tcp('0.0.0.0', 8377), '127.0.0.1:8377'],
    [tcp('::', 8377), '[::1]:8377'],
    [tcp('10.0.0.1', 0), '10.0.0.1'],
    [unix, 'localhost'],
  ]
  for (const [address, host] of cases) {
    const { raw, target, listener, notes } = imagine([address], '/rest/a?b', ['Accept: x:y ', 'Empty:'])
    t.strictSame(raw.rawHeaders, ['Host', host, 'Accept', 'x:y', 'Empty', ''])
    t.match(
      { method: raw.method, target, notes },
      { method: 'GET', target: '/rest/a?b', notes: { length: 0 } },
    )
    t.equal(listener.address, address)
  }
  t.strictSame(imagine([unix], '/rest/a', ['hOST: other']).raw.rawHeaders, ['hOST', 'other'])
})

t.test('a URL is asked of the address with its port, its bytes kept', async (t) => {
  const listen = [unix, tcp('0.0.0.0', 80), tcp('127.0.0.1', 8377)]
  const cases: [url: string, host: string, target: string, address: ListenAddress, ip: string | undefined][] =
    [
      ['http://localhost:8377', 'localhost:8377', '/', listen[2]!, undefined],
      ['http://localhost:8377?a=b', 'localhost:8377', '/?a=b', listen[2]!, undefined],
      ['HTTP://10.0.0.1/rest/../%2e//x?y#z', '10.0.0.1', '/rest/../%2e//x?y', listen[1]!, '10.0.0.1'],
      ['http://u:p@[::1]:8377/rest', '[::1]:8377', '/rest', listen[2]!, '::1'],
    ]
  for (const [url, host, target, address, ip] of cases) {
    const request = imagine(listen, url)
    t.strictSame(request.raw.rawHeaders, ['Host', host], url)
    t.equal(request.target, target, url)
    t.equal(request.listener.address, address, url)
    t.equal(request.raw.socket.localAddress, ip, url)
    t.strictSame(request.notes, [], url)
  }
})

t.test('a port without a listener is noted, unless any port may be meant', async (t) => {
  const url = 'http://localhost:9999/rest'
  t.strictSame(imagine([tcp('127.0.0.1', 8377)], url).notes, [
    'nothing listens on port 9999; judged as if sent to 127.0.0.1:8377',
  ])
  t.strictSame(imagine([tcp('127.0.0.1', 0)], url).notes, [])
})

const judging =
  (config: Config) =>
  (url: string, method = 'GET', headerLines: string[] = []) =>
    explainRequest(config, imagineRequest(config, { method, url, headerLines }))

t.test('a company under "*" is judged by the rules of "*"', async (t) => {
  const rules = [resolveRule({ deny: '/rest/secret' })]
  const config = testConfig({ anyCompany: { account: testAccount(), access: 'read-only', rules } })
  const explain = judging(config)
  t.match(await explain('/123/rest/x'), {
    verdict: 'forwarded',
    company: { name: '123', id: '123', environment: 'lab' },
    access: { allowed: true, why: /^No rule matches/ },
    upstream: 'http://127.0.0.1:9/rest/x',
  })
  t.match(await explain('/123/rest/secret'), {
    verdict: 'refused',
    company: { name: '123' },
    access: { allowed: false, why: /^Rule 1 / },
  })
})

t.test('a file is fetched from its host, under rules for the path that callers use', async (t) => {
  const config = testConfig({
    environment: { apiUrl: 'https://api.example.test', fileDomain: 'example.test' },
    companies: [{ name: 'acme', id: '7', rules: [resolveRule({ deny: '/_proxy/files/*/secret/**' })] }],
  })
  const explain = judging(config)
  t.match(await explain('/acme/_proxy/files/a.example.test/x?y'), {
    verdict: 'forwarded',
    access: { allowed: true, why: /^No rule matches/ },
    upstream: 'https://a.example.test/x?y',
    headers: {
      added: [{ value: 'a.example.test' }, { name: 'Procore-Company-Id' }, {}, { name: 'Authorization' }],
    },
  })
  t.match(await explain('/acme/_proxy/files/a.example.test/secret/x'), {
    verdict: 'refused',
    access: { allowed: false, why: /^Rule 1 / },
    upstream: 'https://a.example.test/secret/x',
  })
  t.match(await explain('/acme/_proxy/files/api.example.test/x'), { refusal: { code: 'request_invalid' } })
})

t.test('what is no refusal of a request is thrown', async (t) => {
  const config = testConfig()
  const request = imagineRequest(config, { method: 'GET', url: '/acme/rest/x', headerLines: [] })
  const broken = { ...request, raw: { ...request.raw, rawHeaders: [undefined, ''] as unknown as string[] } }
  await t.rejects(explainRequest(config, broken), TypeError)
})

t.test('it says what the running proxy does', async (t) => {
  const rules = [{ deny: '/rest/v1.0/users/**' }, { allow: '/rest/v1.0/echo', methods: ['writes'] }]
  const acme = { id: '7656', serviceAccount: 'app', access: 'read-only', rules }
  const rig = await startRig(t, { settings: { companies: { acme } } })
  const config = await loadConfig({ flags: { config: rig.file }, env: {}, cwd: '.', resolveSecrets: false })
  const cases: ['GET' | 'POST' | 'DELETE', string, string[]][] = [
    ['GET', '/rest/v1.0/me', []],
    ['GET', '/rest/v1.0/users/5', []],
    ['GET', '/rest/v1.0/%75sers/5', []],
    ['GET', '/rest/v1.0//users/5/', []],
    ['GET', '/acme/rest/v1.0/users/5', []],
    ['DELETE', '/rest/v1.0/echo', []],
    ['DELETE', '/rest/v1.0/other', []],
    ['POST', '/rest/v1.0/echo', ['Content-Type: multipart/form-data']],
    ['POST', '/rest/v1.0/other', []],
    ['GET', '/unknown/rest/v1.0/me', []],
    ['GET', '/rest/v1.0/me', ['X-HTTP-Method: PATCH']],
    ['GET', '/_proxy/status', []],
    ['POST', '/_proxy/status', []],
    ['DELETE', '/_proxy/', []],
    ['GET', '/acme/oauth/token', []],
    ['GET', '/_proxy/nosuch?x', []],
    ['POST', '/_proxy/csv/rest/v1.0/projects', []],
    ['GET', '/_proxy/csv/rest/v1.0/users/5', []],
    ['GET', '/acme/_proxy/csv/rest/v1.0/%', []],
  ]
  for (const [method, path, lines] of cases) {
    const said = await judging(config)(path, method, lines)
    const headers = Object.fromEntries(lines.map((line) => line.split(': ')))
    const answer = await rig.get(path, { method, headers })
    t.equal(answer.headers['procore-proxy-error'], said.refusal?.code, `${method} ${path}`)
    if (said.refusal) t.match(answer.json, { detail: said.refusal.detail })
  }
})
