import t from 'tap'
import { coreList, shareCores } from '../../bench/cores.ts'

t.test('a list of cores is read as the kernel writes it', async (t) => {
  t.strictSame(coreList('0-3,8\n'), [0, 1, 2, 3, 8])
  t.strictSame(coreList('5'), [5])
})

t.test('the contender has a core of its own wherever there are two', async (t) => {
  t.match(shareCores([3]), { contender: 3, upstream: 3, load: 3, all: '3', says: 'all on one core' })
  t.match(shareCores([0, 1]), {
    contender: 0,
    upstream: 1,
    load: 1,
    all: '0,1',
    says: 'contender on core 0, upstream and load on core 1',
  })
  t.match(shareCores([2, 4, 6, 8]), {
    contender: 2,
    upstream: 4,
    load: 6,
    all: '2,4,6,8',
    says: 'contender on core 2, upstream on core 4, load on core 6',
  })
  t.match(shareCores([]), { contender: 0, all: '0' })
})
