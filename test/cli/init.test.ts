// `init`, on a terminal of its own: what it asks, what may be answered, what it shows, and the file it leaves.
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Options } from '../../src/cli/commands.ts'
import {
  checkCompany,
  checkCredential,
  checkOrigin,
  ENVIRONMENTS,
  guessEnvironment,
  programName,
  init as runInit,
} from '../../src/cli/init.ts'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/config.ts'
import { loadConfig } from '../../src/server.ts'
import { COMMAND, MAIN, runToEnd } from '../fixtures/cli.ts'
import { startFakeProcore } from '../fixtures/procore.ts'
import { HAS_TERMINALS, Terminal } from '../fixtures/terminal.ts'

t.jobs = 2

const needsTerminal = HAS_TERMINALS ? {} : { skip: 'no script(1) of util-linux here' }
const UP = '\x1b[A'
const DOWN = '\x1b[B'
const CTRL_C = '\x03'

function init(t: Test, folder: string, args = '', env: Record<string, string> = {}): Terminal {
  return new Terminal(t, `${COMMAND.join(' ')} init ${args}`, { cwd: folder, env })
}

/** Answers up to the client id, with the fake as an environment of the user's own. */
async function answerPlace(terminal: Terminal, { apiUrl, loginUrl }: { apiUrl: string; loginUrl: string }) {
  await terminal.answer('Company', '7656\r')
  await terminal.answer('Environment', `${UP}\r`)
  await terminal.answer('URL of its API', `${apiUrl}\r`)
  await terminal.answer('URL of its login server', `${loginUrl}\r`)
}

type Answer = readonly [question: string, keys: string]
const ID: Answer = ['Client id', 'abc\r']
const SECRET: Answer = ['Client secret', 's\r']
const ACCESS: Answer = ['What may tools do', '\r']
const CHECK: Answer = ['Check them now?', '\r']
const NO_CHECK: Answer = ['Check them now?', 'n']
const AGAIN: Answer = ['What now?', '\r']

async function answer(terminal: Terminal, ...answers: Answer[]) {
  for (const [question, keys] of answers) await terminal.answer(question, keys)
}

const load = (file: string) =>
  loadConfig({ flags: { config: file }, env: { MY_SECRET: 'from-variable' }, cwd: '/' })

t.test(
  'asks, checks, asks again for what was wrong, and writes a file that works',
  needsTerminal,
  async (t) => {
    const fake = await startFakeProcore()
    t.teardown(() => fake.close())
    const folder = t.testdir()
    const terminal = init(t, folder)
    await answer(terminal, ['Company', 'nonsense\r'], ['Write the digits of the id', '\x15'])
    await answerPlace(terminal, fake)
    await answer(terminal, ['Client id', '\r'], ['Write the client id', 'demo-client\r'])
    await answer(terminal, ['Client secret', 'wrong-secret\r'], ACCESS, CHECK)
    await terminal.says('the login server refused the credentials')
    await terminal.says('account main, what to do')
    t.strictSame(readdirSync(folder), [], 'nothing is written yet')
    await answer(terminal, AGAIN, ['Client id', '\r'], ['Client secret', 'demo-secret\r'], CHECK)
    await terminal.says('/rest/v1.0/me answered 200')
    await terminal.says('Wrote ')
    await terminal.says(`${programName(MAIN)} check\n`)
    await terminal.says(`${programName(MAIN)} start\n`)
    t.equal(await terminal.end(), 0)
    t.notMatch(terminal.raw, /demo-secret|wrong-secret|d.?e.?m.?o.?-.?s/, 'the secret is never shown')
    for (const token of fake.issuedTokens()) t.notMatch(terminal.raw, token)

    t.strictSame(readdirSync(folder), ['procore-proxy.yaml'], 'no draft is left')
    const file = join(folder, 'procore-proxy.yaml')
    t.equal(statSync(file).mode & 0o777, 0o600)
    const config = await load(file)
    t.match(config, {
      companies: [{ name: 'main', id: '7656', access: 'read-only' }],
      accounts: [{ clientId: 'demo-client', environment: { name: 'custom', apiUrl: fake.apiUrl } }],
      warnings: [],
    })
    t.match(await runToEnd(t, ['check'], { cwd: folder }), { code: 0, err: '' })
  },
)

