// Covers src/cache/response-cache.ts
import t from 'tap'
import { explainCache } from '../../src/cache/cache-request.ts'
import { type KeptResponse, KeptResponses, ResponseCache } from '../../src/cache/response-cache.ts'
import type { CacheSettings, Caller } from '../../src/config/config.ts'
import { ProxyError } from '../../src/errors.ts'
import { CallerGoneError, type Send, type UpstreamResponse } from '../../src/forward/call.ts'
import type { Exchange } from '../../src/observe/exchange.ts'
import { type CallParts, callOf, fakeSend, flat, settle, textOf } from '../fixtures/calls.ts'
import { fakeTime, watch } from '../fixtures/clock.ts'

const OFF: CacheSettings = { coalesce: false, keep: [], refusalsMs: 0, sizeBytes: 64_000_000 }
const PROJECTS = '/rest/v1.0/projects'
const keepFor = (forMs: number, whenExhaustedMs = 0) => ({
  keep: [{ patterns: [PROJECTS], forMs, whenExhaustedMs }],
})

function start(settings: Partial<CacheSettings>) {
  const state = { isExhausted: false }
  const cache = new ResponseCache({ ...OFF, ...settings }, () => state.isExhausted)
  const { send, sent } = fakeSend()
  const caching: Send = (call) => cache.send(call, send)
  return {
    cache,
    sent,
    caching,
    state,
    get: (path = PROJECTS, parts: CallParts = {}) => caching(callOf(path, parts)),
    /** Asks, and lets Procore answer if it was asked. */
    async ask(path = PROJECTS, parts: CallParts = {}, answer = `answer ${sent.length + 1}`, status = 200) {
      const before = sent.length
      const call = callOf(path, parts)
      const response = caching(call)
      await settle()
      sent[before]?.answer(answer, status)
      return { ...(await seen(await response)), saved: call.exchange.saved }
    },
  }
}

async function seen(response: UpstreamResponse) {
  return {
    status: response.status,
    text: await textOf(response),
    cacheStatus: headerOf(response, 'Cache-Status'),
    age: headerOf(response, 'Age'),
  }
}

function headerOf({ rawHeaders }: UpstreamResponse, name: string): string | undefined {
  const at = rawHeaders.lastIndexOf(name)
  return at === -1 ? undefined : rawHeaders[at + 1]
}

const MISS = 'procore-proxy; fwd=miss'
const KEY_PARTS: readonly [string, string, CallParts][] = [
  ['the path', `${PROJECTS}/1`, {}],
  ['the query', `${PROJECTS}?page=2`, {}],
  ['the environment', PROJECTS, { environment: 'https://sandbox.procore.com' }],
  ['the service account', PROJECTS, { account: 'other' }],
  ['the company', PROJECTS, { company: '8' }],
  ['Accept', PROJECTS, { headers: ['accept', 'text/csv'] }],
  ['Accept-Encoding', PROJECTS, { headers: ['Accept-Encoding', 'gzip'] }],
  ['compression that the proxy asks for', PROJECTS, { gzip: true }],
]
const PAST_THE_CACHE: readonly [string, CallParts][] = [
  ['HEAD', { method: 'HEAD' }],
  ['OPTIONS', { method: 'OPTIONS' }],
  ['a request for a part', { headers: ['Range', 'bytes=0-9'] }],
  ['a conditional request', { headers: ['If-None-Match', '"a"'] }],
  ['a conditional request with underscores', { headers: ['If_Modified_Since', 'now'] }],
  ['a header that may ask for another method', { headers: ['X-HTTP-Method-Override', 'DELETE'] }],
  ['a header that may ask for another resource', { headers: ['X-Original-URL', '/rest/v1.0/me'] }],
  ['a GET with a body', { body: {} as never }],
  ['a file host', { origin: 'https://storage.procore.com' }],
]

