import t from 'tap'
import { difference, percentile, ratio, summary } from '../../bench/statistics.ts'

t.test('a percentile is the nearest rank', async (t) => {
  const hundred = Array.from({ length: 100 }, (_, nth) => nth + 1)
  t.equal(percentile(hundred, 0.5), 50)
  t.equal(percentile(hundred, 0.99), 99)
  t.equal(percentile(hundred, 1), 100)
  t.equal(percentile(hundred, 0), 1)
  t.equal(percentile([7], 0.99), 7)
  t.equal(percentile([1, 2], 0.5), 1)
  t.equal(percentile(Float64Array.of(1, 2, 3), 0.5), 2)
  t.ok(Number.isNaN(percentile([], 0.5)))
})

t.test('rounds are summed up by their middle and their spread', async (t) => {
  t.strictSame(summary([3, 1, 2]), { median: 2, least: 1, most: 3 })
  t.strictSame(summary([10, 2, 4, 1]), { median: 3, least: 1, most: 10 })
  t.strictSame(summary([5]), { median: 5, least: 5, most: 5 })
})

t.test('rounds that failed do not count', async (t) => {
  t.strictSame(summary([null, 4, Number.NaN, 2]), { median: 3, least: 2, most: 4 })
  t.equal(summary([null]), undefined)
  t.equal(summary([]), undefined)
  t.equal(summary(undefined), undefined)
})

t.test('ratios are taken round by round, so that a slow minute hits both', async (t) => {
  // The second round was twice as slow for both.
  t.strictSame(ratio([10, 20, 10], [5, 10, 5]), { median: 2, least: 2, most: 2 })
  t.strictSame(ratio([10, null, 12], [5, 1, 4]), { median: 2.5, least: 2, most: 3 })
  t.strictSame(ratio([10, 9, 8], [0, -3, 4]), { median: 2, least: 2, most: 2 }, 'nothing to divide by')
})

t.test('rounds that are no pairs are compared by their medians', async (t) => {
  t.strictSame(ratio([10, 20, 30], [10]), { median: 2, least: 2, most: 2 })
  t.equal(ratio([1], []), undefined)
  t.equal(ratio(undefined, [1]), undefined)
  t.equal(ratio([1], undefined), undefined)
})

t.test('what is added is what lies above the same round of the base', async (t) => {
  t.strictSame(difference([10, 20, 30, null, 5], [1, 2, null, 4]), [9, 18, null, null, null])
  t.equal(difference(undefined, [1]), undefined)
  t.equal(difference([1], undefined), undefined)
})
