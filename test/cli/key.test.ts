// `key`, from outside: the lines that it prints are a configuration that the program reads.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { keyInstructions, newKey } from '../../src/cli/key.ts'
import { runToEnd } from '../fixtures/cli.ts'

t.test('prints a new key each time, and lines for the configuration', async (t) => {
  const cwd = t.testdir()
  const { code, out, err } = await runToEnd(t, ['key', 'excel'], { cwd })
  t.strictSame([code, err], [0, ''])
  const [key = ''] = /^ {2}([\w-]{32,})$/m.exec(out)?.slice(1) ?? []
  t.match(key, /^[\w][\w-]+$/, 'no flag, and no character that needs quotes')
  const account = 'serviceAccount: { clientId: a, clientSecret: { env: EXCEL_KEY } }'
  const lines = out.slice(out.indexOf('callers:')).split('\n\n')[0]
  const file = join(cwd, 'procore-proxy.yaml')
  writeFileSync(file, `companies:\n  acme: { id: "1", ${account} }\n${lines}\n`, { mode: 0o600 })
  const check = await runToEnd(t, ['check', '--offline'], { cwd, env: { EXCEL_KEY: key } })
  t.match(check, { code: 0, out: /The configuration is valid/, err: '' })
  const again = await runToEnd(t, ['key', 'excel'], { cwd })
  t.match(again.out, /^callers:$/m)
  t.notMatch(again.out, key)
})

t.test('a name that no caller can have is an error', async (t) => {
  t.match(await runToEnd(t, ['key', 'Excel!'], { cwd: t.testdir() }), {
    code: 2,
    out: '',
    err: /lower-case letters/,
  })
})

t.test('A key is long, random and needs no quotes; its lines fit the configuration', async (t) => {
  const keys = new Set(Array.from({ length: 500 }, newKey))
  t.equal(keys.size, 500)
  for (const key of keys) t.ok(/^[A-Za-z0-9_][A-Za-z0-9_-]{31}$/.test(key), key)
  t.match(
    keyInstructions('ci-job', 'KEY1'),
    /KEY1.*CI_JOB_KEY.*callers:\n {2}ci-job:\n {4}key: \{ env: CI_JOB_KEY \}/s,
  )
  const byNumber = keyInstructions('1x', 'KEY1')
  t.match(byNumber, /variable CALLER_1X_KEY,.*callers:\n {2}1x:\n {4}key: \{ env: CALLER_1X_KEY \}/s)
  for (const name of ['', 'A', 'a b', '-a', 'a:'])
    t.throws(() => keyInstructions(name, 'k'), /lower-case letters/, name)
})