t.test('200 equal GETs under way go up once, and all get the whole response', async (t) => {
  const { get, sent, caching } = start({ coalesce: true })
  const calls = Array.from({ length: 200 }, () => callOf(PROJECTS))
  const responses = calls.map(caching)
  await settle()
  t.equal(sent.length, 1)
  sent[0]?.answer('everything')
  const answers = await Promise.all(responses.map(async (each) => seen(await each)))
  t.equal(answers.filter(({ text }) => text === 'everything').length, 200)
  t.equal(answers[0]?.cacheStatus, MISS)
  t.strictSame(
    answers.slice(1).filter(({ cacheStatus }) => cacheStatus !== 'procore-proxy; fwd=miss; collapsed'),
    [],
  )
  const saved = calls.map(({ exchange }) => exchange.saved)
  t.strictSame(new Set(saved.slice(1)), new Set(['coalesced']), 'log, metrics and page see it')
  t.equal(saved[0], undefined)
  t.equal(answers[0]?.age, undefined, 'the first came for its very request')
  t.equal(answers[1]?.age, '0')
  const next = get()
  await settle()
  t.equal(sent.length, 2, 'what is over is not joined')
  sent[1]?.answer('again')
  t.equal(await textOf(await next), 'again')
})

t.test('calls that differ are not equal', async (t) => {
  for (const [name, path, parts] of KEY_PARTS) {
    const { get, sent, ask } = start({ coalesce: true, ...keepFor(60_000) })
    await ask()
    t.equal((await ask()).cacheStatus, 'procore-proxy; hit; ttl=59', 'an equal one is a hit')
    void get(path, parts)
    await settle()
    t.equal(sent.length, 2, name)
  }
})

t.test('some calls always go up, and say nothing of the cache', async (t) => {
  for (const [name, parts] of PAST_THE_CACHE) {
    const { ask, sent } = start({ coalesce: true, refusalsMs: 60_000, ...keepFor(60_000) })
    await ask()
    t.strictSame(await ask(PROJECTS, parts, 'fresh'), {
      status: 200,
      text: 'fresh',
      cacheStatus: undefined,
      age: undefined,
      saved: undefined,
    })
    t.equal(sent.length, 2, name)
  }
  const { ask } = start(keepFor(60_000))
  t.equal((await ask('/rest/v1.0/me')).cacheStatus, undefined, 'nothing is configured for this path')
})

t.test('callers that differ in other headers are equal', async (t) => {
  const { ask, sent } = start(keepFor(60_000))
  await ask(PROJECTS, { headers: ['User-Agent', 'a', 'Authorization', 'Bearer a'], queueKey: 'a' })
  await ask(PROJECTS, { headers: ['User-Agent', 'b', 'Authorization', 'Bearer b'], queueKey: 'b' })
  t.equal(sent.length, 1)
})

t.test('a kept response is given again until its time is over', async (t) => {
  const time = fakeTime(t)
  const { ask, sent, cache, caching } = start(keepFor(60_000))
  t.match(await ask(), { text: 'answer 1', cacheStatus: MISS })
  await time.pass(19_000)
  t.match(await ask(), { text: 'answer 1', cacheStatus: 'procore-proxy; hit; ttl=41', age: '19' })
  t.match(cache.stats(), { entries: 1, underWay: 0, underWayBytes: 0 })
  time.sleep(41_000)
  t.match(await ask(), { text: 'answer 2', cacheStatus: MISS }, 'a laptop that slept does not make it last')
  t.equal(sent.length, 2)
  const call = callOf(PROJECTS)
  await caching(call)
  t.match(call.exchange, { cacheStatus: 'procore-proxy; hit; ttl=60', saved: 'kept' })
})

t.test('keep alone does not coalesce', async (t) => {
  const { get, sent } = start(keepFor(60_000))
  void get()
  void get()
  await settle()
  t.equal(sent.length, 2)
  sent[1]?.answer('newer')
  await settle()
  sent[0]?.answer('older')
  await settle()
  t.equal(await textOf(await get()), 'newer', 'the one that was asked for last stays')
})

t.test('older responses are given while the budget is used up', async (t) => {
  const time = fakeTime(t)
  const { ask, state, sent } = start(keepFor(60_000, 600_000))
  await ask()
  await time.pass(100_000)
  state.isExhausted = true
  t.match(await ask(), { text: 'answer 1', cacheStatus: 'procore-proxy; hit; ttl=-40', age: '100' })
  state.isExhausted = false
  t.match(await ask(), { text: 'answer 2' })
  state.isExhausted = true
  await time.pass(600_000)
  t.match(await ask(), { text: 'answer 3' }, 'but not any age')
  t.equal(sent.length, 3)
})

