// Covers src/shared/shared-tokens.ts, on a real Redis by a fake clock.

import t, { type Test } from 'tap'
import { type IssuedToken, TokenFailure } from '../../src/auth/request-token.ts'
import { Tokens } from '../../src/auth/token-source.ts'
import { Secret } from '../../src/config/config.ts'
import { SharedDownError } from '../../src/shared/redis-link.ts'
import { sealOf, shareTokens } from '../../src/shared/shared-tokens.ts'
import { fakeTime, watch } from '../fixtures/clock.ts'
import { testAccount, testEnvironment } from '../fixtures/config.ts'
import { hasRedis, keepImmediate, startRedis, type TestRedis, TimedLink } from '../fixtures/redis.ts'

let opened = 0
const SECOND = 1_000
const rejected = () => new TokenFailure('rejected', 'the login server refused the credentials (HTTP 401)')

/** Replicas with one login server: it answers after 300 ms with `t1`, `t2`, … unless told otherwise. */
function replicas(t: Test, redis: TestRedis, count: number) {
  const login = {
    calls: 0,
    answer: (n: number): IssuedToken | Error => ({ value: `t${n}`, lifetimeMs: 5_400_000 }),
  }
  const prefix = `test${++opened}`
  const links = Array.from({ length: count }, (_, nth) => new TimedLink(redis.connection, prefix, `r${nth}`))
  const time = fakeTime(t, () => links.some((link) => link.isBusy))
  keepImmediate()
  const logIn = async () => {
    const nth = ++login.calls
    await new Promise((resolve) => setTimeout(resolve, 300))
    const answer = login.answer(nth)
    if (answer instanceof Error) throw answer
    return answer
  }
  const all = links.map((link) => {
    const tokens = new Tokens(shareTokens(logIn, link), () => {})
    t.teardown(() => tokens.close())
    return { link, tokens, source: tokens.source(testAccount()) }
  })
  const values = () => all.map(({ source }) => source.current()?.value)
  return { all, time, login, links, values, prefix }
}

