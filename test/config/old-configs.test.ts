// Files as users of released versions wrote them are read for ever, and mean what they meant.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { listenText } from '../../src/config/addresses.ts'
import type { AnyCompany, Company, Config, ListenAddress } from '../../src/config/config.ts'
import { readDocument } from '../../src/config/document.ts'
import { isRawMap } from '../../src/config/issues.ts'
import { loadConfig } from '../../src/config/load.ts'
import { keyNotes } from '../../src/config/reference.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

const FOLDER = join(import.meta.dirname, '../fixtures/configs')
const FORMATS = ['v1']
const files = FORMATS.flatMap((format) =>
  readdirSync(join(FOLDER, format))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => join(FOLDER, format, name)),
)

/** What the files refer to. */
const ENV = {
  PATH: process.env['PATH'],
  APP_CLIENT_ID: 'id-of-the-app',
  APP_CLIENT_SECRET: 'secret-of-the-app',
  LEGACY_SECRET: 'secret-of-legacy',
  GLOBEX_CLIENT_ID: 'id-of-globex',
  GLOBEX_CLIENT_SECRET: 'secret-of-globex',
  GLOBEX_SECRET: 'secret-of-globex',
  PROXY_KEY: 'key-of-callers',
}

const listens = (address: ListenAddress) =>
  listenText(address) + (address.kind === 'unix' ? ` mode ${address.mode.toString(8)}` : '')

/** What a file means to its user; its form stays, however the program keeps it. Only ever add to it. */
function essentials(config: Config) {
  const { upstream, network, rateLimit, guard, log, inspector, publicUrl } = config
  const { proxy } = network
  const common = ({ account, access, rules, rewriteFileUrls, ...rest }: Company | AnyCompany) => ({
    account: account.name,
    access,
    rules: rules.map(({ effect, methods, patterns }) => ({
      effect,
      methods: methods ? [...methods].sort() : null,
      patterns,
    })),
    rewriteFileUrls: rewriteFileUrls ?? false,
    publicUrl: rest.publicUrl ?? null,
  })
  return {
    listen: config.listen.map(listens),
    publicUrl: publicUrl ?? null,
    accounts: config.accounts.map(({ name, environment, clientId, clientSecret }) => ({
      name,
      environment,
      clientId,
      clientSecret: clientSecret.reveal(),
    })),
    companies: config.companies.map((company) => ({
      name: company.name,
      id: company.id,
      isDefault: company.isDefault,
      listen: company.listen ? listens(company.listen) : null,
      ...common(company),
    })),
    anyCompany: config.anyCompany ? common(config.anyCompany) : null,
    upstream,
    network: {
      proxy: proxy ? { origin: proxy.origin, authorization: proxy.authorization?.reveal() ?? null } : null,
      noProxy: network.noProxy.map(({ host, port }) => ({ host, port: port ?? null })),
      certificates: network.certificates.length,
    },
    rateLimit,
    guard: { ...guard, clientKeys: guard.clientKeys.map((key) => key.reveal()) },
    log,
    inspector,
    shutdownTimeoutMs: config.shutdownTimeoutMs,
  }
}

/** Everything of `before`, so that later versions may add to what there is. */
function kept(before: unknown, now: unknown): unknown {
  if (Array.isArray(before) && Array.isArray(now)) {
    return now.map((item, index) => (index in before ? kept(before[index], item) : item))
  }
  if (typeof before !== 'object' || before === null || typeof now !== 'object' || now === null) return now
  const values = now as Record<string, unknown>
  return Object.fromEntries(Object.entries(before).map(([key, value]) => [key, kept(value, values[key])]))
}

for (const file of files) {
  t.test(`${basename(file)} is read and means what it meant`, async (t) => {
    const folder = new ConfigFolder(t.testdir())
    // What git keeps of rights lets others read secrets.
    for (const name of readdirSync(join(file, '../secrets'))) {
      folder.write(`secrets/${name}`, readFileSync(join(file, '../secrets', name), 'utf8'))
    }
    const config = folder.write('config.yaml', readFileSync(file, 'utf8'))
    const flags = { config }
    const loaded = await loadConfig({ flags, env: ENV, cwd: folder.path, homedir: folder.path })
    const now = JSON.parse(JSON.stringify(essentials(loaded)))
    const meaning = file.replace(/\.yaml$/, '.json')
    if (!existsSync(meaning)) {
      writeFileSync(meaning, `${JSON.stringify(now, null, 2)}\n`)
      t.fail(`${meaning} was written: read it, and commit it if that is what the file means`)
      return
    }
    const before = JSON.parse(readFileSync(meaning, 'utf8'))
    t.strictSame(kept(before, now), before)
  })
}

t.test('each of the files has its meaning beside it, and each meaning its file', async (t) => {
  for (const format of FORMATS) {
    const names = readdirSync(join(FOLDER, format)).filter((name) => name !== 'secrets')
    const ofKind = (kind: string) =>
      names.filter((name) => name.endsWith(kind)).map((name) => basename(name, kind))
    t.strictSame(ofKind('.json'), ofKind('.yaml'))
    t.ok(ofKind('.yaml').length > 0)
  }
})

const NAMED = new Set(['environments', 'defaultAccess', 'serviceAccounts', 'companies'])

t.test('every key of the format stands in one of the files', async (t) => {
  const used = new Set(files.flatMap((file) => keysOf(readDocument(readFileSync(file, 'utf8')).value, [])))
  const missing = keyNotes()
    .map(({ key }) => key.replaceAll('.NAME', '.*').replaceAll('"*"', '*'))
    .filter((key) => !used.has(key))
  t.strictSame(missing, [], 'a new key: add a file to test/fixtures/configs (see CONTRIBUTING.md)')
})

/** The key paths of a file; names are `*`. */
function keysOf(value: unknown, path: readonly string[]): string[] {
  if (!isRawMap(value)) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const isName = path.length === 1 && NAMED.has(String(path[0]))
    const here = [...path, isName ? '*' : key]
    return [here.join('.'), ...keysOf(inner, here)]
  })
}
