// Twin of src/fake/journal.ts.
import t from 'tap'
import { Journal, type JournalEntry } from '../../src/fake/journal.ts'

function entry(fields: Partial<JournalEntry> = {}): JournalEntry {
  return {
    server: 'api',
    at: 0,
    socket: 1,
    httpVersion: '1.1',
    method: 'GET',
    url: '/',
    rawHeaders: [],
    headers: {},
    bodyBytes: 0,
    bodySha256: '',
    aborted: false,
    answer: 'pending',
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
  t.equal(journal.login().length, 5)
  t.same(journal.tokenRequests(), tokens)
  journal.clear()
  t.equal(journal.entries.length, 0)
})

t.test('beyond its limit the oldest entries go', async (t) => {
  const journal = new Journal(20)
  for (let at = 0; at < 50; at += 1) {
    const one = entry({ at })
    journal.add(one)
    journal.keepBody(one, 'abc')
    t.ok(journal.entries.length <= 20)
  }
  t.equal(journal.entries.at(-1)?.at, 49)
})

t.test('beyond its limit of kept text the oldest bodies go, their entries stay', async (t) => {
  const journal = new Journal(20, 10)
  const [first, second, third] = [entry(), entry(), entry()]
  for (const one of [first, second, third]) {
    journal.add(one)
    journal.keepBody(one, '12345')
  }
  t.equal(first.body, undefined)
  t.equal(third.body, '12345')
  t.equal(journal.entries.length, 3)
})

t.test('a text larger than the limit is not kept', async (t) => {
  const journal = new Journal(20, 3)
  const only = entry()
  journal.keepBody(only, '12345')
  t.equal(only.body, undefined)
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
