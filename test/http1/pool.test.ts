// Twin of src/http1/pool.ts: which connection serves whom, for how long, and what ends with the pool.
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Connect, Pool } from '../../src/http1/pool.ts'
import { type RawRequest, startRawUpstream } from '../fixtures/raw-upstream.ts'
import { type Asked, answer, ask, connectTo, poolTo, turns, until } from './asking.ts'

const echo = ({ target }: RawRequest, socket: Socket) => socket.write(answer(target))

async function start(
  t: Test,
  {
    reply = echo,
    ...settings
  }: {
    reply?: (request: RawRequest, socket: Socket) => void
    connections?: number
    keepAliveMs?: number
  } = {},
) {
  const sockets: Socket[] = []
  const upstream = await startRawUpstream(t, reply)
  return { upstream, sockets, pool: poolTo(t, connectTo(upstream.url, sockets), settings) }
}

/** Whatever closed it. */
const closed = async (socket?: Socket) => {
  if (socket !== undefined && !socket.closed) await new Promise((resolve) => socket.once('close', resolve))
}

const askMany = (pool: Pool, paths: readonly string[]): Asked[] => paths.map((path) => ask(pool, { path }))
const over = (asked: readonly Asked[]) => Promise.all(asked.map((one) => one.over))

t.test('The connection that was used last is used first', async (t) => {
  const held = new Map<string, () => void>()
  const { upstream, pool } = await start(t, {
    connections: 3,
    reply: ({ target }, socket) => held.set(target, () => socket.write(answer(target))),
  })
  const asked = askMany(pool, ['/1', '/2', '/3'])
  await until(() => held.size === 3)
  for (const [nth, path] of ['/2', '/3', '/1'].entries()) {
    held.get(path)?.()
    await asked[Number(path.slice(1)) - 1]?.over
    await turns(3)
    t.ok(nth >= 0)
  }
  const last = ask(pool, { path: '/4' })
  await until(() => held.has('/4'))
  held.get('/4')?.()
  await last.over
  const connectionOf = (path: string) => upstream.requests.find(({ target }) => target === path)?.connection
  t.equal(connectionOf('/4'), connectionOf('/1'))
})

t.test('A connection rests for a whole turn of the event loop', async (t) => {
  const { upstream, pool } = await start(t, { connections: 2 })
  await ask(pool, { path: '/1' }).over
  await ask(pool, { path: '/2' }).over
  t.strictSame(
    upstream.requests.map(({ connection }) => connection),
    [1, 2],
    'the first one rests',
  )
  await turns(3)
  await ask(pool, { path: '/3' }).over
  t.ok(upstream.requests[2]?.nth === 2, 'it has rested')
  const one = await start(t)
  await ask(one.pool).over
  let turned = 0
  let sentAfter = 0
  const count = () => {
    turned++
    if (sentAfter === 0) setImmediate(count)
  }
  setImmediate(count)
  const next = ask(
    one.pool,
    {},
    {
      onRequestStart: () => {
        sentAfter = turned
      },
    },
  )
  await next.over
  t.ok(sentAfter >= 1, `sent after ${sentAfter} turns`)
  t.equal(one.upstream.requests[1]?.connection, 1)
})

t.test('No more connections than allowed; the rest waits for its turn', async (t) => {
  let open = 0
  let most = 0
  const { upstream, pool } = await start(t, {
    connections: 3,
    reply: ({ target }, socket) => {
      most = Math.max(most, ++open)
      setTimeout(() => {
        open--
        socket.write(answer(target))
      }, 1)
    },
  })
  const paths = Array.from({ length: 40 }, (_, nth) => `/${nth}`)
  const heard = await over(askMany(pool, paths))
  t.strictSame(
    heard.map(({ body }) => body),
    paths,
  )
  t.equal(most, 3)
  t.equal(Math.max(...upstream.requests.map(({ connection }) => connection)), 3)
  t.strictSame(
    upstream.requests
      .slice(3)
      .map(({ target }) => target)
      .sort(),
    paths.slice(3).sort(),
  )
})

