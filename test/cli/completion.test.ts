// `completion`: what each script offers in a shell that really runs.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { completionScript } from '../../scripts/completions.ts'
import { COMMANDS, SHELLS } from '../../src/cli/commands.ts'
import { completion } from '../../src/cli/completion.ts'
import { ownFile } from '../../src/observe/own-files.ts'
import { COMMAND, cleanEnv, runToEnd } from '../fixtures/cli.ts'
import { HAS_TERMINALS, Terminal } from '../fixtures/terminal.ts'

// Shells are run in the foreground: nothing else can go on meanwhile.
t.jobs = 1
const CONFIG = JSON.stringify({
  companies: {
    acme: { id: '7656', serviceAccount: { clientId: 'a', clientSecret: { env: 'NOT_SET' } } },
    globex: { id: '1', serviceAccount: { clientId: 'a', clientSecret: { command: ['touch', 'ran'] } } },
  },
})
const isThere = (shell: string) => spawnSync(shell, ['--version']).error === undefined
const needs = (shell: string) => (isThere(shell) ? {} : { skip: `${shell} is not installed` })

/** A folder with a configuration, in which `procore-proxy` is a command. */
function place(t: Test) {
  const folder = t.testdir({ 'procore-proxy.yaml': CONFIG, 'other.yaml': '', recordings: {} })
  const program = join(folder, 'procore-proxy')
  writeFileSync(program, `#!/bin/sh\nexec ${COMMAND.map((word) => `'${word}'`).join(' ')} "$@"\n`)
  chmodSync(program, 0o755)
  const env = { ...cleanEnv(folder), PATH: `${folder}:${process.env['PATH']}` }
  const shell = (name: string, ...args: string[]) =>
    spawnSync(name, args, { cwd: folder, env, encoding: 'utf8', timeout: 30_000 })
  return { folder, shell }
}

t.test('bash completes commands, flags, values, files and companies', async (t) => {
  const { folder, shell } = place(t)
  // As readline has it: the words apart, also at "=".
  const cases: [words: string[], offered: string][] = [
    [['ch'], 'check'],
    [['complet'], 'completion'],
    [['check', ''], 'acme globex'],
    [['check', '--config', '=', 'procore-proxy.yaml', 'a'], 'acme'],
    [['token', '-c', 'procore-proxy.yaml', 'g'], 'globex'],
    [['check', '-c', 'none.yaml', ''], ''],
    [['check', '--off'], '--offline'],
    [['--log-l'], '--log-level'],
    [['start', '--log-format', '='], 'auto json readable'],
    [['start', '--log-level', '=', 'd'], 'debug'],
    [['start', '--environment', 's'], 'sandbox'],
    [['start', '--replay', 're'], 'recordings'],
    [['start', '--config', 'oth'], 'other.yaml'],
    [['start', '--listen', ''], ''],
    [['usage', 'oth'], 'other.yaml'],
    [['explain', 'DE'], 'DELETE'],
    [['completion', ''], 'bash zsh fish powershell'],
    [['check', '$(touch ran)', 'g'], 'globex'],
  ]
  const tabs = cases.map(
    ([words]) => `
    COMP_WORDS=(procore-proxy ${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length}
    _procore_proxy
    echo "\${COMPREPLY[*]}"`,
  )
  const script = `
    script=$(procore-proxy completion bash); eval "$script"; eval "$script"
    complete -p procore-proxy >/dev/null || exit 1
    compopt() { :; }
    ${tabs.join('')}`
  const { stdout, stderr } = shell('bash', '--norc', '-c', script)
  t.equal(stderr, '')
  const offered = stdout.split('\n').slice(0, -1)
  for (const [index, [words, wanted]] of cases.entries()) t.equal(offered[index], wanted, words.join(' '))
  t.notOk(existsSync(join(folder, 'ran')), 'no typed word and no program of a secret was run')
})

t.test('fish completes with its script', needs('fish'), async (t) => {
  const { shell } = place(t)
  const cases: [line: string, offered: string[]][] = [
    ['ch', ['check']],
    ['check ', ['acme', 'globex']],
    ['check --off', ['--offline']],
    ['--log-l', ['--log-level']],
    ['start --log-level d', ['debug']],
    ['start --replay re', ['recordings/']],
    ['explain DE', ['DELETE']],
    ['completion f', ['fish']],
  ]
  const tabs = cases.map(([line]) => `complete -C 'procore-proxy ${line}'; echo ;`)
  const script = `procore-proxy completion fish | source; ${tabs.join('')}`
  const { stdout, stderr } = shell('fish', '--no-config', '-c', script)
  t.equal(stderr, '')
  const texts = stdout.split(/^\n/m)
  for (const [index, [line, wanted]] of cases.entries())
    t.strictSame(texts[index]?.match(/^[^\t\n]+/gm)?.sort(), wanted, line)
})

const needsZsh = HAS_TERMINALS ? needs('zsh') : { skip: 'no script(1) of util-linux' }
t.test('zsh completes with its script', needsZsh, async (t) => {
  const { folder } = place(t)
  const env = { PATH: `${folder}:${process.env['PATH']}` }
  const terminal = new Terminal(t, 'zsh -f -i', { cwd: folder, env })
  const load = "autoload -Uz compinit; compinit -u -D; source <(procore-proxy completion zsh); echo load''ed"
  terminal.type(`${load}\r`)
  await terminal.says('loaded')
  const cases: [typed: string, completed: string][] = [
    ['check ac', 'check acme'],
    ['check --offl', 'check --offline'],
    ['start --log-level=deb', 'start --log-level=debug'],
    ['completion powers', 'completion powershell'],
    ['explain DEL', 'explain DELETE'],
    ['--log-l', '--log-level='],
  ]
  for (const [typed, completed] of cases) {
    terminal.type(`procore-proxy ${typed}\t`)
    await terminal.says(`procore-proxy ${completed}`)
    // Ctrl-U: an empty line again.
    terminal.type('\x15')
  }
  terminal.type('exit\r')
})

t.test('each script is one that its shell can read, and knows every command', async (t) => {
  const { folder } = place(t)
  for (const shell of SHELLS) {
    const text = completionScript(shell)
    t.equal(ownFile(`completions/procore-proxy.${shell}`), text, 'the generated file is fresh')
    for (const { name, hidden } of COMMANDS) if (!hidden) t.match(text, name, `${shell} ${name}`)
    t.notMatch(text, '--login-port', 'hidden commands stay hidden')
    if (shell === 'powershell' || !isThere(shell)) continue
    const file = join(folder, 'script')
    writeFileSync(file, text)
    const read = spawnSync(shell, ['-n', file], { encoding: 'utf8' })
    t.strictSame([read.status, read.stderr], [0, ''], shell)
  }
  t.match(JSON.parse(/@'\n(.*)\n'@/s.exec(completionScript('powershell'))?.[1] ?? ''), [{ name: 'start' }])
})

t.test('no shell, and a configuration that cannot be read', async (t) => {
  const { folder } = place(t)
  const print = (...args: string[]) => runToEnd(t, ['completion', ...args], { cwd: folder })
  await t.rejects(completion(undefined, {}), { status: 2, message: /name a shell: bash/ })
  t.match(await print('--companies'), { code: 0, out: 'acme\nglobex\n' })
  t.match(await print('--companies', '-c', 'no'), { code: 0, out: '', err: '' })
  t.match(await print('powershell'), { code: 0, err: '', out: completionScript('powershell') })
})
