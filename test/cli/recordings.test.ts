// The flags of `start` for recordings, and the configuration for a replay without one.
import { chmodSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import type { Options } from '../../src/cli/commands.ts'
import { readReplayConfig, recordingMode, start } from '../../src/cli/start.ts'
import { identifyKey } from '../../src/guards/callers.ts'
import { createLogger } from '../../src/observe/log.ts'
import { HAR_END, harStart } from '../../src/recordings/har-file.ts'
import { buildServer } from '../../src/server.ts'
import { run, runToEnd } from '../fixtures/cli.ts'
import { testAccount } from '../fixtures/config.ts'

t.test('the flags as a mode, with an absolute folder', async (t) => {
  t.strictSame(recordingMode({}), undefined)
  t.strictSame(recordingMode({ record: 'a' }), { mode: 'record', folder: resolve('a') })
  t.strictSame(recordingMode({ replay: '/a' }), { mode: 'replay', folder: '/a' })
  t.strictSame(recordingMode({ replayElseRecord: 'a' }), { mode: 'replay-else-record', folder: resolve('a') })
})

t.test('a replay takes its companies from the recordings where there is no configuration', async (t) => {
  const folder = t.testdir({ empty: {} })
  const { environment } = testAccount()
  const acme = { company: { name: 'acme', id: '7656' }, environment }
  writeFileSync(join(folder, 'acme.har'), harStart(acme) + HAR_END)
  const config = await readReplayConfig(folder, { listen: ['127.0.0.1:0'] })
  t.match(config, { file: undefined, watchedFiles: { length: 0 }, listen: [{ port: 0 }] })
  t.match(config.companies, [
    { name: 'acme', id: '7656', account: { environment: { apiUrl: environment.apiUrl } } },
  ])
  const entry = (year: number) =>
    JSON.stringify({
      startedDateTime: `${year}-01-01T00:00:00.000Z`,
      request: { method: 'GET', url: `${environment.apiUrl}/rest/a` },
      response: { status: 200, statusText: 'OK', headers: [], content: {} },
    })
  for (const [name, year] of [
    ['aaa', 2026],
    ['zzz', 2025],
  ] as const) {
    const company = { company: { name, id: '7656' }, environment }
    writeFileSync(join(folder, `${name}.har`), harStart(company) + entry(year) + HAR_END)
  }
  t.match((await readReplayConfig(folder, {})).companies, [{ name: 'aaa', id: '7656' }], 'it was renamed')
  const empty = join(folder, 'empty')
  await t.rejects(readReplayConfig(empty, {}), {
    status: 2,
    message: /there are no recordings in this folder/,
  })
  await t.rejects(readReplayConfig(join(folder, 'none'), {}), { status: 2, message: /ENOENT/ })
})

t.test('a replay reads recordings, and the companies in them, at the start only', async (t) => {
  const folder = t.testdir()
  const { environment } = testAccount()
  const add = (name: string, id: string) =>
    writeFileSync(join(folder, `${name}.har`), harStart({ company: { name, id }, environment }) + HAR_END)
  add('acme', '1')
  const proxy = run(t, ['--replay', '.', '--listen', '127.0.0.1:0'], { cwd: folder })
  const [url] = await proxy.listening()
  add('globex', '2')
  proxy.kill('SIGHUP')
  await proxy.line('reload: the new configuration is in force')
  const codeOf = async (path: string) => ((await (await fetch(url + path)).json()) as { code: string }).code
  t.equal(await codeOf('/acme/rest/v1.0/me'), 'recording_missing')
  t.equal(await codeOf('/globex/rest/v1.0/me'), 'company_unknown')
})

const KEY = 'a-key-of-the-test-of-replays'

t.test('a replay with a configuration needs no secret but the keys of callers', async (t) => {
  const account = { clientId: 'a', clientSecret: { env: 'NOT_SET' } }
  const text = JSON.stringify({
    companies: { acme: { id: '1', serviceAccount: account } },
    callers: { excel: { key: { file: 'key' } } },
    guard: { clientKeys: [`${KEY}-2`] },
    network: { proxy: { env: 'NOT_SET' }, caFile: 'missing.pem' },
    shared: { url: { env: 'NOT_SET' } },
  })
  const folder = t.testdir({ 'p.yaml': text, key: KEY })
  chmodSync(join(folder, 'key'), 0o600)
  const options = { config: join(folder, 'p.yaml') }
  const config = await readReplayConfig(folder, options)
  t.match(config, { companies: [{ name: 'acme' }], shared: undefined, network: { proxy: undefined } })
  t.strictSame(config.watchedFiles, [options.config, join(folder, 'key')])
  t.equal(identifyKey(config, KEY)?.caller?.name, 'excel')
  t.ok(identifyKey(config, `${KEY}-2`))
  t.notOk(identifyKey(config, 'replay'))
  const server = await buildServer(config, {
    log: createLogger({ level: 'silent', format: 'json' }, { write: () => {} }),
    recordings: { mode: 'replay', folder },
  })
  await server.drain()
  chmodSync(join(folder, 'key'), 0o644)
  const unix = { skip: process.platform === 'win32' }
  await t.rejects(
    readReplayConfig(folder, options),
    { status: 2, message: /callers\.excel\.key.*chmod/s },
    unix,
  )
})

t.test('a replay of the company of a variable needs no account', async (t) => {
  const folder = t.testdir()
  t.teardown(() => delete process.env['PROCORE_COMPANY_ID'])
  process.env['PROCORE_COMPANY_ID'] = '7656'
  t.match(await readReplayConfig(folder, {}), { companies: [{ name: 'default', id: '7656' }] })
})

t.test('what is wrong with a configuration is wrong for a replay too', async (t) => {
  const account = { clientId: 'a', clientSecret: 'b' }
  const text = JSON.stringify({
    companies: { acme: { id: '1', serviceAccount: account } },
    audit: { file: 'missing/audit.jsonl' },
  })
  const cwd = t.testdir({ 'p.yaml': text })
  const err = /^procore-proxy: \S+p\.yaml.*audit\.file: the folder \S+missing does not exist/
  t.match(await runToEnd(t, ['start', '-c', 'p.yaml', '--replay', '.'], { cwd }), { code: 2, err })
})

t.test('with a configuration too, a folder that cannot be replayed is told in a sentence', async (t) => {
  const account = { clientId: 'a', clientSecret: 'a-secret-of-the-test' }
  const text = JSON.stringify({
    companies: { acme: { id: '1', serviceAccount: account } },
    listen: '127.0.0.1:0',
  })
  const cwd = t.testdir({ 'p.yaml': text, damaged: { 'acme.har': '{"torn' } })
  chmodSync(join(cwd, 'p.yaml'), 0o600)
  const config = join(cwd, 'p.yaml')
  const cases: [options: Options, message: RegExp][] = [
    [
      { replay: join(cwd, 'damaged') },
      /^\S+acme\.har is not a recording of procore-proxy, or it is damaged\./,
    ],
    [{ record: config }, /^\S+p\.yaml is not a folder\. Name another one\.$/],
    [{ replayElseRecord: config }, /\S+p\.yaml is not a folder/],
  ]
  for (const [options, message] of cases) {
    await t.rejects(start({ config, ...options }), { name: 'CommandError', status: 2, message })
  }
  const err = /^procore-proxy: The folder \S+none does not exist\. Create it[^\n]*\n$/
  t.match(await runToEnd(t, ['start', '-c', 'p.yaml', '--replay', 'none'], { cwd }), { code: 2, err })
})