t.test('the older response is given also if only the refusal shows that the budget is used up', async (t) => {
  const time = fakeTime(t)
  const { ask, get, state, sent } = start(keepFor(60_000, 600_000))
  await ask()
  await time.pass(100_000)
  const refused = async () => {
    const response = get()
    await settle()
    sent.at(-1)!.fail(new ProxyError('rate_limited', 'The rate budget is used up.'))
    return await response
  }
  await t.rejects(refused(), { code: 'rate_limited' }, 'for a share that is used up')
  const response = get()
  await settle()
  state.isExhausted = true
  sent.at(-1)!.fail(new ProxyError('rate_limited', 'The rate budget is used up.'))
  t.match(await seen(await response), { text: 'answer 1', cacheStatus: 'procore-proxy; hit; ttl=-40' })
})

t.test('only complete 200 responses are kept', async (t) => {
  const { get, sent, cache } = start({ ...keepFor(60_000), sizeBytes: 160_000 })
  const asked = async () => {
    const response = get()
    await settle()
    return { response, upstream: sent.at(-1)! }
  }
  for (const status of [201, 204, 206, 301, 304, 400, 401, 403, 404, 429, 500, 503]) {
    const { response, upstream } = await asked()
    upstream.answer('x', status)
    t.equal(await textOf(await response), 'x')
  }
  for (const headers of [
    ['Vary', 'Accept, *'],
    ['Set-Cookie', 'a=b'],
  ]) {
    const { response, upstream } = await asked()
    upstream.answer('x', 200, headers)
    await textOf(await response)
  }

  const broken = await asked()
  const body = broken.upstream.head()
  const reading = watch(textOf(await broken.response))
  body.push('half')
  body.fail(new Error('it broke off'))
  await settle()
  t.match(reading.error, { message: 'it broke off' })

  for (const headers of [[], ['Content-Length', '20000']]) {
    const { response, upstream } = await asked()
    upstream.answer(Buffer.alloc(20_000), 200, headers)
    t.equal((await textOf(await response)).length, 20_000, 'longer than a sixteenth of the size')
  }
  t.match(cache.stats(), { entries: 0, underWay: 0, underWayBytes: 0 })
})

t.test('Vary is heeded, by those who join and by what is kept', async (t) => {
  const english = { headers: ['Accept-Language', 'en'] }
  const french = { headers: ['accept-language', 'fr'] }
  const { get, sent, ask } = start({ coalesce: true, ...keepFor(60_000) })
  const responses = [get(PROJECTS, english), get(PROJECTS, french), get(PROJECTS, english)]
  await settle()
  t.equal(sent.length, 1)
  sent[0]?.answer('hello', 200, ['Vary', 'Accept-Language, Origin'])
  await settle()
  t.equal(sent.length, 2, 'the one that differs asks alone')
  sent[1]?.answer('bonjour', 200, ['Vary', 'Accept-Language, Origin'])
  t.strictSame(await Promise.all(responses.map(async (each) => textOf(await each))), [
    'hello',
    'bonjour',
    'hello',
  ])
  t.match(await ask(PROJECTS, english), { text: 'hello', cacheStatus: /hit/ })
  t.match(await ask(PROJECTS, { headers: [...french.headers, 'Origin', 'x'] }), { cacheStatus: MISS })

  const any = start({ coalesce: true })
  const pair = [any.get(), any.get()]
  await settle()
  any.sent[0]?.answer('a', 200, ['Vary', '*'])
  await settle()
  any.sent[1]?.answer('b', 200, ['Vary', '*'])
  t.strictSame(await Promise.all(pair.map(async (each) => textOf(await each))), ['a', 'b'])
})

