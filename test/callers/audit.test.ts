// Covers src/callers/audit.ts
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Audit, type AuditEntry, openAudit } from '../../src/callers/audit.ts'
import { fakeTime } from '../fixtures/clock.ts'

const entry = (reqId: string, more: Partial<AuditEntry> = {}): AuditEntry => ({
  time: '2026-01-02T03:04:05.678Z',
  reqId,
  caller: 'excel',
  company: 'acme',
  environment: 'production',
  method: 'POST',
  path: '/rest/v1.0/projects/7/rfis?a=*',
  status: 201,
  durationMs: 12,
  ...more,
})

function logger() {
  const lines: [level: string, fields: Record<string, unknown>, message: string][] = []
  return {
    lines,
    log: {
      warn: (fields: object, message: string) => void lines.push(['warn', { ...fields }, message]),
      info: (fields: object, message: string) => void lines.push(['info', { ...fields }, message]),
    },
  }
}

function place(t: Test): string {
  return join(t.testdir({ audit: {} }), 'audit', 'audit.jsonl')
}

/** An audit of a file of its own. */
async function start(t: Test) {
  const file = place(t)
  const { log, lines } = logger()
  return { file, lines, audit: await openAudit({ file }, log) }
}

const linesOf = (file: string) => readFileSync(file, 'utf8').split('\n')
const idsIn = (file: string) =>
  linesOf(file)
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as AuditEntry).reqId)