t.test('Who waits is served though every connection dies', async (t) => {
  const { pool } = await start(t, {
    connections: 2,
    reply: ({ target }, socket) => {
      if (Number(target.slice(1)) % 3 === 0) socket.resetAndDestroy()
      else if (Number(target.slice(1)) % 3 === 1) socket.end(`HTTP/1.1 200 OK\r\n\r\n${target}`)
      else socket.end()
    },
  })
  const asked = askMany(
    pool,
    Array.from({ length: 30 }, (_, nth) => `/${nth}`),
  )
  const heard = await over(asked)
  for (const [nth, { body, error }] of heard.entries()) {
    if (nth % 3 === 1) t.match({ body, error }, { body: `/${nth}`, error: undefined })
    else t.type(error, Error)
  }
})

t.test('Who waits is told where no connection comes about', async (t) => {
  let tries = 0
  const failing: Connect = (_onread, callback) => {
    tries++
    setImmediate(() => callback(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), null))
  }
  const pool = poolTo(t, failing, { connections: 2 })
  const asked = askMany(pool, ['/1', '/2', '/3', '/4', '/5'])
  for (const { error } of await over(asked)) t.match(error, { code: 'ECONNREFUSED' })
  t.equal(tries, 5)
  for (const { events } of asked) t.strictSame(events, ['error'])
  const nothing = poolTo(t, (_onread, callback) => callback(null, null))
  t.match((await ask(nothing).over).error, { code: 'UND_ERR_DESTROYED' })
})

t.test('Idle connections are closed in time', async (t) => {
  const { upstream, sockets, pool } = await start(t, { connections: 2, keepAliveMs: 60 })
  await over(askMany(pool, ['/1', '/2']))
  await sleep(30)
  await ask(pool, { path: '/3' }).over
  await Promise.all(sockets.slice(0, 2).map(closed))
  await ask(pool, { path: '/4' }).over
  t.equal(upstream.requests.at(-1)?.connection, 3)
})

t.test('A connection that is past its time is not used, though no timer saw to it', async (t) => {
  const { upstream, pool } = await start(t, { keepAliveMs: 20 })
  await ask(pool).over
  await turns(3)
  const until = performance.now() + 30
  while (performance.now() < until);
  const late = ask(pool)
  await late.over
  t.equal(upstream.requests.at(-1)?.connection, 2)
})

t.test('A server that says how long it waits is believed, and hurried ahead of', async (t) => {
  for (const [hint, connection] of [
    ['Keep-Alive: timeout=1\r\n', 2],
    ['Keep-Alive: timeout=0\r\n', 2],
    ['Keep-Alive: timeout=60\r\n', 1],
    ['Keep-Alive: max=1\r\n', 1],
  ] as const) {
    const { upstream, pool } = await start(t, { reply: (_, socket) => socket.write(answer('', hint)) })
    await ask(pool).over
    await ask(pool).over
    t.equal(upstream.requests[1]?.connection, connection, hint)
  }
})

t.test('A server that closes an idle connection does no harm', async (t) => {
  for (const how of ['end', 'resetAndDestroy', 'destroy'] as const) {
    const { upstream, sockets, pool } = await start(t, {
      reply: ({ target, connection }, socket) => {
        socket.write(answer(target))
        if (connection === 1) setTimeout(() => socket[how](), 10)
      },
    })
    await ask(pool, { path: '/1' }).over
    await closed(sockets[0])
    t.match(await ask(pool, { path: '/2' }).over, { body: '/2' })
    t.equal(upstream.requests[1]?.connection, 2)
  }
  const { upstream, sockets, pool } = await start(t)
  await ask(pool).over
  sockets[0]?.destroy()
  t.match(await ask(pool, { path: '/2' }).over, { body: '/2' }, 'it was resting')
  await turns(3)
  sockets[1]?.destroy()
  t.match(await ask(pool, { path: '/3' }).over, { body: '/3' }, 'its close is not known yet')
  t.strictSame(
    upstream.requests.map(({ connection }) => connection),
    [1, 2, 3],
  )
})