t.test("the caller's Cache-Control decides how old an answer it takes", async (t) => {
  const time = fakeTime(t)
  const { ask, sent, get } = start({ coalesce: true, ...keepFor(60_000) })
  const asking = (value: string, name = 'Cache-Control') => ask(PROJECTS, { headers: [name, value] })
  await ask()
  await time.pass(10_000)
  t.match(await asking('no-store'), {
    text: 'answer 2',
    cacheStatus: 'procore-proxy; fwd=request',
    age: undefined,
  })
  t.match(await ask(), { text: 'answer 1' }, 'the answer to no-store is not kept')
  t.match(await asking('max-age=11'), { text: 'answer 1' })
  t.match(await asking('max-age=10'), { text: 'answer 3', cacheStatus: 'procore-proxy; fwd=request' })
  t.match(await asking('foo, No-Cache'), { text: 'answer 4', cacheStatus: 'procore-proxy; fwd=request' })
  t.match(await asking('no-cache', 'Pragma'), { text: 'answer 5' })
  t.match(
    await ask(),
    { text: 'answer 5', cacheStatus: /hit/ },
    'the answer to no-cache replaces what was kept',
  )

  await time.pass(60_000)
  void get()
  await time.pass(1)
  void get(PROJECTS, { headers: ['Cache-Control', 'no-cache'] })
  void get(PROJECTS, { headers: ['Cache-Control', 'no-store'] })
  await settle()
  t.equal(sent.length, 8, 'neither joins a call under way')
  void get()
  await settle()
  t.equal(sent.length, 8, 'but calls join the one with no-cache')
  sent[6]?.answer('no-cache')
  await settle()
  sent[5]?.answer('older')
  await settle()
  t.match(await ask(), { text: 'no-cache' })
})

t.test('403 and 404 are given again by path and query', async (t) => {
  const time = fakeTime(t)
  const { ask, sent } = start({ refusalsMs: 30_000 })
  t.match(await ask('/rest/v1.0/a?x=1', {}, 'no', 404), { status: 404, cacheStatus: MISS })
  await time.pass(10_000)
  t.match(await ask('/rest/v1.0/a?x=1'), {
    status: 404,
    text: 'no',
    cacheStatus: 'procore-proxy; hit; detail=refusal; ttl=20',
    age: '10',
    saved: 'refusal',
  })
  t.match(await ask('/rest/v1.0/a?x=2', {}, 'yes'), { status: 200 })
  t.match(await ask('/rest/v1.0/a?x=2', {}, 'no', 403), { status: 403 }, 'a 200 is not kept')
  t.match(await ask('/rest/v1.0/a?x=2'), { status: 403, text: 'no' })
  await time.pass(30_000)
  t.match(await ask('/rest/v1.0/a?x=2'), { status: 200 })
  t.equal(sent.length, 4)
})

t.test('a refusal removes what was kept of its path; a failure of Procore does not', async (t) => {
  const { ask } = start(keepFor(60_000))
  const refresh = { headers: ['Cache-Control', 'no-cache'] }
  await ask()
  for (const status of [500, 429]) await ask(PROJECTS, refresh, 'oops', status)
  t.match(await ask(), { text: 'answer 1' })
  await ask(PROJECTS, refresh, 'no more', 403)
  t.match(await ask(), { cacheStatus: MISS })
})

t.test('a write drops what is kept of its company, if Procore may have carried it out', async (t) => {
  const inDoubt = { isInDoubt: true }
  const cases: readonly [string, number | Error, Partial<Exchange>, boolean][] = [
    ['201', 201, {}, true],
    ['204', 204, {}, true],
    ['302', 302, {}, true],
    ['403', 403, {}, false],
    ['422', 422, {}, false],
    ['422 after a connection that was refused', 422, { retryReasons: ['connection'] }, false],
    ['500', 500, {}, false],
    ['what the first attempt deleted, and the second did not find', 404, inDoubt, true],
    ['a timeout', new ProxyError('upstream_timeout', 'too slow'), inDoubt, true],
    ['a caller that left', new CallerGoneError(), inDoubt, true],
    ['a caller that left before it was sent', new CallerGoneError(), {}, false],
    ['a full budget', new ProxyError('rate_limited', 'wait'), {}, false],
    ['a full budget after a connection that broke', new ProxyError('rate_limited', 'wait'), inDoubt, true],
  ]
  for (const [name, outcome, exchange, drops] of cases) {
    const { ask, sent, get } = start(keepFor(60_000))
    const globex = { company: '8' }
    await ask()
    await ask(PROJECTS, globex, 'of globex')
    const write = get('/rest/v1.0/rfis', { method: 'POST', account: 'another account' })
    await settle()
    Object.assign(sent.at(-1)!.call.exchange, exchange)
    if (typeof outcome === 'number') sent.at(-1)?.answer('', outcome)
    else sent.at(-1)?.fail(outcome)
    await write.catch(() => {})
    t.match(await ask(PROJECTS, {}, 'new'), { text: drops ? 'new' : 'answer 1' }, name)
    t.match(await ask(PROJECTS, globex), { text: 'of globex' }, 'another company keeps its own')
  }
})

