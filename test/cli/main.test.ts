// The command line itself: version, help, mistakes, and output that cannot be written; and that the program as a whole serves.
import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { CommanderError } from 'commander'
import t from 'tap'
import { COMMANDS } from '../../src/cli/commands.ts'
import { buildProgram, helpSections, withDefaultCommand } from '../../src/cli/program.ts'
import { COMMAND, cleanEnv, MAIN, NEEDS_IMPORT, run, runToEnd, startPlace } from '../fixtures/cli.ts'
import { serves } from '../fixtures/program.ts'
import { HAS_TERMINALS, Terminal } from '../fixtures/terminal.ts'

t.jobs = 2

const [program, ...words] = COMMAND
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

t.test('--version prints the version alone', async (t) => {
  t.match(await runToEnd(t, ['--version'], { cwd: t.testdir() }), { code: 0, out: `${version}\n`, err: '' })
})

t.test('--help lists every command, and each explains itself', async (t) => {
  const whole = await runToEnd(t, ['--help'], { cwd: t.testdir() })
  t.match(whole, { code: 0, err: '' })
  for (const { name, hidden } of COMMANDS) {
    t.equal(new RegExp(`^ +${name}\\b`, 'm').test(whole.out), hidden !== true, `${name} is listed`)
  }
  const one = await runToEnd(t, ['check', '--help'])
  t.match(one, { code: 0, err: '', out: /^Usage: procore-proxy check \[options\]/ })
  for (const spec of COMMANDS) {
    const sections = helpSections(spec)
    for (const title of ['Examples', 'Exit status', 'Documentation'])
      t.match(sections, `\n${title}:\n`, spec.name)
    t.match(spec.about, /^[A-Z].*\.$/, 'whole sentences')
    for (const page of spec.docs.split(', ')) t.match(page, /^docs\/[a-z-]+\.md$/)
  }
})

t.test('a mistake on the command line ends with 2 and a message', async (t) => {
  t.match(await runToEnd(t, ['strat'], { cwd: t.testdir() }), {
    code: 2,
    out: '',
    err: /^procore-proxy: unknown command 'strat'\n\(Did you mean start\?\)\n\(see procore-proxy --help\)\n$/,
  })
  const cases: [string[], RegExp][] = [
    [['--nope'], /^procore-proxy: unknown option '--nope'/],
    [['check', '--ofline'], /^procore-proxy: unknown option '--ofline'\n\(Did you mean --offline\?\)/],
    [['check', '-c', 'a', '--config', 'b'], /^procore-proxy: give --config only once/],
    [['check', '--listen'], /argument missing/],
    [['start', 'extra'], /^procore-proxy: too many arguments/],
    [['start', '--record', 'a', '--replay', 'b'], /cannot be used with/],
    [
      ['start', '--log-level', 'loud'],
      /^procore-proxy: option '--log-level <level>' argument 'loud' is invalid/,
    ],
    [['wait', '--timeout', '5'], /Write a duration such as 30s/],
    [['list', '/rest/x', '--format', 'xml'], /Allowed choices are csv, ndjson, json/],
    [['completion', 'tcsh'], /Allowed choices are bash/],
    [['explain', 'GET'], /missing required argument 'url'/],
    [['token'], /missing required argument 'company'/],
    [['fake', '--api-port', '65536'], /Write a port/],
  ]
  for (const [args, message] of cases) {
    const capture = t.capture(process.stderr, 'write', () => true)
    const parsing = buildProgram().parseAsync(withDefaultCommand(args), { from: 'user' })
    await t.rejects(parsing, CommanderError, args.join(' '))
    capture.restore()
    t.match(capture.args().join(''), message)
  }
})

t.test('flags may come before the command, and without a command it is start', async (t) => {
  const cases: [given: string, parsed: string][] = [
    ['', 'start'],
    ['-c f', 'start -c f'],
    ['-c f check --offline', 'check -c f --offline'],
    ['-c check', 'start -c check'],
    ['--config=f check', 'check --config=f'],
    ['-cf check', 'check -cf'],
    ['--offline check -c f', 'check --offline -c f'],
    ['--json -c status check', 'check --json -c status'],
    ['list /rest/x', 'list /rest/x'],
    ['strat', 'strat'],
    ['--help', '--help'],
  ]
  for (const [given, parsed] of cases)
    t.equal(withDefaultCommand(given.split(' ').filter(Boolean)).join(' '), parsed, given)
})

