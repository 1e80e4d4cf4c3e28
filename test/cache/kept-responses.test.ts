// Covers src/cache/kept-responses.ts
import t from 'tap'
import { type KeptResponse, KeptResponses } from '../../src/cache/kept-responses.ts'

function kept(bytes: number, companyKey = 'acme'): KeptResponse {
  return {
    companyKey,
    pathname: '/rest/v1.0/projects',
    status: 200,
    statusText: 'OK',
    rawHeaders: ['Content-Type', 'application/json'],
    body: Buffer.alloc(bytes),
    vary: [],
    sentAt: 0,
    sentAtWall: 0,
    ageOnArrivalMs: 0,
  }
}

t.test('all of it stays within the size, and the least used goes first', async (t) => {
  const store = new KeptResponses(1_600_000)
  for (let at = 0; at < 100; at++) {
    store.set(`key ${at}`, kept(90_000))
    store.get('key 0')
    t.ok(store.stats.bytes <= 1_600_000)
  }
  t.equal(store.stats.entries, 17)
  t.ok(store.get('key 0'))
  t.notOk(store.get('key 1'))
})

t.test('one answer takes at most a sixteenth', async (t) => {
  const store = new KeptResponses(1_600_000)
  t.equal(store.mostBytes, 100_000)
  store.set('key', kept(98_000))
  t.ok(store.get('key'))
  store.set('key', kept(99_900))
  t.notOk(store.get('key'), 'its headers count, and the old one is gone')
})

t.test('what is under way takes the place of what is kept', async (t) => {
  const store = new KeptResponses(160_000)
  for (let at = 0; at < 20; at++) store.set(`key ${at}`, kept(7_000))
  const before = store.stats.bytes
  t.ok(store.take(100_000))
  t.ok(store.stats.bytes <= 60_000)
  t.ok(store.stats.bytes < before)
  t.notOk(store.take(60_001))
  t.ok(store.take(60_000))
  t.match(store.stats, { entries: 0, bytes: 0, underWayBytes: 160_000 })
  store.give(160_000)
  t.ok(store.take(1))
})

t.test('everything of one company is dropped', async (t) => {
  const store = new KeptResponses(1_600_000)
  store.set('a', kept(1))
  store.set('b', kept(1))
  store.set('c', kept(1, 'globex'))
  store.set('a', kept(2))
  store.drop('acme')
  store.drop('unknown')
  t.match([store.get('a'), store.get('b')], [undefined, undefined])
  t.ok(store.get('c'))
  store.set('a', kept(1))
  store.drop('acme')
  t.equal(store.stats.entries, 1, 'also what was kept again since')
})