t.test(
  'the address in the browser tells the environment; everything again; as it is',
  needsTerminal,
  async (t) => {
    const folder = t.testdir({ 'old.yaml': 'old: true\n' })
    symlinkSync('old.yaml', join(folder, 'my config.yaml'))
    const env = { HTTPS_PROXY: '', PROCORE_CLIENT_ID: 'other', NO_COLOR: '1' }
    const terminal = init(t, folder, `--force --output 'my config.yaml'`, env)
    await terminal.answer('Company', 'https://sandbox.procore.com/42/company/home/list\r')
    await terminal.says('Environment')
    await answer(terminal, ['● sandbox', `${UP}\r`], ID, ['Client secret', ' s3cret"\\ \r'])
    await answer(terminal, ['What may tools do', `${DOWN}\r`], NO_CHECK)
    await terminal.says('take precedence over the file: PROCORE_CLIENT_ID.')
    await terminal.says(`--config "${folder}/my config.yaml"`)
    t.equal(await terminal.end(), 0)
    t.ok(lstatSync(join(folder, 'my config.yaml')).isSymbolicLink(), 'a link stays one')
    t.equal(statSync(join(folder, 'old.yaml')).mode & 0o777, 0o600)
    const config = await load(join(folder, 'old.yaml'))
    t.match(config, { accounts: [{ environment: { name: 'production' }, clientId: 'abc' }] })
    t.equal(config.accounts[0]?.clientSecret.reveal(), 's3cret"\\')

    const gone = { apiUrl: 'http://127.0.0.1:9', loginUrl: 'http://127.0.0.1:9' }
    const again = init(t, folder)
    await answerPlace(again, gone)
    await answer(again, ID, SECRET, ACCESS, CHECK, ['What now?', `${DOWN}\r`])
    await answerPlace(again, gone)
    await answer(again, ['Client id', 'xyz\r'], SECRET, ACCESS, CHECK, ['What now?', `${UP}\r`])
    t.equal(await again.end(), 0)
    t.match(await load(join(folder, 'procore-proxy.yaml')), { accounts: [{ clientId: 'xyz' }] })
  },
)

t.test('the secret can stay in a variable or a file', needsTerminal, async (t) => {
  const folder = t.testdir()
  const gone = { apiUrl: 'http://127.0.0.1:9', loginUrl: 'http://127.0.0.1:9' }
  const byEnv = init(t, folder, '--secret-env MY_SECRET')
  await answerPlace(byEnv, gone)
  await answer(byEnv, ID, ACCESS)
  await byEnv.says('It cannot be checked yet')
  await byEnv.says('the variable MY_SECRET is not set')
  t.equal(await byEnv.end(), 0)
  const config = await load(join(folder, 'procore-proxy.yaml'))
  t.equal(config.accounts[0]?.clientSecret.reveal(), 'from-variable')

  writeFileSync(join(folder, 'secret'), 'from-file\n', { mode: 0o600 })
  const byFile = init(t, folder, '--force --secret-file secret --output new/folder/p.yaml')
  await answerPlace(byFile, gone)
  await answer(byFile, ID, ACCESS, CHECK, AGAIN, ['Client id', '\r'], NO_CHECK)
  t.equal(await byFile.end(), 0)
  const other = await load(join(folder, 'new/folder/p.yaml'))
  t.equal(other.accounts[0]?.clientSecret.reveal(), 'from-file')

  const forced = init(t, folder, '--force --secret-env MY_SECRET', { MY_SECRET: 'x' })
  await answerPlace(forced, gone)
  await answer(forced, ID, ACCESS, CHECK, AGAIN, ['Client id', CTRL_C])
  t.equal(await forced.end(), 1)
})

t.test('Ctrl-C leaves everything as it was, at every kind of question', needsTerminal, async (t) => {
  const folder = t.testdir({ 'procore-proxy.yaml': 'old: true\n' })
  const questions: [string, string][] = [
    ['Company', '7656\r'],
    ['Environment', '\r'],
    ['Client id', 'abc\r'],
    ['Client secret', 's3cret\r'],
    ['What may tools do', '\r'],
    ['Check them now?', '\r'],
  ]
  // One of each kind: a text, a choice, a secret, and a yes or no.
  for (const [index, [last]] of questions.entries()) {
    if (last === 'Client id' || last === 'What may tools do') continue
    const where = index === 0 ? '--output new/folder/p.yaml' : '--force'
    const terminal = init(t, folder, where, { TMPDIR: folder })
    for (const [question, answer] of questions.slice(0, index)) await terminal.answer(question, answer)
    await terminal.answer(last, CTRL_C)
    await terminal.says('Stopped. Nothing was written.')
    t.equal(await terminal.end(), 1, last)
    t.strictSame(readdirSync(folder), ['procore-proxy.yaml'])
    t.equal(readFileSync(join(folder, 'procore-proxy.yaml'), 'utf8'), 'old: true\n')
  }
})

/** Refused before anything is asked; in this process, with what looks like a terminal. */
async function refused(t: Test, options: Options, status: number, message: string | RegExp) {
  for (const stream of [process.stdin, process.stdout]) t.intercept(stream, 'isTTY', { value: true })
  await t.rejects(runInit(options), { status, message })
}

t.test('never overwrites what it was not told to', needsTerminal, async (t) => {
  const folder = t.testdir({ 'procore-proxy.yaml': 'old: true\n' })
  const old = join(folder, 'procore-proxy.yaml')
  const fix = 'exists: overwrite it with --force, or name another with --output FILE'
  await refused(t, { output: old }, 2, `${old} ${fix}`)
  const dangling = join(folder, 'dangling.yaml')
  symlinkSync('nowhere', dangling)
  await refused(t, { output: dangling }, 2, `${dangling} ${fix}`)

  const raced = init(t, folder, '--output new.yaml --secret-env NONE')
  await answer(raced, ['Company', '7656\r'], ['Environment', '\r'])
  await raced.says('Client id')
  writeFileSync(join(folder, 'new.yaml'), 'theirs: true\n')
  raced.type('abc\r')
  await raced.answer('What may tools do', '\r')
  await raced.says('cannot be written (EEXIST)')
  t.equal(await raced.end(), 1)
  t.equal(readFileSync(join(folder, 'new.yaml'), 'utf8'), 'theirs: true\n')
  t.strictSame(readdirSync(folder).sort(), ['dangling.yaml', 'new.yaml', 'procore-proxy.yaml'])
})