t.test('Tokens', async (t) => {
  if (!hasRedis(t)) return
  const redis = await startRedis(t)

  t.test('replicas that start together make one token request, and one renewal', async (t) => {
    const it = replicas(t, redis, 8)
    for (const { source } of it.all) source.prefetch()
    await it.time.pass(SECOND)
    t.strictSame(new Set(it.values()), new Set(['t1']))
    t.equal(it.login.calls, 1)
    await it.time.pass(4_050 * SECOND)
    it.values()
    await it.time.pass(SECOND)
    t.strictSame(new Set(it.values()), new Set(['t2']))
    t.equal(it.login.calls, 2)
  })

  t.test('a replica that starts later uses the token with its age', async (t) => {
    const it = replicas(t, redis, 2)
    const [first, second] = it.all
    await Promise.all([first?.source.get(), it.time.pass(SECOND)])
    await it.time.pass(1_000 * SECOND)
    const [token] = await Promise.all([second?.source.get(), it.time.pass(10)])
    t.equal(token?.value, 't1')
    t.equal(Date.now() - (token?.obtainedAt ?? 0), 1_001_010)
    t.equal(it.login.calls, 1)
  })

  t.test('after a 401 one replica renews for all, once a minute', async (t) => {
    const it = replicas(t, redis, 4)
    const refuse = async () => {
      const tokens = await Promise.all(it.all.map(({ source }) => source.get()))
      const fates = it.all.map(({ source }, nth) => source.replacement(tokens[nth] as (typeof tokens)[0]))
      await it.time.pass(SECOND)
      return Promise.all(fates.map(async (fate) => (await fate)?.value))
    }
    for (const { source } of it.all) source.prefetch()
    await it.time.pass(SECOND)
    t.strictSame(await refuse(), ['t2', 't2', 't2', 't2'])
    t.equal(it.login.calls, 2)
    // Another process, whose own minute has not begun.
    const link = new TimedLink(redis.connection, it.prefix, 'late')
    const logIn = async () => ({ value: 'new', lifetimeMs: 1e6 })
    const late = new Tokens(shareTokens(logIn, link), () => {})
    t.teardown(() => late.close())
    const source = late.source(testAccount())
    const token = await source.get()
    t.equal(token.value, 't2')
    t.equal((await source.replacement(token))?.value, 't2', 'the same one: the 401 then reaches the caller')
    await it.time.pass(60 * SECOND)
    t.equal((await source.replacement(await source.get()))?.value, 'new')
  })

  t.test('refused credentials are tried by one replica', async (t) => {
    const it = replicas(t, redis, 8)
    it.login.answer = rejected
    const fates = it.all.map(({ source }) => watch(source.get()))
    await it.time.pass(SECOND)
    t.strictSame(
      new Set(fates.map(({ error }) => (error as { code?: string }).code)),
      new Set(['credentials_rejected']),
    )
    t.equal(it.login.calls, 1)
    it.login.answer = () => ({ value: 'good', lifetimeMs: 1e6 })
    const last = it.all.at(-1)?.source
    last?.forgetFailures()
    await it.time.pass(10 * SECOND)
    const [token] = await Promise.all([last?.get(), it.time.pass(SECOND)])
    t.equal(token?.value, 'good')
  })

  t.test('after a 401 a login that failed is no renewal: the next one may follow at once', async (t) => {
    const it = replicas(t, redis, 1)
    const [source] = it.all.map((one) => one.source)
    if (source === undefined) throw new Error('no replica')
    const [token] = await Promise.all([source.get(), it.time.pass(SECOND)])
    it.login.answer = (n) =>
      n === 2 ? new TokenFailure('bad_status', 'HTTP 503') : { value: `t${n}`, lifetimeMs: 1e6 }
    const fate = watch(source.replacement(token) as Promise<unknown>)
    await it.time.pass(2 * SECOND)
    t.match(fate.value, { value: 't3' })
  })

  t.test('an owner of the lock that dies holds the others up for three seconds', async (t) => {
    const it = replicas(t, redis, 3)
    const [dying, other, leaving] = it.all
    it.login.answer = () => new Promise(() => {}) as never
    dying?.source.prefetch()
    await it.time.pass(10 * SECOND)
    it.login.answer = (n) => ({ value: `t${n}`, lifetimeMs: 1e6 })
    const fate = other && watch(other.source.get())
    leaving?.source.prefetch()
    await it.time.pass(SECOND)
    leaving?.tokens.close()
    await it.time.pass(SECOND)
    const runs = leaving?.link.runs
    await it.time.pass(8 * SECOND)
    t.notOk(fate?.settled, 'while it lives, it keeps the lock')
    t.equal(leaving?.link.runs, runs, 'one that has stopped asks no more')
    if (dying !== undefined) dying.link.isUp = false
    await it.time.pass(1.5 * SECOND)
    t.notOk(fate?.settled)
    await it.time.pass(2 * SECOND)
    t.equal(fate?.value?.value, 't2')
  })

  t.test('an owner that is late stores nothing: another has got a token', async (t) => {
    const it = replicas(t, redis, 2)
    const [slow, other] = it.all
    const late = Promise.withResolvers<IssuedToken>()
    it.login.answer = () => late.promise as never
    slow?.source.prefetch()
    await it.time.pass(SECOND)
    if (slow !== undefined) slow.link.isUp = false
    await it.time.pass(4 * SECOND)
    it.login.answer = () => ({ value: 'newer', lifetimeMs: 1e6 })
    await Promise.all([other?.source.get(), it.time.pass(SECOND)])
    if (slow !== undefined) slow.link.isUp = true
    late.resolve({ value: 'older', lifetimeMs: 1e6 })
    await it.time.pass(SECOND)
    const link = new TimedLink(redis.connection, it.prefix, 'third')
    const third = shareTokens(() => Promise.reject(rejected()), link)
    const signal = new AbortController().signal
    t.equal((await third({ account: testAccount(), signal, refused: undefined })).value, 'newer')
  })

  t.test('nor does it share its failure: another is about to get a token', async (t) => {
    const it = replicas(t, redis, 3)
    const [slow, other, third] = it.all
    if (slow === undefined) throw new Error('no replica')
    const logins = [Promise.withResolvers<IssuedToken>(), Promise.withResolvers<IssuedToken>()]
    it.login.answer = (nth) => logins[nth - 1]?.promise as never
    slow.source.prefetch()
    await it.time.pass(SECOND)
    slow.link.isUp = false
    await it.time.pass(4 * SECOND)
    other?.source.prefetch()
    const fate = third && watch(third.source.get())
    await it.time.pass(SECOND)
    slow.link.isUp = true
    logins[0]?.reject(rejected())
    await it.time.pass(SECOND)
    logins[1]?.resolve({ value: 'newer', lifetimeMs: 1e6 })
    await it.time.pass(SECOND)
    t.match(fate, { value: { value: 'newer' } })
  })

  t.test('the reply to an owner of the lock is lost: it logs in, and the others get its token', async (t) => {
    const it = replicas(t, redis, 2)
    const [first, second] = it.all
    if (first === undefined || second === undefined) throw new Error('no replicas')
    const run = first.link.run.bind(first.link)
    first.link.run = async (...args) => {
      const reply = await run(...args)
      if (!args[0].text.includes("'PX', ARGV[2]")) return reply as never
      first.link.run = run
      first.link.isUp = false
      throw new SharedDownError(undefined)
    }
    first.source.prefetch()
    await it.time.pass(100)
    second.source.prefetch()
    await it.time.pass(400)
    t.strictSame(it.values(), ['t1', undefined])
    first.link.isUp = true
    await it.time.pass(1.5 * SECOND)
    t.strictSame(it.values(), ['t1', 't1'])
    t.equal(it.login.calls, 1)
  })

  t.test(
    'garbage, and what another secret sealed, is as if absent; nothing is stored in clear',
    async (t) => {
      const it = replicas(t, redis, 1)
      const { name } = sealOf(testAccount())
      const key = `${it.prefix}:v1:{${name}}:token`
      await redis.send('SET', key, 'garbage')
      const [token] = await Promise.all([it.all[0]?.source.get(), it.time.pass(SECOND)])
      t.equal(token?.value, 't1')
      const stored = String(await redis.send('GET', key))
      t.notMatch(Buffer.from(stored, 'base64').toString('latin1'), 't1')
      const ttl = Number(await redis.send('PTTL', key))
      t.ok(ttl > 5_300_000 && ttl <= 5_400_000, 'it ends with its token')
    },
  )

  t.test('without Redis, or where it goes meanwhile, each replica asks for itself', async (t) => {
    const it = replicas(t, redis, 2)
    for (const link of it.links) link.isUp = false
    for (const { source } of it.all) source.prefetch()
    await it.time.pass(SECOND)
    t.strictSame(it.values(), ['t1', 't2'])
    const gone = replicas(t, redis, 2)
    for (const { source } of gone.all) source.prefetch()
    await gone.time.pass(100)
    t.equal(gone.login.calls, 1)
    for (const link of gone.links) link.isUp = false
    await gone.time.pass(SECOND)
    t.notOk(gone.values().includes(undefined))
    t.equal(gone.login.calls, 2)
    for (const link of gone.links) link.isUp = true
    await gone.time.pass(2 * SECOND)
    const late = shareTokens(() => Promise.reject(rejected()), new TimedLink(redis.connection, gone.prefix))
    const { signal } = new AbortController()
    const token = await late({ account: testAccount(), signal, refused: undefined })
    t.ok(gone.values().includes(token.value), 'what they got is there for the others once Redis is back')
    t.equal(token.ageMs, 3_100, 'with its age')
  })

  t.test('a token that was refused while Redis was away is not given to the others', async (t) => {
    const it = replicas(t, redis, 2)
    const [first, second] = it.all
    for (const link of it.links) link.isUp = false
    const [refused] = await Promise.all([first!.source.get(), it.time.pass(400)])
    const renewed = first!.source.replacement(refused)
    await it.time.pass(500)
    t.equal((await renewed)?.value, 't2')
    for (const link of it.links) link.isUp = true
    // The first token would be given away before the second one.
    await it.time.pass(500)
    const [token] = await Promise.all([second!.source.get(), it.time.pass(500)])
    t.not(token.value, 't1')
  })
})

t.test('A seal: only the same account and secret open it', async (t) => {
  const seal = sealOf(testAccount())
  const sealed = seal.close('a token')
  t.not(sealed, seal.close('a token'))
  t.equal(sealOf(testAccount({ name: 'app', key: 'other' })).open(sealed), 'a token')
  for (const [what, account] of [
    ['secret', testAccount({ clientSecret: new Secret('rotated') })],
    ['client id', testAccount({ clientId: 'other' })],
    ['login server', testAccount({ environment: testEnvironment({ loginUrl: 'http://127.0.0.1:8' }) })],
  ] as const) {
    const other = sealOf(account)
    t.not(other.name, seal.name, what)
    t.equal(other.open(sealed), undefined, what)
  }
  const bytes = Buffer.from(sealed, 'base64')
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    if (seal.open(changed.toString('base64')) !== undefined) t.fail(`byte ${at} can be changed`)
  }
  for (const text of ['', 'x', 'AAAA', 'A'.repeat(38), '\u2028']) t.equal(seal.open(text), undefined)
  t.notMatch(seal.name + sealed, 'app-client')
})