t.test('Each entry is a line, on disk when its promise resolves, in a file with mode 600', async (t) => {
  const { file, lines, audit } = await start(t)
  await audit.record(entry('a'))
  t.same(JSON.parse(linesOf(file)[0]!), entry('a'))
  await Promise.all([
    audit.record(entry('b', { caller: undefined, cause: 'access_denied' })),
    audit.record(entry('c')),
  ])
  t.notMatch(linesOf(file)[1], /caller"/)
  await audit.record(entry('d', { path: '/x\x9b2J\u2028\u202e\x7f' }))
  t.match(linesOf(file)[3], '"/x\\u009b2J\\u2028\\u202e\\u007f"', 'what could steer a terminal is escaped')
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.doesNotThrow(() => audit.assertWritable())
  const many = Array.from({ length: 2_000 }, (_, i) => audit.record(entry(`m${i}`)))
  await Promise.all(many)
  t.equal(idsIn(file).length, 2_004, 'more than one batch')
  const last = audit.record(entry('last'))
  await audit.close()
  await last
  t.equal(idsIn(file).at(-1), 'last', 'close() writes what waits')
  await t.rejects(audit.record(entry('late')), { code: 'audit_unavailable' })
  t.equal(lines.length, 1)
})

t.test('A half line at the end is ended, and other permissions are narrowed', async (t) => {
  const file = place(t)
  writeFileSync(file, `${JSON.stringify(entry('a'))}\n{"time":"20`, { mode: 0o644 })
  const audit = await openAudit({ file }, logger().log)
  await audit.record(entry('b'))
  await audit.close()
  const lines = linesOf(file)
  t.equal(lines[1], '{"time":"20')
  t.equal(JSON.parse(lines[2]!).reqId, 'b')
  t.equal(statSync(file).mode & 0o777, 0o600)
  const again = await openAudit({ file }, logger().log)
  await again.record(entry('c'))
  await again.close()
  t.equal(linesOf(file).length, 5, 'a whole line is not ended twice')
})

t.test('A file that can’t be opened at start is an error', async (t) => {
  const { log } = logger()
  await t.rejects(openAudit({ file: join(t.testdir(), 'missing', 'audit.jsonl') }, log), { code: 'ENOENT' })
  const message = /^audit\.file cannot be opened: EISDIR.* Correct the path/
  await t.rejects(openAudit({ file: t.testdir() }, log), { code: 'EISDIR', syscall: 'open', message })
})

t.test('Reopened after a rotation, it goes on in the new file', async (t) => {
  const { file, audit } = await start(t)
  await audit.record(entry('a'))
  renameSync(file, `${file}.1`)
  await audit.record(entry('b'))
  await audit.reopen()
  await audit.record(entry('c'))
  await audit.close()
  t.same([idsIn(`${file}.1`), idsIn(file)], [['a', 'b'], ['c']])
})

t.test(
  'A file that is deleted begins anew with the next line; without its folder, writes are refused',
  async (t) => {
    const { file, lines, audit } = await start(t)
    await audit.record(entry('a'))
    rmSync(file)
    await audit.record(entry('b'))
    await audit.record(entry('c'))
    t.same(idsIn(file), ['b', 'c'])
    t.match(lines, [['warn', { file }, /was deleted/]])
    t.equal(statSync(file).mode & 0o777, 0o600)
    writeFileSync(`${file}.new`, `${JSON.stringify(entry('other'))}\n{"time`)
    renameSync(`${file}.new`, file)
    await audit.record(entry('d'))
    t.equal(linesOf(file)[1], '{"time')
    t.equal(JSON.parse(linesOf(file)[2]!).reqId, 'd', 'a file that took its place is added to')
    rmSync(join(file, '..'), { recursive: true })
    await t.rejects(audit.record(entry('e')), { code: 'audit_unavailable' })
    t.throws(() => audit.assertWritable(), { code: 'audit_unavailable' })
    mkdirSync(join(file, '..'))
    await audit.reopen()
    t.doesNotThrow(() => audit.assertWritable())
    t.same(idsIn(file), ['e'], 'the line came late')
    await audit.close()
  },
)

t.test(
  'What could not be written is tried once more when the file is closed; what is lost then is told',
  async (t) => {
    for (const isBack of [true, false]) {
      const file = join(t.testdir(), 'gone', 'audit.jsonl')
      mkdirSync(join(file, '..'))
      const { log, lines } = logger()
      const audit = await openAudit({ file }, log)
      rmSync(join(file, '..'), { recursive: true })
      await t.rejects(audit.record(entry('a')), { code: 'audit_unavailable' })
      if (isBack) mkdirSync(join(file, '..'))
      await audit.close()
      if (isBack) t.same(idsIn(file), ['a'])
      else t.match(lines.at(-1), ['warn', { file, lines: 1 }, /are lost/])
    }
  },
)

t.test(
  'While the disk is full, writes are refused, with one warning a minute; then it all goes on',
  { skip: existsSync('/dev/full') ? false : 'no /dev/full' },
  async (t) => {
    const clock = { now: 0 }
    t.intercept(performance, 'now', { value: () => clock.now })
    const { log, lines } = logger()
    const audit = await openAudit({ file: '/dev/full' }, log)
    await t.rejects(audit.record(entry('a')), { code: 'audit_unavailable', status: 503 })
    t.throws(() => audit.assertWritable(), { code: 'audit_unavailable', retryAfterSeconds: 1 })
    for (let i = 0; i < 5; i++) await t.rejects(audit.record(entry('b')), { code: 'audit_unavailable' })
    t.equal(lines.length, 1)
    t.match(lines[0], ['warn', { error: { code: 'ENOSPC' } }, /writes are refused/])
    clock.now += 60_000
    await t.rejects(audit.record(entry('c')), { code: 'audit_unavailable' })
    t.equal(lines.length, 2, 'again after a minute')
    await audit.close()
  },
)

t.test('A disk that becomes full within a line gets no line twice', async (t) => {
  const { file, audit } = await start(t)
  await audit.record(entry('a'))
  const { size } = statSync(file)
  const probe = await open(file)
  await probe.close()
  const prototype = Object.getPrototypeOf(probe)
  const { write } = prototype
  // The first half of the second line fits, and later the rest of it and half of the third one.
  let free = Math.floor(size * 1.5)
  const fake = (bytes: Buffer, at: number, length = bytes.length - at) => {
    if (free === 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    const now = Math.min(free, length)
    free -= now
    return [bytes, at, now]
  }
  t.intercept(prototype, 'write', {
    value: async function (this: unknown, bytes: Buffer, at: number) {
      return await write.apply(this, fake(bytes, at))
    },
  })
  const recorded = ['b', 'c', 'd', 'e'].map((id) => audit.record(entry(id)))
  for (const result of await Promise.allSettled(recorded)) t.equal(result.status, 'rejected')
  free = size * 2
  await audit.reopen()
  t.throws(() => audit.assertWritable(), { code: 'audit_unavailable' })
  free = Number.POSITIVE_INFINITY
  await audit.reopen()
  t.doesNotThrow(() => audit.assertWritable())
  await audit.record(entry('f'))
  await audit.close()
  const whole = linesOf(file).filter((line) => line.endsWith('}'))
  const ids = whole.map((line) => (JSON.parse(line) as AuditEntry).reqId)
  t.same(ids, ['a', 'b', 'c', 'd', 'e', 'f'])
})

t.test('A folder that goes and comes back is found by itself, and no line is lost', async (t) => {
  const { file, lines, audit } = await start(t)
  rmSync(join(file, '..'), { recursive: true })
  await audit.reopen()
  t.throws(() => audit.assertWritable(), { code: 'audit_unavailable' })
  for (let i = 0; i < 1_500; i++) audit.record(entry(`x${i}`)).catch(() => {})
  await t.rejects(audit.record(entry('last')), { code: 'audit_unavailable' })
  mkdirSync(join(file, '..'))
  // Opening and writing what was kept is one piece of work: what is recorded later comes after it.
  while (!existsSync(file)) await setImmediate()
  await audit.record(entry('after'))
  t.doesNotThrow(() => audit.assertWritable())
  await audit.close()
  const ids = idsIn(file)
  t.same([ids.length, ids.at(-2), ids.at(-1)], [1_001, 'last', 'after'], 'the last thousand were kept')
  t.match(lines.at(-1), ['info', { late: 1_000, lost: 501 }, /can be written again/])
})

/** Files whose operations wait for `gate`; `broken` names one that fails. */
async function slowDisk(t: Test, file: string) {
  const probe = await open(file, 'a')
  const prototype = Object.getPrototypeOf(probe)
  await probe.close()
  const disk = { gate: Promise.resolve(), broken: '', waiting: new Map<string, number>() }
  for (const name of ['write', 'stat', 'datasync']) {
    const real = prototype[name]
    const count = (more: number) => disk.waiting.set(name, (disk.waiting.get(name) ?? 0) + more)
    t.intercept(prototype, name, {
      value: async function (this: unknown, ...args: unknown[]) {
        count(1)
        await disk.gate
        count(-1)
        if (name === disk.broken) throw Object.assign(new Error('bad disk'), { code: 'EIO' })
        return await real.apply(this, args)
      },
    })
  }
  /** Lets it hang; returns what makes it answer again. */
  const hang = () => {
    const gate = Promise.withResolvers<void>()
    disk.gate = gate.promise
    return gate.resolve
  }
  return Object.assign(disk, { hang })
}

/** Records lines, and notes what becomes of each. */
function inspector(audit: Audit) {
  const seen: string[] = []
  const record = (id: string, more: Partial<AuditEntry> = {}) =>
    void audit.record(entry(id, more)).then(
      () => seen.push(`${id} ok`),
      ({ code }) => seen.push(`${id} ${code}`),
    )
  return { seen, record }
}

/** An audit on a slow disk, while time stands still. */
async function startSlow(t: Test) {
  const started = await start(t)
  const disk = await slowDisk(t, started.file)
  return { ...started, disk, ...inspector(started.audit), time: fakeTime(t) }
}

const untilIdle = async (audit: Audit) => {
  await audit.reopen()
  await audit.reopen()
}

t.test(
  'A disk that does not answer is one that can’t be written; nothing waits for it for long',
  async (t) => {
    const { file, lines, audit, disk, seen, record, time } = await startSlow(t)
    for (const isLongTime of [false, true]) {
      seen.length = 0
      const answer = disk.hang()
      record('writing')
      await time.pass(1)
      record('waiting')
      await time.pass(2_800)
      t.same(seen, [])
      t.doesNotThrow(() => audit.assertWritable())
      await time.pass(200)
      t.same(seen, ['writing audit_unavailable', 'waiting audit_unavailable'])
      t.throws(() => audit.assertWritable(), { code: 'audit_unavailable' })
      if (isLongTime) await time.pass(600_000)
      for (let nth = 0; nth < 1_200; nth++) record(`late${nth}`)
      await time.settle()
      t.equal(seen.length, 1_202, 'at once')
      t.equal(disk.waiting.get('write'), 1, 'nothing else is begun')
      const { set } = time.timers()
      t.ok(set <= 2, `${set} timers`)
      answer()
      await untilIdle(audit)
      t.doesNotThrow(() => audit.assertWritable())
      t.match(lines.at(-1), ['info', { late: 1_000, lost: 201 }, /can be written again/])
      record('after')
      await untilIdle(audit)
      const ids = idsIn(file)
      t.same([ids[0], ids.at(-1), ids.length], ['writing', 'after', 1_002])
      writeFileSync(file, '')
    }
    t.match(
      lines.filter(([level]) => level === 'warn'),
      [
        ['warn', { error: { message: /does not answer/ } }, /writes are refused/],
        ['warn', {}, /writes are refused/],
        ['warn', {}, /writes are refused/],
      ],
    )
    await audit.close()
  },
)

t.test(
  'A request costs no more for the lines that a disk that does not answer has yet to take',
  async (t) => {
    const { file, audit, disk, seen, record, time } = await startSlow(t)
    const answer = disk.hang()
    for (let nth = 0; nth < 300; nth++) record(`writing${nth}`)
    await time.pass(3_000)
    t.equal(seen.length, 300)
    const before = process.cpuUsage()
    for (let nth = 0; nth < 1_000; nth++) record(`late${nth}`)
    await time.settle()
    const { user } = process.cpuUsage(before)
    t.ok(user < 500_000, `${user} µs for a thousand`)
    t.equal(seen.length, 1_300)
    answer()
    await untilIdle(audit)
    t.equal(idsIn(file).length, 1_300)
    await audit.close()
  },
)

t.test('What comes while kept lines are written to a slow disk is kept too', async (t) => {
  const { file, lines, audit, disk, seen, record, time } = await startSlow(t)
  disk.broken = 'write'
  record('a')
  await untilIdle(audit)
  disk.broken = ''
  const answer = disk.hang()
  await time.pass(5_000)
  record('b')
  await time.settle()
  t.same(seen, ['a audit_unavailable', 'b audit_unavailable'])
  answer()
  await untilIdle(audit)
  t.same(idsIn(file), ['a', 'b'])
  t.match(lines.at(-1), ['info', { late: 2, lost: 0 }, /can be written again/])
  await audit.close()
})

t.test('Closing waits for no disk that does not answer, and tells what is lost', async (t) => {
  for (const isRetry of [false, true]) {
    const { lines, audit, disk, record, time } = await startSlow(t)
    if (isRetry) disk.broken = 'write'
    if (isRetry) record('before')
    if (isRetry) await untilIdle(audit)
    const answer = disk.hang()
    await time.pass(isRetry ? 1_000 : 0)
    record('a')
    await time.pass(1)
    record('b')
    const closed = audit.close()
    await time.pass(3_000)
    await closed
    t.match(lines.at(-1), ['warn', { lines: isRetry ? 3 : 2 }, /are lost/])
    answer()
    while (time.timers().set > 0) await setImmediate()
  }
})

t.test('Lines that wait are bounded in bytes, and so are those that are kept', async (t) => {
  const { file, lines, audit } = await start(t)
  const { seen, record } = inspector(audit)
  const path = 'x'.repeat(64 * 1024)
  for (let nth = 0; nth < 1_100; nth++) record(`m${nth}`, { path })
  t.throws(() => audit.assertWritable(), { code: 'audit_unavailable' })
  await untilIdle(audit)
  t.ok(seen.every((each) => each.endsWith('audit_unavailable')))
  t.doesNotThrow(() => audit.assertWritable())
  t.match(lines.at(-1), ['info', { late: 63, lost: 1_100 - 63 }, /can be written again/])
  t.equal(idsIn(file).at(-1), 'm1099')
  await audit.close()
})

t.test('Where a look at the file fails after a line was written, the line is in it once', async (t) => {
  const { file, audit } = await start(t)
  const disk = await slowDisk(t, file)
  disk.broken = 'stat'
  await audit.record(entry('a'))
  t.doesNotThrow(() => audit.assertWritable())
  await audit.reopen()
  t.throws(
    () => audit.assertWritable(),
    { code: 'audit_unavailable' },
    'a file that is opened has to be looked at',
  )
  disk.broken = ''
  await audit.reopen()
  await audit.record(entry('b'))
  await audit.close()
  t.same(idsIn(file), ['a', 'b'])
})

t.test('A disk that takes writes and never syncs occupies one thread only', async (t) => {
  const { audit, disk, time } = await startSlow(t)
  const write = async (id: string) => {
    const written = audit.record(entry(id))
    await time.pass(1)
    await written
  }
  await write('a')
  const answer = disk.hang()
  await time.pass(1_000)
  t.equal(disk.waiting.get('datasync'), 1)
  disk.gate = Promise.resolve()
  await write('b')
  await time.pass(5_000)
  t.equal(disk.waiting.get('datasync'), 1)
  answer()
  while (time.timers().set === 0) await setImmediate()
  disk.hang()
  await time.pass(1_000)
  t.equal(disk.waiting.get('datasync'), 1, 'what was written during the first is synced too')
})

const isRoot = process.getuid?.() === 0 ? 'root may write everything' : false
t.test('A read-only file is unavailable after a rotation', { skip: isRoot }, async (t) => {
  const { file, audit } = await start(t)
  chmodSync(file, 0o400)
  await audit.reopen()
  t.throws(() => audit.assertWritable(), { code: 'audit_unavailable' })
  await audit.close()
})

t.test('kill -9 loses no line whose promise had resolved, and tears none', async (t) => {
  const file = place(t)
  const script = `
    import { openAudit } from ${JSON.stringify(new URL('../../src/callers/audit.ts', import.meta.url).href)}
    import { writeSync } from 'node:fs'
    const audit = await openAudit({ file: ${JSON.stringify(file)} }, { warn() {}, info() {} })
    const entry = ${JSON.stringify(entry(''))}
    let id = 0
    const worker = async () => {
      for (;;) {
        const reqId = process.argv[1] + '-' + id++
        await audit.record({ ...entry, reqId })
        writeSync(1, reqId + '\\n')
      }
    }
    for (let i = 0; i < 50; i++) worker()`
  const seen = new Set<string>()
  for (let round = 0; round < 10; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, `r${round}`])
    let text = ''
    child.stdout.on('data', (chunk) => {
      text += chunk
      if (text.length > 5_000 * (1 + (round % 3))) child.kill('SIGKILL')
    })
    await once(child, 'close')
    for (const id of text.split('\n').slice(0, -1)) seen.add(id)
  }
  appendFileSync(file, '')
  const lines = linesOf(file)
  const whole = new Set<string>()
  let torn = 0
  for (const line of lines.filter((each) => each !== '')) {
    try {
      whole.add((JSON.parse(line) as AuditEntry).reqId)
    } catch {
      torn++
    }
  }
  t.ok(seen.size > 2_000, `${seen.size} lines were seen to be written`)
  t.same(
    [...seen].filter((id) => !whole.has(id)),
    [],
  )
  t.ok(torn <= 10, 'at most the last line of a round, which no one had seen end')
})