t.test('a response under way while a write is answered is neither kept nor joined', async (t) => {
  const { get, sent, ask } = start({ coalesce: true, ...keepFor(60_000) })
  const before = get()
  const joined = get()
  const elsewhere = get(PROJECTS, { company: '8' })
  await settle()
  const write = get(PROJECTS, { method: 'PATCH' })
  await settle()
  sent[2]?.answer('')
  await write
  const after = get()
  await settle()
  t.equal(sent.length, 4)
  sent[3]?.answer('new')
  t.equal(await textOf(await after), 'new')
  sent[0]?.answer('old')
  sent[1]?.answer('other')
  t.equal(
    await textOf(await before),
    'old',
    'those who asked before the write was answered may get the old one',
  )
  t.equal(await textOf(await joined), 'old')
  t.equal(await textOf(await elsewhere), 'other')
  t.match(await ask(), { text: 'new', cacheStatus: /hit/ })
  t.match(await ask(PROJECTS, { company: '8' }), { text: 'other', cacheStatus: /hit/ })
})

t.test('an error ends the calls of the same caller, and others ask for themselves', async (t) => {
  const { get, sent } = start({ coalesce: true })
  const [leader, same, other] = [watch(get()), watch(get()), watch(get(PROJECTS, { queueKey: 'other' }))]
  await settle()
  sent[0]?.fail(new ProxyError('rate_limited', 'its share is used up'))
  await settle()
  t.match([leader.error, same.error], [{ code: 'rate_limited' }, { code: 'rate_limited' }])
  t.equal(sent.length, 2)
  sent[1]?.answer('for the other')
  await settle()
  t.equal(await textOf(other.value!), 'for the other')
})

t.test('a call does not join one that is held back by the share of another caller', async (t) => {
  const { get, sent, state } = start({ coalesce: true })
  const by = (name: string, share?: number) => ({ caller: { name, share } as Caller })
  const ask = async (parts: CallParts) => {
    const before = sent.length
    void get(PROJECTS, parts)
    await settle()
    return sent.length > before
  }
  t.ok(await ask(by('a', 0.25)))
  t.notOk(await ask(by('b')), 'it will be sent at once')
  const { exchange } = sent[0]!.call
  exchange.isQueued = true
  t.notOk(await ask(by('a', 0.25)), 'the same caller is held back too')
  state.isExhausted = true
  t.notOk(await ask(by('b')), 'all callers are held back')
  state.isExhausted = false
  t.ok(await ask(by('b', 0.5)))
  sent[1]!.call.exchange.isQueued = true
  t.ok(await ask(by('c')))
  sent[2]!.call.exchange.isQueued = true
  t.notOk(await ask(by('a', 0.25)), 'c has no share, so others are held back like it')
})

t.test('what was true of the first answer alone is not given again', async (t) => {
  const { get, sent } = start(keepFor(60_000))
  const first = get()
  await settle()
  const headers = flat('Age: 7 | X-Rate-Limit-Remaining: 3 | X-Request-Id: a | Date: then | ETag: "e"')
  sent[0]?.answer('x', 200, headers)
  t.strictSame((await first).rawHeaders, [...headers, 'Cache-Status', MISS])
  const second = await get()
  t.strictSame(second.rawHeaders.slice(0, 4), ['Date', 'then', 'ETag', '"e"'])
  t.match(
    await seen(second),
    { cacheStatus: 'procore-proxy; hit; ttl=52', age: '7' },
    'it was 7 s old on arrival',
  )
})

t.test('a reload keeps what still applies', async (t) => {
  const { ask, cache } = start({ ...keepFor(60_000), refusalsMs: 60_000 })
  await ask()
  await ask('/rest/v1.0/nothing', {}, 'no', 404)
  t.equal(cache.stats().entries, 2)
  cache.configure({ ...OFF, ...keepFor(30_000) })
  t.equal(cache.stats().entries, 1, 'refusals are kept no more')
  t.match(await ask(), { text: 'answer 1', cacheStatus: 'procore-proxy; hit; ttl=29' })
  cache.configure({ ...OFF, ...keepFor(30_000), sizeBytes: 16_000 })
  t.equal(cache.stats().entries, 0, 'an entry has to fit')
})