t.test('a file that cannot be completed is not left', needsTerminal, async (t) => {
  const folder = t.testdir({ 'old.yaml': 'old: true\n' })
  const fullDisk = `
    import { open } from 'node:fs/promises'
    const handle = await open('/dev/null')
    await handle.close()
    Object.getPrototypeOf(handle).sync = async () => { throw Object.assign(new Error(), { code: 'ENOSPC' }) }`
  const NODE_OPTIONS = `--import=data:text/javascript;base64,${Buffer.from(fullDisk).toString('base64')}`
  for (const args of ['--output new.yaml', '--force --output old.yaml']) {
    const terminal = init(t, folder, `${args} --secret-env NONE`, { NODE_OPTIONS })
    await answer(terminal, ['Company', '7656\r'], ['Environment', '\r'], ID, ACCESS)
    await terminal.says('cannot be written (ENOSPC)')
    t.equal(await terminal.end(), 1)
    t.strictSame(readdirSync(folder), ['old.yaml'], args)
    t.equal(readFileSync(join(folder, 'old.yaml'), 'utf8'), 'old: true\n')
  }
})

t.test('what can never work is said before anything is asked', async (t) => {
  const folder = t.testdir({ file: '' })
  await refused(
    t,
    { output: join(folder, 'file/p.yaml') },
    1,
    /cannot be written \(ENOTDIR\): check its folder/,
  )
  await refused(t, { force: true, output: folder }, 2, /is a folder: name a file with --output FILE/)
  t.strictSame(readdirSync(folder), ['file'], 'the place was tried without a trace')
  await refused(t, { secretEnv: 'A', secretFile: 'b' }, 2, /exclude each other/)
})

t.test('without a terminal it says how to do without', async (t) => {
  const folder = t.testdir()
  const ended = await runToEnd(t, ['init'], { cwd: folder })
  t.match(ended, { code: 2, out: '', err: /^procore-proxy: init asks questions, and there is no terminal/ })
  for (const way of ['PROCORE_COMPANY_ID', 'PROCORE_CLIENT_SECRET_FILE', 'procore-proxy.sample.yaml'])
    t.match(ended.err, way)
  t.strictSame(readdirSync(folder), [])
})

t.test('names the command that the user has', async (t) => {
  t.equal(programName('file:///clone/src/cli/init.ts'), 'npm run proxy --')
  t.equal(programName('file:///usr/lib/node_modules/procore-proxy/dist/cli/init.js'), 'procore-proxy')
  t.ok(existsSync(new URL('../../config/procore-proxy.sample.yaml', import.meta.url)))
})

t.test('the company is an id or the address of one of its pages', async (t) => {
  for (const answer of ['7656', ' 562949953443325 ', 'https://app.procore.com/7656/company/home/list']) {
    t.equal(checkCompany(answer), undefined, answer)
  }
  const project = 'https://app.procore.com/123/project/home'
  for (const answer of [undefined, '', 'Acme Construction', '123456789012345678901', project]) {
    t.match(checkCompany(answer), { message: /^Write the digits of the id, or paste/ }, String(answer))
  }
})

t.test('the environment that an address belongs to', async (t) => {
  const cases: [string, string | undefined][] = [
    ['7656', undefined],
    ['https://app.procore.com/7656/company/home/list', 'production'],
    ['us02.procore.com/7656/company', 'production'],
    ['https://SANDBOX.procore.com/7656/company/home', 'sandbox'],
    ['https://api-sandbox-monthly.procore.com/7656/company/home', 'monthly-sandbox'],
    ['https://app.procoregov.com/7656/company/home', 'federal'],
    ['https://procore.example/7656/company/home', undefined],
  ]
  for (const [answer, name] of cases) t.equal(guessEnvironment(answer), name, answer)
  const names = BUILT_IN_ENVIRONMENTS.map(({ name }) => name)
  t.strictSame(
    ENVIRONMENTS.map(({ value }) => value),
    names,
  )
})

t.test('client id, secret and origins', async (t) => {
  const check = checkCredential('client id')
  t.equal(check(' 0123abcd '), undefined)
  t.match(check(undefined), { message: 'Write the client id: ' })
  t.match(check(' '), { message: 'Write the client id: ' })
  t.match(check('abc\ndef'), { message: 'A client id contains no spaces: copy it again.' })
  t.equal(checkOrigin(' https://gateway.example '), undefined)
  t.match(checkOrigin('http://gateway.example'), { message: /https.*\.$/ })
  t.match(checkOrigin(undefined), Error)
})
