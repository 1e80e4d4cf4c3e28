// Covers src/observe/log.ts: a slow, closed or full output neither ends the process nor fills its memory.
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import type { Readable } from 'node:stream'
import t from 'tap'
import { createLogger, LogOutput, type LogStream } from '../../src/observe/log.ts'
import { fakeTime } from '../fixtures/clock.ts'

/** An output whose reader, disk and size a test decides on. */
class FakeStream extends EventEmitter {
  writableLength = 0
  isTTY = false
  fails: Error | undefined
  readonly written: string[] = []

  write(text: string, done: (error?: Error | null) => void): boolean {
    if (this.fails === undefined) this.written.push(text)
    else this.emit('error', this.fails)
    done(this.fails)
    return true
  }
}

function open(isTTY = false) {
  const stream = new FakeStream()
  stream.isTTY = isTTY
  const output = new LogOutput(stream as unknown as LogStream)
  const log = createLogger({ level: 'info', format: 'json' }, output)
  return { stream, output, log }
}

t.test('Lines are written together after 100 ms, or once they come to 64 KB', async (t) => {
  const time = fakeTime(t)
  const { stream, output, log } = open()
  log.info('one')
  log.info('two')
  await time.pass(99)
  t.equal(stream.written.length, 0)
  await time.pass(1)
  t.match(stream.written, [/"one".*\n.*"two".*\n$/])
  t.equal(time.timers().holding, 0, 'no process waits for it')
  for (let n = 0; n < 700; n++) output.write(`${'x'.repeat(99)}\n`)
  t.equal(stream.written[1]?.length, 65_600)
  await time.pass(100)
  t.equal(stream.written.join('').length, 70_000 + (stream.written[0]?.length ?? 0), 'and none is lost')
})

t.test('A fatal line is written at once, and so is each line on a terminal', async (t) => {
  const { stream, log } = open()
  log.info('before')
  log.fatal('end')
  t.match(stream.written, [/before.*\n.*end/])
  const terminal = open(true)
  terminal.log.info('now')
  t.match(terminal.stream.written, [/now/])
})

t.test(
  'A reader that is slow loses lines beyond 1 MB, and the log says how many once it reads again',
  async (t) => {
    const { stream, output, log } = open()
    stream.writableLength = 1024 * 1024 + 1
    for (let n = 0; n < 3; n++) log.info('lost')
    output.flushSync()
    t.equal(output.lost, 3)
    stream.writableLength = 0
    log.info('read')
    output.flushSync()
    output.flushSync()
    t.match(stream.written, [/"read"/, /"level":"warn".*"lines":3,"msg":"log lines were lost/])
    log.info('more')
    output.flushSync()
    t.equal(stream.written.length, 3, 'that is said once')
  },
)

t.test(
  'A closed pipe and a full disk lose lines and nothing else; what follows begins a line of its own',
  async (t) => {
    const { stream, output, log } = open()
    for (const code of ['EPIPE', 'ENOSPC']) {
      stream.fails = Object.assign(new Error(code), { code })
      log.info('lost')
      output.flushSync()
    }
    t.equal(output.lost, 2)
    stream.fails = undefined
    log.info('back')
    output.flushSync()
    output.flushSync()
    t.match(stream.written, [/^\n\{.*"back"/, /^\{.*"lines":2/])
  },
)

t.test('The end waits for a slow reader, but not for ever', async (t) => {
  const { stream, output, log } = open()
  log.info('last')
  stream.writableLength = 5
  const started = performance.now()
  await output.finish(60)
  t.ok(performance.now() - started >= 60)
  t.equal(stream.written.length, 1)
  stream.writableLength = 0
  await output.finish(60_000)
})

const WRITER = `
  import { LogOutput } from ${JSON.stringify(new URL('../../src/observe/log.ts', import.meta.url).href)}
  const output = new LogOutput(process.stdout)
  for (let round = 0; round < 4; round++) {
    for (let n = 0; n < 10_000; n++) output.write('x'.repeat(99) + '\\n')
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  process.stderr.write(String(output.lost))
  await output.finish(100)
  process.exit(0)
`

t.test('A process goes on and ends although its output is closed, full, or not read', async (t) => {
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  for (const [name, stdout] of [
    ['closed', 'pipe'],
    ['full', full],
    ['not read', 'pipe'],
  ] as const) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER], {
      stdio: ['ignore', stdout, 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    if (name === 'closed') child.stdout?.destroy()
    const [lost] = (await once(child.stderr as Readable, 'data')) as [Buffer]
    t.ok(Number(lost) > 10_000, `${name}: ${lost} lines were lost`)
    t.strictSame(await once(child, 'exit'), [0, null], name)
  }
})
