// What `explain` says is what the running proxy does.
import t from 'tap'
import { explainRequest, imagineRequest } from '../../src/cli/explain.ts'
import { resolveRule } from '../../src/config/access-rules.ts'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/server.ts'
import { testAccount, testConfig } from '../fixtures/config.ts'
import { startRig } from '../fixtures/proxy.ts'

const explainer =
  (config: Config) =>
  (url: string, method = 'GET', headerLines: string[] = []) =>
    explainRequest(config, imagineRequest(config, { method, url, headerLines }))

t.test('a company under "*" is judged by the rules of "*"', async (t) => {
  const rules = [resolveRule({ deny: '/rest/secret' })]
  const config = testConfig({ anyCompany: { account: testAccount(), access: 'read-only', rules } })
  const explain = explainer(config)
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
  const explain = explainer(config)
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
  ]
  for (const [method, path, lines] of cases) {
    const said = await explainer(config)(path, method, lines)
    const headers = Object.fromEntries(lines.map((line) => line.split(': ')))
    const answer = await rig.get(path, { method, headers })
    t.equal(answer.headers['procore-proxy-error'], said.refusal?.code, `${method} ${path}`)
    if (said.refusal) t.match(answer.json, { detail: said.refusal.detail })
  }
})
