import t from 'tap'
import { sampleYaml } from '../../../scripts/config/sample.ts'
import { ConfigFolder } from '../../fixtures/config-folder.ts'

t.test('the sample loads once the variables that it names are set', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const sample = sampleYaml()
  const names = [...sample.matchAll(/env: (\w+)/g)].map(([, name = '']) => name)
  t.strictSame(names, ['APP_CLIENT_ID', 'APP_CLIENT_SECRET', 'GLOBEX_CLIENT_ID', 'GLOBEX_CLIENT_SECRET'])
  t.equal((await folder.problems(sample)).length, names.length)
  folder.write('procore-proxy.yaml', sample, 0o644)
  const config = await folder.load(undefined, { env: Object.fromEntries(names.map((name) => [name, 'x'])) })
  t.strictSame(config.warnings, [])
  t.strictSame(
    config.companies.map(({ name, id }) => [name, id]),
    [
      ['acme', '7656'],
      ['globex', '562949953443325'],
    ],
  )
  t.ok(config.anyCompany)
})

t.test('what the sample shows of settings is their defaults', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const env = { PROCORE_COMPANY_ID: '1', PROCORE_CLIENT_ID: 'x', PROCORE_CLIENT_SECRET: 'x' }
  const names = ['APP_CLIENT_ID', 'APP_CLIENT_SECRET', 'GLOBEX_CLIENT_ID', 'GLOBEX_CLIENT_SECRET']
  const bare = await folder.load(undefined, { env })
  const sample = await folder.load(sampleYaml(), {
    env: Object.fromEntries(names.map((name) => [name, 'x'])),
  })
  for (const key of ['listen', 'upstream', 'rateLimit', 'guard', 'log', 'shutdownTimeoutMs'] as const) {
    t.strictSame(sample[key], bare[key], key)
  }
})

t.test('the sample explains every section, in lines that fit', async (t) => {
  const lines = sampleYaml().split('\n')
  for (const [index, line] of lines.entries()) {
    if (index > 0) t.ok(line.length <= 110, line)
    if (/^\w/.test(line)) t.match(lines[index - 1], /^#/, line)
  }
})
