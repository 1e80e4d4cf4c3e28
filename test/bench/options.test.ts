import t from 'tap'
import { lengthOf, OptionError, readOptions, USAGE } from '../../bench/options.ts'

t.test(
  'without words the whole comparison is run, three rounds, and nothing is written into the docs',
  async (t) => {
    t.match(readOptions([]), {
      command: 'compare',
      only: undefined,
      rounds: 3,
      seconds: undefined,
      quick: false,
      json: undefined,
      plots: false,
      writeDocs: false,
      help: false,
    })
  },
)

t.test('every option is read, with its value behind it or behind =', async (t) => {
  const words = 'growth --only nginx,caddy --rounds=2 --seconds 7 --json out.json --plots --write-docs --help'
  t.match(readOptions(words.split(' ')), {
    command: 'growth',
    only: ['nginx', 'caddy'],
    rounds: 2,
    seconds: 7,
    json: 'out.json',
    plots: true,
    writeDocs: true,
    help: true,
  })
})

t.test('--quick is one short round, of which --rounds and --seconds may still differ', async (t) => {
  t.match(readOptions(['--quick']), { quick: true, rounds: 1 })
  t.match(readOptions(['--quick', '--rounds', '2']), { quick: true, rounds: 2 })
})

t.test('a soak takes ten minutes, any other figure three seconds, unless told', async (t) => {
  const usual = readOptions([])
  const quick = readOptions(['--quick'])
  t.equal(lengthOf('compare', usual), 3)
  t.equal(lengthOf('soak', usual), 600)
  t.equal(lengthOf('compare', quick), 1)
  t.equal(lengthOf('soak', quick), 20)
  t.equal(lengthOf('soak', readOptions(['--seconds', '30'])), 30)
})

for (const [words, message] of [
  [['--rounds'], '--rounds needs a value'],
  [['--only', '--quick'], '--only needs a value'],
  [['--rounds', 'two'], '--rounds two: a whole number above 0'],
  [['--seconds', '0'], '--seconds 0: a whole number above 0'],
  [['--quick=yes'], '--quick takes no value'],
  [['--fast'], 'there is no option --fast'],
  [['faster'], 'there is no command faster; there are: compare, growth'],
  [['growth', 'soak'], 'two commands: growth and soak'],
  [['all', '--json', 'x'], '--json takes one result, not all'],
] as const) {
  t.test(`${words.join(' ')} is refused with what would make sense`, async (t) => {
    t.throws(() => readOptions(words), new OptionError())
    t.throws(() => readOptions(words), { message: new RegExp(`^${message}`) })
  })
}

t.test('the usage names every option and command', async (t) => {
  for (const word of ['compare', 'growth', 'soak', 'http2', 'processes', 'all', 'docs']) t.match(USAGE, word)
  for (const word of ['only', 'rounds', 'seconds', 'quick', 'json', 'plots', 'write-docs']) {
    t.match(USAGE, `--${word}`)
  }
})
