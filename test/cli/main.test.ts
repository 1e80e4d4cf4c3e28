// The command line itself: version, help, mistakes, and output that cannot be written.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { CommanderError } from 'commander'
import t from 'tap'
import { COMMANDS } from '../../src/cli/commands.ts'
import { buildProgram, helpSections, withDefaultCommand } from '../../src/cli/program.ts'
import { COMMAND, cleanEnv, NEEDS_IMPORT, run, runToEnd, startPlace } from '../fixtures/cli.ts'
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
    err: /^error: unknown command 'strat'\n\(Did you mean start\?\)\n\(see procore-proxy --help\)\n$/,
  })
  const cases: [string[], RegExp][] = [
    [['--nope'], /^error: unknown option '--nope'/],
    [['check', '--ofline'], /^error: unknown option '--ofline'\n\(Did you mean --offline\?\)/],
    [['check', '-c', 'a', '--config', 'b'], /Give --config only once/],
    [['check', '--listen'], /argument missing/],
    [['start', 'extra'], /^error: too many arguments/],
    [['start', '--record', 'a', '--replay', 'b'], /cannot be used with/],
    [['start', '--log-level', 'loud'], /^error: option '--log-level <level>' argument 'loud' is invalid/],
    [['wait', '--timeout', '5'], /Write a duration such as 30s/],
    [['fake', '--api-port', '65536'], /Write a port/],
  ]
  for (const [args, message] of cases) {
    const capture = t.capture(process.stderr, 'write', () => true)
    const parsing = buildProgram().parseAsync(withDefaultCommand(args), { from: 'user' })
    const error = await parsing.then(
      () => undefined,
      (error: Error) => error,
    )
    capture.restore()
    t.type(error, CommanderError, args.join(' '))
    t.match(capture.args().join(''), message)
  }
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

t.test('output whose reader has gone is no failure', async (t) => {
  const folder = t.testdir()
  for (const args of [['schema'], ['--help']]) {
    const child = spawn(program, [...words, ...args], { cwd: folder, env: cleanEnv(folder) })
    child.stdout.destroy()
    let err = ''
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    const [code] = await once(child, 'close')
    t.strictSame([code, err], [0, ''], args.join())
  }
})

t.test('output that cannot be written is a failure', async (t) => {
  const { folder } = await startPlace(t)
  for (const args of [['--help'], ['check']]) {
    const full = openSync('/dev/full', 'w')
    const child = spawn(program, [...words, ...args], {
      cwd: folder,
      env: cleanEnv(folder),
      stdio: ['ignore', full, 'pipe'],
    })
    let err = ''
    child.stderr!.on('data', (chunk) => {
      err += chunk
    })
    const [code] = await once(child, 'close')
    closeSync(full)
    t.equal(code, 1, args.join())
    t.match(err, /^procore-proxy: the output could not be written: ENOSPC/)
  }
})

t.test('check keeps its exit status where its reader leaves early', async (t) => {
  const { folder, settings, write } = await startPlace(t)
  write(settings({ serviceAccounts: { app: { clientId: 'demo-client', clientSecret: 'wrong-secret' } } }))
  const child = spawn(program, [...words, 'check'], { cwd: folder, env: cleanEnv(folder) })
  child.stdout.destroy()
  t.strictSame(await once(child, 'close'), [1, null])
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

t.test(
  'colours are for terminals, unless NO_COLOR is set',
  HAS_TERMINALS ? {} : { skip: 'no script(1)' },
  async (t) => {
    const cwd = t.testdir()
    const plain = await runToEnd(t, ['check', '--help'], { cwd, env: { FORCE_COLOR: '' } })
    t.notMatch(plain.out, '\x1b[')
    const command = `env -u FORCE_COLOR -u NO_COLOR COLOUR ${COMMAND.join(' ')} check --help`
    for (const [colour, isColoured] of [
      ['', true],
      ['NO_COLOR=1', false],
    ] as const) {
      const terminal = new Terminal(t, command.replace('COLOUR', colour), { cwd })
      t.equal(await terminal.end(), 0)
      t.equal(terminal.raw.includes('\x1b[1mExamples:'), isColoured, colour)
    }
  },
)

t.test('an unexpected error is printed with its stack', NEEDS_IMPORT, async (t) => {
  const folder = t.testdir({ 'boom.mjs': `process.stdout.write = () => { throw new Error('boom') }` })
  const env = { NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${folder}/boom.mjs` }
  t.match(await runToEnd(t, ['schema'], { cwd: folder, env }), {
    code: 1,
    err: /^procore-proxy: Error: boom\n +at /,
  })
})
