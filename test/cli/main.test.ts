// The command line itself: version, help, mistakes, and output that nobody reads to its end.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { COMMAND, cleanEnv, NEEDS_IMPORT, run, runToEnd, startPlace } from '../fixtures/cli.ts'

t.jobs = 2
const [program, ...words] = COMMAND
const COMMANDS = [
  'start',
  'check',
  'demo',
  'status',
  'wait',
  'schema',
  'init',
  'token',
  'explain',
  'completion',
]
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

t.test('--version prints the version alone', async (t) => {
  t.match(await runToEnd(t, ['--version'], { cwd: t.testdir() }), { code: 0, out: `${version}\n`, err: '' })
})

t.test('--help, of the program and of every command', async (t) => {
  const whole = await runToEnd(t, ['--help'], { cwd: t.testdir() })
  t.match(whole, { code: 0, err: '' })
  for (const name of COMMANDS) {
    t.match(whole.out, new RegExp(`^ +${name}\\b`, 'm'), `${name} is listed`)
    const one = await runToEnd(t, [name, '--help'])
    t.match(one, { code: 0, err: '' })
    t.match(one.out, `Usage: procore-proxy ${name} `)
  }
})

t.test('words that mean nothing end with 2 and a message', async (t) => {
  t.testdir()
  const cases: [string[], RegExp][] = [
    [['strat'], /^error: unknown command 'strat'; there are: start, .*schema/],
    [['--nope'], /^error: unknown option '--nope'/],
    [['check', '--nope'], /^error: unknown option '--nope'/],
    [['start', 'extra'], /^error: too many arguments/],
    [['start', '--log-level', 'loud'], /^error: option '--log-level <level>' argument 'loud' is invalid/],
    [['wait', '--timeout', '5'], /Write a duration such as 30s/],
  ]
  for (const [args, message] of cases) {
    const ended = await runToEnd(t, args)
    t.match(ended, { code: 2, out: '', err: message }, args.join(' '))
    t.notMatch(ended.err, /^ +at /m, 'no stack')
  }
})

t.test('schema prints the JSON Schema', async (t) => {
  const { code, out, err } = await runToEnd(t, ['schema'], { cwd: t.testdir() })
  t.match({ code, err }, { code: 0, err: '' })
  t.match(JSON.parse(out), { $schema: /json-schema/, type: 'object', properties: { companies: {} } })
})

t.test('output that nobody reads any more is no failure', async (t) => {
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

t.test('a running proxy whose log nobody reads any more drains', async (t) => {
  const { folder } = await startPlace(t)
  const proxy = run(t, [], { cwd: folder })
  const [url = ''] = await proxy.listening()
  await proxy.ready()
  proxy.child.stdout!.destroy()
  await fetch(`${url}/acme/rest/v1.0/me`)
  t.match(await proxy.end(), { code: 0, err: '' })
})

t.test('an error that nobody foresaw is told with its stack', NEEDS_IMPORT, async (t) => {
  const folder = t.testdir({ 'boom.mjs': `process.stdout.write = () => { throw new Error('boom') }` })
  const env = { NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${folder}/boom.mjs` }
  t.match(await runToEnd(t, ['schema'], { cwd: folder, env }), {
    code: 1,
    err: /^procore-proxy: Error: boom\n +at /,
  })
})
