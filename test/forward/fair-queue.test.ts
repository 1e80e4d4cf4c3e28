// Covers src/forward/waiting-line.ts
import fc from 'fast-check'
import t from 'tap'
import { FairQueue } from '../../src/forward/waiting-line.ts'

const any = () => true

/** Items are `caller + number`. */
function filled(...items: string[]): FairQueue<string> {
  const queue = new FairQueue<string>()
  for (const item of items) queue.add(item.charAt(0), item)
  return queue
}

function drained(queue: FairQueue<string>, mayGo: (item: string) => boolean = any): string[] {
  const taken: string[] = []
  for (let item = queue.take(mayGo); item !== undefined; item = queue.take(mayGo)) taken.push(item)
  return taken
}

t.test('Callers take turns; the one that was served comes last', async (t) => {
  t.strictSame(drained(filled('a1', 'a2', 'a3', 'b1', 'c1', 'c2')), ['a1', 'b1', 'c1', 'a2', 'c2', 'a3'])
  const queue = filled('a1', 'a2', 'b1')
  t.equal(queue.take(any), 'a1')
  queue.add('c', 'c1')
  t.strictSame(drained(queue), ['b1', 'a2', 'c1'])
  t.equal(queue.take(any), undefined)
  t.equal(queue.size, 0)
})

t.test('An item that may not go is skipped, and its caller loses no turn', async (t) => {
  const queue = filled('a1', 'a2', 'b1', 'b2')
  t.equal(
    queue.take((item) => item !== 'a1'),
    'a2',
  )
  t.equal(
    queue.take((item) => item === 'b2'),
    'b2',
  )
  t.equal(
    queue.take(() => false),
    undefined,
  )
  t.equal(queue.size, 2)
  t.strictSame([...queue], ['a1', 'b1'])
  t.strictSame(drained(queue), ['a1', 'b1'])
})

t.test('Items leave from anywhere; removing a missing one is no error', async (t) => {
  const queue = filled('a1', 'a2', 'b1')
  queue.remove('a', 'a1')
  queue.remove('a', 'a1')
  queue.remove('b', 'a2')
  queue.remove('z', 'a2')
  t.equal(queue.size, 2)
  queue.remove('b', 'b1')
  t.strictSame(drained(queue), ['a2'])
})

t.test('Whatever happens, each caller is served in order and waits for one round at most', async () => {
  const callers = ['a', 'b', 'c']
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom(...callers), fc.constant('take'))), (events) => {
      const queue = new FairQueue<string>()
      const lanes = new Map(callers.map((caller) => [caller, [] as string[]]))
      const passedOver = new Map(callers.map((caller) => [caller, 0]))
      events.forEach((event, at) => {
        if (event !== 'take') {
          queue.add(event, event + at)
          lanes.get(event)?.push(event + at)
          return
        }
        const waiting = callers.filter((caller) => (lanes.get(caller)?.length ?? 0) > 0)
        const item = queue.take(any)
        if (item === undefined) {
          if (waiting.length > 0) throw new Error('none was served')
          return
        }
        const served = item.charAt(0)
        if (lanes.get(served)?.shift() !== item) throw new Error('out of order')
        for (const caller of waiting) {
          const count = caller === served ? 0 : (passedOver.get(caller) ?? 0) + 1
          if (count >= callers.length) throw new Error(`${caller} waits for more than a round`)
          passedOver.set(caller, count)
        }
      })
      return queue.size === [...lanes.values()].flat().length && [...queue].length === queue.size
    }),
  )
})

t.test('What would be taken next can be seen before it is taken', async (t) => {
  const queue = filled('a1', 'a2', 'a3', 'b1', 'c1')
  t.strictSame(queue.next(4, any), ['a1', 'b1', 'c1', 'a2'])
  t.strictSame(
    queue.next(9, (item) => item !== 'b1'),
    ['a1', 'c1', 'a2', 'a3'],
  )
  queue.yieldTurn('a')
  queue.yieldTurn('unknown')
  t.strictSame(queue.next(2, any), ['b1', 'c1'])
  t.strictSame(drained(queue), ['b1', 'c1', 'a1', 'a2', 'a3'])
})
