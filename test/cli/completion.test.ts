// `completion`: the scripts, and what they offer in a shell that really runs.
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import t, { type Test } from 'tap'
import { addCheck } from '../../src/cli/check.ts'
import { addCompletion } from '../../src/cli/completion.ts'
import { complete } from '../../src/cli/completion-run.ts'
import { addExplain } from '../../src/cli/explain.ts'
import { addInit } from '../../src/cli/init.ts'
import { addStart } from '../../src/cli/start.ts'
import { addToken } from '../../src/cli/token.ts'
import { COMMAND, cleanEnv, runToEnd } from '../fixtures/cli.ts'

// Shells are run in the foreground: nothing else can go on meanwhile.
t.jobs = 1
const CONFIG = JSON.stringify({
  companies: {
    acme: { id: '7656', serviceAccount: { clientId: 'a', clientSecret: { env: 'NOT_SET' } } },
    globex: { id: '1', serviceAccount: { clientId: 'a', clientSecret: { command: ['touch', 'ran'] } } },
  },
})

/** The candidates of an answer, whose last line forbids file names. */
function offers(t: Test, lines: readonly string[]): string[] {
  t.equal(lines.at(-1), ':4')
  return lines.slice(0, -1).map((line) => line.split('\t')[0] ?? '')
}

/** What is offered after these words; asked in this process, which is quick. */
async function offered(t: Test, ...words: string[]): Promise<string[]> {
  const program = new Command('procore-proxy')
  for (const add of [addStart, addCheck, addInit, addToken, addExplain, addCompletion]) add(program)
  const log = t.capture(console, 'log')
  await complete(program, words)
  log.restore()
  return offers(
    t,
    log.args().map(([line]) => String(line)),
  )
}

t.test('commands, flags, their values, and companies', async (t) => {
  const folder = t.testdir({ 'procore-proxy.yaml': CONFIG })
  const file = join(folder, 'procore-proxy.yaml')
  const both = ['acme', 'globex']
  const cases: [string[], string[]][] = [
    [['ch'], ['check']],
    [['complet'], ['completion']],
    [['check', '-c', file, ''], both],
    [['token', '-c', file, 'g'], ['globex']],
    [['check', '-c', file, 'acme', 'g'], ['globex']],
    [['check', '--config', file, ''], both],
    [['check', `--config=${file}`, 'a'], ['acme']],
    [['check', '--config', '=', file, 'a'], ['acme']],
    [['-c', file, 'token', 'a'], ['acme']],
    [['check', '-c', 'none.yaml', ''], []],
    [['check', '-c'], ['-c']],
    [['check', '--off'], ['--offline']],
    [['--log-l'], ['--log-level']],
    [['start', '--log-level', 'd'], ['debug']],
    [['start', '--log-level', '=', 'd'], ['debug']],
    [['start', '--log-level=d'], ['debug']],
    [['start', '--environment', 's'], ['sandbox']],
    [['start', '--listen', ''], []],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish', 'powershell'],
    ],
    [['explain', 'DE'], ['DELETE']],
    [['init', '--f'], ['--force']],
  ]
  for (const [words, values] of cases) t.strictSame(await offered(t, ...words), values, words.join(' '))
  const commands = await offered(t, '')
  t.strictSame(commands, ['start', 'check', 'init', 'token', 'explain', 'completion', 'help'])
  const { code, out, err } = await runToEnd(t, ['complete', '--', 'check', ''], { cwd: folder })
  t.strictSame([code, err, offers(t, out.trimEnd().split('\n'))], [0, '', both])
  t.match(await runToEnd(t, ['complete'], { cwd: folder }), { code: 0 })
  t.notMatch((await runToEnd(t, ['--help'], { cwd: folder })).out, /^ +complete /m)
})

t.test('a script for each shell', async (t) => {
  const file = join(t.testdir(), 'script')
  for (const shell of ['bash', 'zsh', 'fish', 'powershell']) {
    const { code, out, err } = await runToEnd(t, ['completion', shell])
    t.strictSame([code, err], [0, ''])
    t.match(out, /procore-proxy complete (-- |'--')/, shell)
    if (spawnSync(shell, ['--version']).error) continue
    writeFileSync(file, out)
    const read = spawnSync(shell, ['-n', file], { encoding: 'utf8' })
    t.strictSame([read.status, read.stderr], [0, ''], `${shell} can read it`)
  }
  t.match(await runToEnd(t, ['completion', 'tcsh']), { code: 2, out: '', err: /Allowed choices are bash/ })
  t.match(await runToEnd(t, ['completion']), { code: 2, out: '' })
})

t.test('bash completes with it', async (t) => {
  const folder = t.testdir({ 'procore-proxy.yaml': CONFIG })
  const program = join(folder, 'procore-proxy')
  writeFileSync(program, `#!/bin/sh\nexec ${COMMAND.map((word) => `'${word}'`).join(' ')} "$@"\n`)
  chmodSync(program, 0o755)
  // As readline has it: the words apart, also at "=".
  const cases: [string[], string][] = [
    [['ch'], 'check'],
    [['check', ''], 'acme globex'],
    [['check', '--config', '=', 'procore-proxy.yaml', 'a'], 'acme'],
    [['start', '--log-format', '='], 'auto json readable'],
    [['start', '--log-level', '=', 'd'], 'debug'],
    [['check', '$(touch ran)', 'g'], 'globex'],
    [['nothing', 'here', ''], ''],
  ]
  const tabs = cases.map(
    ([words]) => `
    COMP_WORDS=(procore-proxy ${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length}
    __procore_proxy_complete
    echo "\${COMPREPLY[*]}"`,
  )
  const script = `
    script=$(procore-proxy completion bash); eval "$script"; eval "$script"
    complete -p procore-proxy >/dev/null || exit 1
    compopt() { :; }
    ${tabs.join('')}`
  const env = { ...cleanEnv(folder), PATH: `${folder}:${process.env['PATH']}` }
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], {
    cwd: folder,
    env,
    encoding: 'utf8',
  })
  t.equal(stderr, '')
  t.strictSame(
    stdout.split('\n').slice(0, -1),
    cases.map(([, values]) => values),
  )
  const { status } = spawnSync('ls', ['ran'], { cwd: folder })
  t.not(status, 0, 'neither a typed word nor the program of a secret was run')
})
