// Covers src/shared/open-shared.ts: the parts put together, on a real Redis in real time.
import t from 'tap'
import { Secret } from '../../src/config/config.ts'
import { Budgets } from '../../src/forward/budgets.ts'
import { openShared } from '../../src/shared/open-shared.ts'
import { headOfSaid } from '../fixtures/budget-bench.ts'
import { testAccount, testConfig } from '../fixtures/config.ts'
import { hasRedis, startRedis } from '../fixtures/redis.ts'

type Line = [level: string, fields: object, message: string]

function logOf() {
  const lines: Line[] = []
  const at = (level: string) => (fields: object, message: string) => void lines.push([level, fields, message])
  return { lines, warn: at('warn'), info: at('info') }
}

t.test('Two processes share a budget and a token, and give what they hold back', async (t) => {
  if (!hasRedis(t)) return
  const redis = await startRedis(t)
  const shared = { url: new Secret(redis.url), prefix: 'x', timeoutMs: 5_000, whenDown: 'split' } as const
  const config = { ...testConfig(), shared }
  const log = logOf()
  const [one, two] = [await openShared(config, log), await openShared(config, log)]
  t.teardown(() => [one, two].map((each) => each.close()))
  const request = {
    endpoint: 'GET /x',
    queueKey: '',
    caller: '',
    share: undefined,
    deadline: performance.now() + 3e4,
  }
  const { signal } = new AbortController()
  const budgets = [one, two].map((each) => new Budgets(config, each.openBudget).get(testAccount(), '7656'))
  const reservation = await budgets[0]?.reserve(request, signal)
  reservation?.answered(200, headOfSaid({ limit: 25, remaining: 1, resetIn: 60 }))
  // Commands of one connection keep their order: once this is reserved, the response is settled.
  ;(await budgets[0]?.reserve(request, signal))?.left()
  await budgets[1]?.reserve(request, signal)
  const third = await budgets[0]
    ?.reserve({ ...request, deadline: performance.now() + 100 }, signal)
    .catch((e) => e)
  t.strictSame(log.lines, [])
  t.match(third, { code: 'rate_limited' }, 'the other one took the last')
  t.match(budgets[1]?.state(), { limit: 25, remaining: 1, inFlight: 1 })
  let asked = 0
  const ask = async () => ({ value: `t${++asked}`, lifetimeMs: 1e6 })
  const wanted = { account: testAccount(), signal, refused: undefined }
  t.equal((await one.shareTokens(ask)(wanted)).value, 't1')
  t.equal((await two.shareTokens(ask)(wanted)).value, 't1')
  t.strictSame(one.state(), { up: true, errors: {} })
  t.strictSame(log.lines, [])
  const keys = (await redis.send('KEYS', '*')) as string[]
  t.ok(keys.length > 4)
  for (const key of keys) {
    t.match(key, /^x:v1:/)
    // -1 means never, and -2 that it has ended already.
    t.not(await redis.send('PTTL', key), -1, `${key} ends by itself`)
  }
})

t.test(
  'A reservation outlives the longest wait for a response, also after a reload that changes that',
  async (t) => {
    if (!hasRedis(t)) return
    const redis = await startRedis(t)
    const shared = { url: new Secret(redis.url), prefix: 'x', timeoutMs: 5_000, whenDown: 'split' } as const
    const config = { ...testConfig(), shared }
    const opened = await openShared(config, logOf())
    t.teardown(() => opened.close())
    const budget = new Budgets(config, opened.openBudget).get(testAccount(), '7656')
    opened.configure({ upstream: { ...config.upstream, responseTimeoutMs: 500_000 } })
    const request = { endpoint: 'GET /x', queueKey: '', caller: '', share: undefined }
    await budget.reserve({ ...request, deadline: performance.now() + 3e4 }, new AbortController().signal)
    const [flights] = (await redis.send('KEYS', '*:flights')) as string[]
    const [, ends] = (await redis.send('ZRANGE', flights!, '0', '0', 'WITHSCORES')) as string[]
    const [seconds] = (await redis.send('TIME')) as string[]
    const left = Number(ends) / 1000 - Number(seconds)
    t.ok(left > 480 && left < 515, `${left} s`)
  },
)

t.test('Without Redis there is one warning, which names no password', async (t) => {
  const log = logOf()
  for (const whenDown of ['split', 'local', 'reject'] as const) {
    const url = new Secret('redis://user:pass-word@127.0.0.1:1')
    const shared = await openShared(
      { ...testConfig(), shared: { url, prefix: 'x', timeoutMs: 50, whenDown } },
      log,
    )
    t.strictSame(shared.state(), { up: false, errors: { connection: 1 } })
    shared.close()
  }
  t.match(log.lines, [
    ['warn', { host: '127.0.0.1:1', reason: 'connection' }, /each replica uses its part/],
    ['warn', {}, /as if it were alone/],
    ['warn', {}, /requests are refused/],
  ])
  t.notMatch(JSON.stringify(log.lines), 'pass-word')
})

t.test('The return of Redis is one line', async (t) => {
  if (!hasRedis(t)) return
  const redis = await startRedis(t)
  const log = logOf()
  const shared = { url: new Secret(redis.url), prefix: 'x', timeoutMs: 5_000, whenDown: 'split' } as const
  await redis.kill()
  const opened = await openShared({ ...testConfig(), shared }, log)
  t.teardown(() => opened.close())
  await redis.restart()
  for (let tries = 0; log.lines.length < 2 && tries < 500; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.match(log.lines, [
    ['warn', {}, /cannot be used/],
    ['info', { downMs: Number }, /is back/],
  ])
})
