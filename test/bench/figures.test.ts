// Covers bench/figures.ts, and that the size of the benchmark keeps within its bounds.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { median, ratio, shown, table } from '../../bench/figures.ts'

t.test('medians and ratios', async (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.ok(Number.isNaN(median([])))
  t.equal(ratio([1, 4, 3], [2, 4, 2]), 1, 'the median of 0.5, 1 and 1.5')
  t.ok(Number.isNaN(ratio([1], [])))
})

t.test('what is shown of a number', async (t) => {
  t.strictSame([0.456, 9.999, 12.3, Number.NaN, undefined].map(shown), ['0.46', '10.00', '12', '–', '–'])
})

t.test('tables have aligned columns', async (t) => {
  t.equal(
    table([
      ['', 'a'],
      ['row', '1.00'],
    ]),
    '|     | a    |\n| --- | ---- |\n| row | 1.00 |',
  )
})

t.test('the benchmark stays small', async (t) => {
  const files = globSync('bench/**/*.*', { cwd: join(import.meta.dirname, '../..') })
  t.ok(files.length > 5)
  const lines = files.reduce((sum, file) => sum + readFileSync(file, 'utf8').split('\n').length, 0)
  t.ok(lines < 1_500, `${lines} lines`)
})
