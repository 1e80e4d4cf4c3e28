// Covers src/guards/file-hosts.ts
import t from 'tap'
import { FileHostLimiter } from '../../src/guards/file-hosts.ts'
import { watch } from '../fixtures/clock.ts'

const settle = () => new Promise<void>((resolve) => void setImmediate(resolve))

t.test('Two new hosts are looked up at a time, and known ones never wait', async (t) => {
  const limiter = new FileHostLimiter()
  const first = await limiter.enter('a.example', 'x')
  const second = await limiter.enter('b.example', 'x')
  const third = watch(limiter.enter('c.example', 'x'))
  const same = watch(limiter.enter('a.example', 'y'))
  await settle()
  t.notOk(third.settled || same.settled)
  first(true)
  await settle()
  t.ok(same.settled, 'a host that answered is known')
  t.ok(third.settled, 'and its place is free')
  same.value?.(true)
  const fourth = watch(limiter.enter('d.example', 'x'))
  second(false)
  third.value?.(true)
  await settle()
  t.ok(fourth.settled)
  fourth.value?.(true)
  const again = watch(limiter.enter('b.example', 'x'))
  await settle()
  t.ok(again.settled, 'a host that did not answer may be tried again')
})

t.test('A caller may ask for so many new hosts within a while, and no more', async (t) => {
  const clock = { now: 0 }
  const limiter = new FileHostLimiter({ mostOfCaller: 3, now: () => clock.now })
  const ask = async (host: string, caller = 'x') => (await limiter.enter(host, caller))(false)
  for (let i = 0; i < 3; i++) {
    await ask(`h${i}.example`)
    clock.now += 10_000
  }
  await t.rejects(ask('h3.example'), { code: 'overloaded', retryAfterSeconds: 30 })
  await ask('h3.example', 'y')
  clock.now += 30_000
  await ask('h3.example')
})

t.test('Requests that wait, hosts and callers that are remembered are bounded', async (t) => {
  const limiter = new FileHostLimiter({ mostUnderWay: 1, mostWaiting: 2, mostKnown: 2, mostOfCaller: 1 })
  const leave = await limiter.enter('a.example', 'x')
  const waiting = [watch(limiter.enter('a.example', 'y')), watch(limiter.enter('a.example', 'z'))]
  await t.rejects(limiter.enter('a.example', 'y'), { code: 'overloaded', retryAfterSeconds: 1 })
  leave(true)
  await settle()
  t.ok(waiting.every(({ settled }) => settled))
  for (const host of ['b', 'c']) (await limiter.enter(`${host}.example`, host))(true)
  await limiter.enter('a.example', 'x')
  t.pass('the caller that asked first is forgotten, as is the host')
})