t.test('close() lets everything end that was begun, and takes no more', async (t) => {
  const { upstream, sockets, pool } = await start(t, { connections: 2 })
  await over(askMany(pool, ['/1', '/2']))
  await turns(3)
  const asked = askMany(pool, ['/3', '/4', '/5', '/6'])
  const gone = pool.close()
  t.match((await ask(pool).over).error, { code: 'UND_ERR_CLOSED' })
  const heard = await over(asked)
  t.strictSame(
    heard.map(({ body }) => body),
    ['/3', '/4', '/5', '/6'],
  )
  await gone
  await pool.close()
  t.ok(sockets.every((socket) => socket.destroyed))
  t.notOk(pool.destroyed)
  t.equal(upstream.requests.length, 6)
})

t.test('close() at any time resolves', async (t) => {
  const never = await start(t)
  await never.pool.close()
  const connecting = await start(t)
  const asked = ask(connecting.pool)
  await connecting.pool.close()
  t.match(asked, { body: '/', error: undefined })
  const resting = await start(t)
  await ask(resting.pool).over
  await resting.pool.close()
  t.ok(resting.sockets[0]?.destroyed)
  const rested = await start(t)
  await ask(rested.pool).over
  await turns(1)
  await rested.pool.close()
  const idle = await start(t)
  await ask(idle.pool).over
  await turns(3)
  await idle.pool.close()
  t.ok(idle.sockets[0]?.destroyed)
})

t.test('destroy() ends everything at once, and everybody hears it once', async (t) => {
  const { upstream, sockets, pool } = await start(t, {
    connections: 2,
    reply: ({ target }, socket) => {
      if (target === '/half') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf')
    },
  })
  const asked = askMany(pool, ['/silent', '/half', '/waits', '/waits-too'])
  await until(() => upstream.requests.length === 2 && asked[1]?.body === 'half')
  const gone = pool.destroy()
  t.ok(pool.destroyed)
  for (const one of asked) {
    t.match(one.error, { code: 'UND_ERR_DESTROYED' })
    t.equal(one.events.filter((event) => event === 'error' || event === 'end').length, 1)
  }
  t.match((await ask(pool).over).error, { code: 'UND_ERR_DESTROYED' })
  await gone
  await pool.destroy()
  await pool.close()
  t.ok(sockets.every((socket) => socket.destroyed))
})

t.test('destroy() while connections are being made', async (t) => {
  const { url } = await startRawUpstream(t, echo)
  const made: Socket[] = []
  for (const isMade of [true, false]) {
    let settle = () => {}
    const slow: Connect = (onread, callback) => {
      connectTo(url, made)(onread, (error, socket) => {
        settle = () => (isMade ? callback(error, socket) : callback(new Error('refused'), null))
      })
    }
    const pool = poolTo(t, slow)
    const asked = askMany(pool, ['/1', '/2'])
    const before = settle
    await until(() => settle !== before)
    await pool.destroy()
    settle()
    for (const one of asked) t.strictSame(one.events, ['error'])
    t.match(asked, [{ error: { code: 'UND_ERR_DESTROYED' } }, { error: { code: 'UND_ERR_DESTROYED' } }])
    if (isMade) t.ok(made[0]?.destroyed)
    else made[1]?.destroy()
  }
})

t.test('destroy() from within a handler', async (t) => {
  for (const at of ['onRequestStart', 'onResponseStart', 'onResponseData', 'onResponseEnd'] as const) {
    const { sockets, pool } = await start(t, { connections: 2 })
    let gone: Promise<void> | undefined
    const other = ask(pool, { path: '/other' })
    const asked = ask(
      pool,
      {},
      {
        [at]: () => {
          gone = pool.destroy()
        },
        onResponseError: () => ask(pool),
      },
    )
    await Promise.all([asked.over, other.over])
    await gone
    for (const { events } of [asked, other]) {
      t.equal(events.filter((event) => event === 'error' || event === 'end').length, 1, `${at}: ${events}`)
    }
    t.ok(sockets.every((socket) => socket.destroyed))
  }
})
