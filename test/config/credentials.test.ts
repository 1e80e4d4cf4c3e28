import t from 'tap'
import { checkPlainSecrets, readCredentials } from '../../src/config/credentials.ts'
import { readDocument } from '../../src/config/document.ts'
import { readSettings } from '../../src/config/issues.ts'
import { keyOf } from '../../src/config/problems.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

const settingsOf = (yaml: string) => readSettings(readDocument(yaml).value).settings
const none: ReadonlySet<string> = new Set()

t.test('every secret is read, and its files are known', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('secret', 's3cret\n')
  const settings = settingsOf(`
serviceAccounts: { app: { clientId: { env: ID }, clientSecret: { file: secret } } }
companies: { acme: { id: "1", serviceAccount: { clientId: x, clientSecret: { file: ${file} } } } }
guard: { clientKeys: [k1, { env: KEY }] }`)
  const context = { env: { ID: 'id', KEY: 'a key' }, folder: folder.path, platform: 'linux' as const }
  const { values, findings, files } = await readCredentials(settings, none, context)
  t.strictSame(findings, [])
  t.strictSame(files, [file])
  t.strictSame(Object.fromEntries(values), {
    'serviceAccounts.app.clientId': 'id',
    'serviceAccounts.app.clientSecret': 's3cret',
    'companies.acme.serviceAccount.clientId': 'x',
    'companies.acme.serviceAccount.clientSecret': 's3cret',
    'guard.clientKeys[0]': 'k1',
    'guard.clientKeys[1]': 'a key',
  })
})

t.test('secrets are read at the same time', async (t) => {
  const command = JSON.stringify([process.execPath, '-e', 'setTimeout(() => console.log("x"), 500)'])
  const keys = Array(4).fill(`{ command: ${command}, timeout: 60s }`).join(', ')
  const started = performance.now()
  const context = { env: {}, folder: '/', platform: 'linux' as const }
  const { values } = await readCredentials(settingsOf(`guard: { clientKeys: [${keys}] }`), none, context)
  t.equal(values.size, 4)
  t.ok(performance.now() - started < 1900, 'four times half a second, and less than two')
})

t.test('what is wrong with each secret is told, and what was judged already is left alone', async (t) => {
  const settings = settingsOf(`
serviceAccounts:
  app: { clientId: "a b", clientSecret: { env: NONE } }
  bad: { clientId: "é", clientSecret: { env: NONE } }
guard: { clientKeys: [" k", "k\\n", é, "good one"] }`)
  const context = { env: {}, folder: '/', platform: 'linux' as const }
  const wrong = new Set(['serviceAccounts.bad.clientSecret'])
  const { findings } = await readCredentials(settings, wrong, context)
  t.match(findings.map(({ path, message }) => `${keyOf(path)}: ${message}`).sort(), [
    /^guard\.clientKeys\[0\]: the key can't be sent in a header/,
    /^guard\.clientKeys\[1\]/,
    /^guard\.clientKeys\[2\]/,
    /^serviceAccounts\.app\.clientId: the client id holds blanks/,
    /^serviceAccounts\.app\.clientSecret: the variable NONE is not set/,
    /^serviceAccounts\.bad\.clientId/,
  ])
})

t.test(
  'a plain client secret in a file that others can read is refused, a plain key warned of',
  async (t) => {
    const settings = settingsOf(`
serviceAccounts: { app: { clientId: x, clientSecret: s3cret }, env: { clientId: x, clientSecret: { env: A } } }
companies: { acme: { id: "1", serviceAccount: { clientId: x, clientSecret: s3cret } } }
guard: { clientKeys: [key, { env: A }] }`)
    const context = { file: '/f.yaml', mode: 0o644, platform: 'linux' as const, isOverridden: () => false }
    const { findings, warnings } = checkPlainSecrets(settings, none, context)
    t.strictSame(findings, [
      {
        path: ['serviceAccounts', 'app', 'clientSecret'],
        message: 'a secret stands here, and others can read this file (mode 644)',
        fix: 'chmod 600 /f.yaml',
      },
      {
        path: ['companies', 'acme', 'serviceAccount', 'clientSecret'],
        message: 'a secret stands here, and others can read this file (mode 644)',
        fix: 'chmod 600 /f.yaml',
      },
    ])
    t.strictSame(warnings, [
      '/f.yaml guard.clientKeys[0]: a key stands here, and others can read this file (mode 644). chmod 600 /f.yaml',
    ])
    const nothing = { findings: [], warnings: [] }
    t.strictSame(checkPlainSecrets(settings, none, { ...context, mode: 0o600 }), nothing)
    t.strictSame(checkPlainSecrets(settings, none, { ...context, platform: 'win32' }), nothing)
    t.strictSame(checkPlainSecrets(settings, none, { ...context, file: undefined }), nothing)
    t.strictSame(checkPlainSecrets(settings, none, { ...context, isOverridden: () => true }), nothing)
  },
)
