// Covers src/observe/batched.ts: fewer writes, no line lost, none late.
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { batched } from '../../src/observe/batched.ts'
import { createLogger } from '../../src/observe/log.ts'
import { fakeTime } from '../fixtures/clock.ts'

t.test('lines of a moment are one write, at most 100 ms later', async (t) => {
  const time = fakeTime(t)
  const writes: string[] = []
  const stream = batched({ write: (lines) => void writes.push(String(lines)) })
  stream.write('a\n')
  stream.write('b\n')
  t.strictSame(writes, [])
  t.equal(time.timers().holding, 0, 'it keeps no process alive')
  await time.pass(100)
  t.strictSame(writes, ['a\nb\n'])
  await time.pass(1_000)
  stream.flushSync()
  t.equal(writes.length, 1, 'nothing is no write')
  stream.write('c\n')
  stream.flushSync()
  await time.pass(100)
  t.strictSame(writes.slice(1), ['c\n'])
  const line = `${'x'.repeat(10_000)}\n`
  for (let n = 0; n < 7; n++) stream.write(line)
  t.ok(writes.length > 2, 'many do not wait')
  stream.flushSync()
  t.equal(writes.slice(2).join(''), line.repeat(7))
  const huge = `${'é'.repeat(40_000)}\n`
  stream.write('before\n')
  stream.write(huge)
  t.strictSame(
    writes.slice(-2),
    ['before\n', huge],
    'what is longer than all that waits goes by itself, in turn',
  )
})

t.test('a terminal gets each line at once, and is still known for one', async (t) => {
  const writes: string[] = []
  const stream = batched({ write: (lines) => void writes.push(String(lines)), isTTY: true })
  createLogger({ level: 'info', format: 'auto' }, stream).info('hello')
  t.match(writes, [/ INFO {2}hello\n$/])
})

t.test('a fatal line is written at once', async (t) => {
  const writes: string[] = []
  const stream = batched({ write: (lines) => void writes.push(String(lines)) })
  const log = createLogger({ level: 'info', format: 'json' }, stream)
  log.info('before')
  log.fatal('the end')
  t.match(writes, [/before.*\n.*the end/])
})

t.test('however a process ends by itself, its lines are written', async (t) => {
  const source = pathToFileURL(`${import.meta.dirname}/../../src/observe/batched.ts`)
  const endings = ['', 'process.exit(3)', "throw new Error('x')", "Promise.reject(new Error('x'))"]
  for (const ending of endings) {
    const script = `const { batched } = await import('${source}'); batched(process.stdout).write('last line\\n'); ${ending}`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    })
    t.equal(stdout, 'last line\n', ending)
  }
})
