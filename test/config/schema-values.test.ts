import t from 'tap'
import * as z from 'zod/mini'
import { OddNumber } from '../../src/config/document.ts'
import * as values from '../../src/config/schema-values.ts'

/** The value, or the error's message without its fix. */
function read(schema: z.ZodMiniType, input: unknown): unknown {
  const result = schema.safeParse(input)
  return result.success ? result.data : `! ${result.error.issues[0]?.message.split('\n')[0]}`
}

t.test('a duration is a number with a unit, and becomes milliseconds', async (t) => {
  const duration = z.prefault(values.duration(1), '10s')
  const good: [unknown, number][] = [
    [undefined, 10_000],
    ['10s', 10_000],
    ['500ms', 500],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['1.5s', 1500],
    ['24d', 2_073_600_000],
  ]
  for (const [input, expected] of good) t.equal(read(duration, input), expected)
  for (const input of [10, '10', '-1s', 's', '', '10 bananas', '10s ', '1y', '1e3s', '١s', true, null, {}]) {
    t.match(read(duration, input), /is not a duration/, JSON.stringify(input))
  }
  for (const input of ['0s', '0.4ms', '25d', '9999999999d'])
    t.match(read(duration, input), /is out of range/, input)
  const tooLong = duration.safeParse('25d')
  t.match(tooLong.error?.issues[0]?.message, /Write a duration from 1ms to 24d$/)
  t.equal(read(values.duration(), '0s'), 0)
})

t.test('a socket has a mode in octal that lets its owner in', async (t) => {
  const read1 = (mode: unknown) => read(values.listenAddress, { path: '/a', mode })
  for (const mode of ['660', '0660', '0o660', 660, new OddNumber('0660'), new OddNumber('0o660')]) {
    t.strictSame(read1(mode), { kind: 'unix', path: '/a', mode: 0o660 })
  }
  t.strictSame(read(values.listenAddress, { path: '/a' }), { kind: 'unix', path: '/a', mode: 0o600 })
  for (const mode of ['060', '66', '6600', '689', 432, 'rw', true, null]) {
    const result = values.listenAddress.safeParse({ path: '/a', mode })
    t.match(JSON.stringify(result.error?.issues), /file mode/, JSON.stringify(mode))
  }
})

t.test('a value in a message is short, and never what is inside of a map or list', async (t) => {
  t.equal(values.shown('a'), '"a"')
  t.equal(values.shown({ clientSecret: 's3cret' }), 'a map')
  t.equal(values.shown(['s3cret']), 'a list')
  t.equal(values.shown(null), 'null')
  t.equal(values.shown(new OddNumber('0x1')), '0x1')
})

t.test('text keeps message and fix apart', async (t) => {
  t.equal(values.says('a', 'b')({ input: 1 }), 'a\nb')
  t.equal(values.says((input) => `${input}!`, 'b')({ input: 1 }), '1!\nb')
  t.equal(values.says('a', 'b')({}), 'is missing\nb')
})

t.test('a size is a number with a unit, and becomes bytes', async (t) => {
  const { size } = values
  for (const [input, bytes] of Object.entries({ '64MB': 64e6, '1MiB': 1_048_576, '2000KB': 2e6, '1GB': 1e9 }))
    t.equal(read(size, input), bytes)
  for (const input of ['64', 64, '64mb', '64MBs', '1.5MB', '-1MB', '64 MB', '', null])
    t.match(read(size, input), /is not a size/)
  const small = size.safeParse('1KB')
  t.match(small.error?.issues[0]?.message, /Write a size from 1MB to 16GB$/)
  for (const input of ['999KB', '17GB', '999999GiB']) t.match(read(size, input), /is out of range/, input)
})

t.test('a percentage becomes a part of one', async (t) => {
  for (const [input, part] of Object.entries({ '1%': 0.01, '25%': 0.25, '100%': 1 }))
    t.equal(read(values.percentage, input), part)
  for (const input of ['0%', '101%', '25', 25, 0.25, '2.5%', '-1%', '025%', '25%%', null])
    t.match(read(values.percentage, input), /is not a percentage/, JSON.stringify(input))
})