t.test('a write while the cache is switched off makes what was under way stale', async (t) => {
  const { cache, sent, get, ask, caching } = start(keepFor(60_000))
  const first = get()
  await settle()
  cache.configure(OFF)
  const write = caching(callOf(PROJECTS, { method: 'POST' }))
  await settle()
  sent[1]?.answer('written')
  await textOf(await write)
  cache.configure({ ...OFF, ...keepFor(60_000) })
  sent[0]?.answer('before the write')
  t.equal(await textOf(await first), 'before the write')
  t.match(await ask(), { text: 'answer 3', cacheStatus: MISS })
})

t.test('nothing is sent for a caller that has left', async (t) => {
  const { caching, sent } = start({ coalesce: true })
  const call = callOf(PROJECTS)
  call.departure.leave()
  await t.rejects(caching(call), CallerGoneError)
  t.equal(sent.length, 0)
})

t.test('explain says what the cache would do', async (t) => {
  const keep = [{ patterns: [PROJECTS], forMs: 60_000, whenExhaustedMs: 0 }]
  const longer = [{ patterns: [PROJECTS], forMs: 1_500, whenExhaustedMs: 600_000 }]
  const all = { ...OFF, coalesce: true, keep: longer, refusalsMs: 30_000 }
  const cases: readonly [CacheSettings, ReturnType<typeof callOf>, string | undefined][] = [
    [OFF, callOf(PROJECTS), undefined],
    [{ ...OFF, keep }, callOf('/rest/v1.0/me'), undefined],
    [{ ...OFF, keep }, callOf(`${PROJECTS}?page=2`), 'A response is given again for 60 s.'],
    [
      all,
      callOf(PROJECTS),
      'A response is given again for 1.5 s, and up to 600 s old while the rate budget is used up. A 403 or 404 is given again for 30 s. Equal requests under way at the same time go to Procore once.',
    ],
    [all, callOf(PROJECTS, { method: 'HEAD' }), 'Not used for this request.'],
    [all, callOf(PROJECTS, { headers: ['Range', 'bytes=0-'] }), 'Not used for this request.'],
    [
      all,
      callOf(PROJECTS, { method: 'POST' }),
      'If it succeeds, everything kept of this company is dropped.',
    ],
  ]
  for (const [settings, call, wanted] of cases) t.equal(explainCache(settings, call), wanted)
})

// --- kept responses

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
    t.ok(store.calculatedSize <= 1_600_000)
  }
  t.equal(store.size, 17)
  t.ok(store.get('key 0'))
  t.notOk(store.get('key 1'))
})

t.test('what the request said in headers of Vary counts too', async (t) => {
  const store = new KeptResponses(1_600_000)
  store.set('without', kept(0))
  const before = store.calculatedSize
  store.set('with', { ...kept(0), vary: [['accept-language', 'x'.repeat(30_000)]] })
  t.ok(store.calculatedSize - before > 30_000)
})

t.test('one answer takes at most a sixteenth', async (t) => {
  const store = new KeptResponses(1_600_000)
  t.equal(store.maxEntrySize, 100_000)
  store.set('key', kept(98_000))
  t.ok(store.get('key'))
  store.set('key', kept(99_900))
  t.notOk(store.get('key'), 'its headers count, and the old one is gone')
})

t.test('what is under way takes the place of what is kept', async (t) => {
  const store = new KeptResponses(160_000)
  for (let at = 0; at < 20; at++) store.set(`key ${at}`, kept(7_000))
  const before = store.calculatedSize
  t.ok(store.take(100_000))
  t.ok(store.calculatedSize <= 60_000)
  t.ok(store.calculatedSize < before)
  t.notOk(store.take(60_001))
  t.ok(store.take(60_000))
  t.match(store, { size: 0, calculatedSize: 0, underWayBytes: 160_000 })
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
  t.equal(store.size, 1, 'also what was kept again since')
})