t.test('--listen takes one address, and what follows is an argument', async (t) => {
  const program = buildProgram()
  const check = program.commands.find((command) => command.name() === 'check')!.action(() => {})
  await program.parseAsync(['check', '-l', '[::1]:1', '--listen', '127.0.0.1:2', 'acme'], { from: 'user' })
  t.strictSame([check.args, check.opts()['listen']], [['acme'], ['[::1]:1', '127.0.0.1:2']])
})

t.test('schema prints the JSON Schema', async (t) => {
  const { code, out, err } = await runToEnd(t, ['schema'], { cwd: t.testdir() })
  t.match({ code, err }, { code: 0, err: '' })
  t.match(JSON.parse(out), { $schema: /json-schema/, type: 'object', properties: { companies: {} } })
})

t.test('output whose reader has gone is not a failure, unless the command fails', async (t) => {
  const { folder, settings, write } = await startPlace(t)
  write(settings({ serviceAccounts: { app: { clientId: 'demo-client', clientSecret: 'wrong-secret' } } }))
  for (const [word, status] of [['schema', 0] as const, ['--help', 0] as const, ['check', 1] as const]) {
    const child = spawn(program, [...words, word], { cwd: folder, env: cleanEnv(folder) })
    child.stdout.destroy()
    const [err] = await Promise.all([text(child.stderr), once(child, 'close')])
    t.strictSame([child.exitCode, err], [status, ''], word)
  }
})

t.test('output that cannot be written is a failure', async (t) => {
  const { folder } = await startPlace(t)
  for (const args of [['--help'], ['check']]) {
    const full = openSync('/dev/full', 'w')
    const options: SpawnOptions = { cwd: folder, env: cleanEnv(folder), stdio: ['ignore', full, 'pipe'] }
    const child = spawn(program, [...words, ...args], options)
    const [err] = await Promise.all([text(child.stderr!), once(child, 'close')])
    closeSync(full)
    t.equal(child.exitCode, 1, args.join())
    t.match(err, /^procore-proxy: the output could not be written: ENOSPC/)
  }
})

t.test('a running proxy whose log can no longer be written goes on serving', async (t) => {
  const { folder } = await startPlace(t)
  const proxy = run(t, [], { cwd: folder })
  const url = await proxy.ready()
  proxy.child.stdout!.destroy()
  for (let count = 0; count < 3; count++) t.equal((await fetch(`${url}/acme/rest/v1.0/me`)).status, 200)
  t.notOk(proxy.over)
  proxy.kill('SIGTERM')
  t.match(await proxy.end(), { code: 0, err: '' })
})

const needsTerminal = HAS_TERMINALS ? {} : { skip: 'no script(1)' }
t.test('colours are for terminals, unless NO_COLOR is set', needsTerminal, async (t) => {
  const cwd = t.testdir()
  const plain = await runToEnd(t, ['check', '--help'], { cwd, env: { FORCE_COLOR: '' } })
  t.notMatch(plain.out, '\x1b[')
  const command = `env -u CI -u FORCE_COLOR -u NO_COLOR COLOUR ${COMMAND.join(' ')} check --help`
  for (const colour of ['', 'NO_COLOR=1']) {
    const terminal = new Terminal(t, command.replace('COLOUR', colour), { cwd })
    t.equal(await terminal.end(), 0)
    t.equal(terminal.raw.includes('\x1b[1mExamples:'), colour === '', colour)
  }
})

t.test('a current folder that was removed is told in a sentence', async (t) => {
  const folder = t.testdir({ gone: {} })
  const script = 'unset NODE_OPTIONS; cd gone && rmdir ../gone && exec "$0" "$@" check'
  const child = spawn('sh', ['-c', script, program, ...words], { cwd: folder, env: cleanEnv(folder) })
  const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
  t.match({ code, err }, { code: 1, err: /^procore-proxy: the current folder was removed\. .*\n$/ })
})

t.test('an unexpected error is printed with its stack', NEEDS_IMPORT, async (t) => {
  const folder = t.testdir({ 'boom.mjs': `process.stdout.write = () => { throw new Error('boom') }` })
  const env = { NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${folder}/boom.mjs` }
  const ended = await runToEnd(t, ['schema'], { cwd: folder, env })
  t.match(ended, { code: 1, err: /^procore-proxy: Error: boom\n +at / })
})

t.test('it serves', async (t) => serves(t, await startPlace(t), MAIN))
