// Covers scripts/prose.ts: phrases that the check reports.
import t from 'tap'
import { findingsIn } from '../../scripts/prose.ts'

t.test('phrases that readers stumble over are found with their line, also across a line break', async (t) => {
  const text = '// How to mend it.\n// It is told\n// as such.\n/**\n * Whoever\n * stands\n * behind it */\n'
  t.strictSame(
    findingsIn(text).map(({ line, phrase }) => [line, phrase]),
    [
      [1, 'mend'],
      [2, 'is told as'],
      [5, 'Whoever'],
      [6, 'stands behind'],
    ],
  )
})

t.test('parts of other words are not', async (t) => {
  t.strictSame(findingsIn('recommend amended, understands in, withstands once'), [])
})
