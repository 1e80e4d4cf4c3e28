// Covers scripts/node.mjs: what it runs gets each signal once, also where npm passes none on.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv, startPlace } from '../fixtures/cli.ts'

const ROOT = join(import.meta.dirname, '../..')

/** Starts a command in a process group of its own and returns what it prints, once the proxy is ready. */
async function start(t: Test, command: readonly [string, ...string[]]) {
  const { folder, file } = await startPlace(t)
  const [program, ...args] = command
  const env = { ...cleanEnv(folder), NODE_OPTIONS: '', PROCORE_PROXY_CONFIG: file }
  const child: ChildProcess = spawn(program, args, { cwd: ROOT, env, detached: true, stdio: 'pipe' })
  const output = { text: '' }
  // Whatever happens in the test, the whole chain of processes ends.
  t.teardown(() => {
    for (const pid of [/"pid":(\d+)/.exec(output.text)?.[1] ?? 0, child.pid ?? 0].map(Number)) {
      try {
        if (pid > 0) process.kill(pid, 'SIGKILL')
      } catch {}
    }
  })
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout!.on('data', (chunk) => {
      output.text += chunk
      if (output.text.includes('token ')) resolve()
    })
    child.once('exit', () => reject(new Error(`it ended early: ${output.text}`)))
  })
  // The pipe closes when the last process that holds it has ended.
  const closed = once(child.stdout!, 'close')
  await ready
  return { pid: child.pid!, output, closed }
}

const SCRIPT = [process.execPath, 'scripts/node.mjs', 'node', 'src/cli/main.ts', 'start'] as const
// The two of npm are the same but for their names.
for (const [title, command, whole] of [
  ['npm start', ['npm', 'start'], false],
  ['the process group of npm run proxy', ['npm', 'run', 'proxy', '--', 'start'], true],
  ['scripts/node.mjs', SCRIPT, false],
  ['the process group of scripts/node.mjs', SCRIPT, true],
] as const) {
  t.test(`SIGTERM to ${title} drains the proxy once`, async (t) => {
    const { pid, output, closed } = await start(t, command)
    process.kill(whole ? -pid : pid, 'SIGTERM')
    await closed
    const messages = output.text
      .split('\n')
      .filter((line) => /"msg":"(draining|stopped|second signal)/.test(line))
    t.equal(messages.length, 2, output.text)
    t.match(messages, [/"signal":"SIGTERM".*draining/, /"msg":"stopped"/])
  })
}

t.test('the exit status of the command is passed on', async (t) => {
  for (const [code, status] of [
    ['process.exit(3)', 3],
    ['process.kill(process.pid, "SIGTERM")', 143],
  ] as const) {
    const child = spawn(process.execPath, ['scripts/node.mjs', 'node', '-e', code], { cwd: ROOT })
    t.strictSame(await once(child, 'exit'), [status, null])
  }
  const child = spawn(process.execPath, ['scripts/node.mjs', 'no-such-program'], { cwd: ROOT })
  t.strictSame(await once(child, 'exit'), [127, null])
})

t.test('packages that are linked to another checkout are never replaced', async (t) => {
  const folder = t.testdir({
    'package.json': readFileSync(join(ROOT, 'package.json'), 'utf8'),
    'package-lock.json': '{}',
    scripts: { 'node.mjs': readFileSync(join(ROOT, 'scripts/node.mjs'), 'utf8') },
    elsewhere: { kept: '' },
    node_modules: t.fixture('symlink', 'elsewhere'),
  })
  const child = spawn(process.execPath, ['scripts/node.mjs', 'node', '-e', ''], { cwd: folder })
  t.strictSame(await once(child, 'exit'), [0, null])
  t.strictSame(readdirSync(join(folder, 'elsewhere')), ['kept'])
})
