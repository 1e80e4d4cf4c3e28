// Covers src/fake/listener.ts.
import t from 'tap'
import { Journal, type JournalEntry } from '../../src/fake/listener.ts'

function entry(fields: Partial<JournalEntry> = {}): JournalEntry {
  return {
    ...{ server: 'api', at: 0, socket: 1, httpVersion: '1.1', method: 'GET', url: '/', rawHeaders: [] },
    ...{ headers: {}, bodyBytes: 0, bodySha256: '', aborted: false, answer: 'pending' },
    ...fields,
  }
}

t.test('entries are told apart by server, and token requests by method and path', async (t) => {
  const journal = new Journal()
  const post = (url: string) => entry({ server: 'login', method: 'POST', url })
  const tokens = [post('/oauth/token'), post('/oauth/token/'), post('/oauth/token?a=1')]
  const others = [post('/oauth/revoke'), entry({ server: 'login', url: '/oauth/token' })]
  for (const one of [...tokens, ...others, entry(), entry({ server: 'storage' })]) journal.add(one)
  t.equal(journal.api().length, 1)
  t.equal(journal.storage().length, 1)
  t.same(journal.tokenRequests(), tokens)
  journal.clear()
  t.equal(journal.entries.length, 0)
})

t.test('beyond its limits the oldest entries and bodies go', async (t) => {
  const journal = new Journal(20, 3)
  for (let at = 0; at < 50; at += 1) {
    journal.add(entry({ at, body: 'abc' }))
    t.ok(journal.entries.length <= 20)
  }
  const kept = journal.entries.filter(({ body }) => body !== undefined)
  t.match(kept, [{ at: 47 }, { at: 48 }, { at: 49 }])
  t.equal(kept.length, 3)
})

t.test('when() gives a past entry, a coming one, or one that changes to fit', async (t) => {
  const journal = new Journal()
  const coming = journal.when(({ url }) => url === '/coming')
  const changing = journal.when(({ aborted }) => aborted)
  const one = entry({ url: '/coming' })
  journal.add(one)
  t.equal(await coming, one)
  t.equal(await journal.when(({ url }) => url === '/coming'), one)
  one.aborted = true
  journal.changed(one)
  t.equal(await changing, one)
})
