// Covers src/shared/redis-link.ts: every way in which Redis fails, and its return, on a real server.
import dns from 'node:dns'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer as createPlainServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { Secret } from '../../src/config/config.ts'
import { RESERVE, SETTLE } from '../../src/shared/budget-scripts.ts'
import { connectRedis, RedisLink, script } from '../../src/shared/redis-link.ts'
import { shareTokens } from '../../src/shared/shared-tokens.ts'
import { testAccount } from '../fixtures/config.ts'
import { hasRedis, startRedis } from '../fixtures/redis.ts'
import { faultyWay } from '../fixtures/redis-faults.ts'
import { certificate, pem } from '../fixtures/tls.ts'

const ADD = script(['y'], Number.isInteger, "return redis.call('INCRBY', KEYS[1], ARGV[2])")

async function linkTo(t: Test, url: string, timeoutMs = 3_000, prefix = 'test', patienceMs = 0) {
  /** What was logged: why Redis went, or that it is back. */
  const events: string[] = []
  const settings = { url: new Secret(url), prefix, timeoutMs, whenDown: 'split' } as const
  const log = {
    warn: (fields: object) => void events.push((fields as { reason: string }).reason),
    info: () => void events.push('up'),
  }
  const link = new RedisLink({ settings, certificates: [], log, retryMs: 50 })
  t.teardown(() => link.close())
  await link.connect(patienceMs)
  const add = (count = 1) => link.run(ADD, 'x', [count])
  return { link, events, add }
}

/** Until it is so; fails the test after ten seconds. */
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 1000) throw new Error('it never came to that')
    await sleep(10)
  }
}

const down = (reason: string | RegExp) => ({ name: 'SharedDownError', reason })

t.test('With a server', async (t) => {
  if (!hasRedis(t)) return

  t.test('Scripts run, also after the server forgot them', async (t) => {
    const redis = await startRedis(t)
    const { link, events, add } = await linkTo(t, redis.url)
    t.equal(link.isUp, true)
    t.equal(await add(2), 2)
    await redis.send('SCRIPT', 'FLUSH')
    t.equal(await add(3), 5)
    t.strictSame(events, [], 'no line in the log')
  })

  t.test('Killed: one warning, no queue, and one line when it is back', async (t) => {
    const redis = await startRedis(t)
    const { link, events, add } = await linkTo(t, redis.url)
    await redis.kill()
    await until(() => !link.isUp)
    const began = performance.now()
    await t.rejects(add(), down('connection'))
    t.ok(performance.now() - began < 1_000, 'rejected at once')
    await until(() => (link.errors.get('connection') ?? 0) > 1)
    t.strictSame(events, ['connection'])
    await redis.restart()
    await until(() => link.isUp)
    t.equal(await add(), 1)
    t.strictSame(events, ['connection', 'up'])
  })

  t.test('A reply that no script of ours gives', async (t) => {
    const { link, events } = await linkTo(t, (await startRedis(t)).url)
    const other = script(['y'], Array.isArray, "return 'text'")
    await t.rejects(link.run(other, 'x', []), down('script'))
    await until(() => link.isUp)
    t.strictSame(events, ['script', 'up'])
  })

  t.test('Slow, cut off without a reset, and reset', async (t) => {
    const redis = await startRedis(t)
    const way = await faultyWay(t, redis.port)
    const { link, events, add } = await linkTo(t, way.url, 400)
    t.equal(await add(), 1)
    way.delayMs = 5_000
    const began = performance.now()
    await t.rejects(add(), down('timeout'))
    t.ok(performance.now() - began < 4_000, 'it was not waited for')
    await until(() => way.accepted >= 2)
    t.equal(link.isUp, false, 'a new connection is as slow')
    way.delayMs = 0
    await until(() => link.isUp)
    way.isSwallowing = true
    await t.rejects(add(), down('timeout'))
    way.isSwallowing = false
    await until(() => link.isUp)
    const lost = [add(), add()].map((reply) => t.rejects(reply, down('connection')))
    way.reset()
    await Promise.all(lost)
    t.equal(link.errors.get('connection'), 1, 'however many wait for a reply')
    await until(() => link.isUp)
    t.strictSame(events, ['timeout', 'up', 'timeout', 'up', 'connection', 'up'])
  })

  t.test('One late reply is no reason for a warning, but three in a row are', async (t) => {
    const redis = await startRedis(t)
    const way = await faultyWay(t, redis.port)
    const { link, events, add } = await linkTo(t, way.url, 250)
    for (const late of [1, 2, 3]) {
      way.delayMs = 400
      await t.rejects(add(), down('timeout'))
      t.equal(link.isUp, false)
      await t.rejects(add(), down('connection'), 'nothing is sent meanwhile')
      if (late === 2) t.equal(await link.run(ADD, 'x', [0], 1_000), 3, 'but what can wait for it')
      way.delayMs = 0
      await until(() => link.isUp)
      t.equal(await add(), 2 * late, 'what came late was done, and counts no more after a reply in time')
    }
    t.strictSame([events, link.errors], [[], new Map([['timeout', 3]])])
    for (let late = 0; late < 3; late++) {
      await until(() => link.isUp)
      way.delayMs = 400
      await t.rejects(add(), down('timeout'))
    }
    way.delayMs = 0
    await until(() => events.length === 2)
    t.strictSame(events, ['timeout', 'up'])
    t.equal(way.accepted, 2)
  })

  t.test('A start waits longer for a reply than a request does', async (t) => {
    const redis = await startRedis(t)
    const way = await faultyWay(t, redis.port)
    way.delayMs = 200
    const { link, events, add } = await linkTo(t, way.url, 20, 'test', 5_000)
    t.equal(link.isUp, true)
    t.equal(await link.run(ADD, 'x', [1], 5_000), 1)
    t.strictSame(events, [])
    await t.rejects(add(), down('timeout'))
  })

  t.test('Full, and read-only as after a failover', async (t) => {
    const redis = await startRedis(t)
    const { link, events, add } = await linkTo(t, redis.url)
    await redis.send('SET', 'ballast', 'x'.repeat(1e6))
    await redis.send('CONFIG', 'SET', 'maxmemory', '1mb')
    await t.rejects(link.run(RESERVE, 'x', [1_000, '1.caller', '']), down('full'))
    await until(() => (link.errors.get('full') ?? 0) > 1)
    t.equal(link.isUp, false, 'it answers, but nothing can be written')
    await redis.send('CONFIG', 'SET', 'maxmemory', '0')
    await until(() => link.isUp)
    await redis.send('REPLICAOF', '127.0.0.1', '1')
    await t.rejects(add(), down('read-only'))
    await redis.send('REPLICAOF', 'NO', 'ONE')
    await until(() => link.isUp)
    t.strictSame(events, ['full', 'up', 'read-only', 'up'])
  })

  t.test('The rights that docs/replicas.md grants are enough, and others are missing', async (t) => {
    const redis = await startRedis(t)
    const docs = readFileSync(new URL('../../docs/replicas.md', import.meta.url), 'utf8')
    const acl = /ACL SETUSER procore-proxy .*/.exec(docs)?.[0] ?? ''
    const user = acl.replace('>PASSWORD', '>secret').replaceAll('~procore-proxy:*', '~test:*')
    t.match(user, '>secret')
    t.equal(await redis.send(...user.split(' ')), 'OK')
    const url = (password: string) => `redis://procore-proxy:${password}@127.0.0.1:${redis.port}`
    const { link, events, add } = await linkTo(t, url('secret'))
    await link.run(RESERVE, 'x', [1_000, '1', 'caller', 0.5])
    await link.run(SETTLE, 'x', ['1', 25, 3, 9_000, 5_000, 1])
    const { signal } = new AbortController()
    const logIn = async () => ({ value: 'token', lifetimeMs: 1_000 })
    await shareTokens(logIn, link)({ account: testAccount(), signal, refused: undefined })
    t.strictSame(events, [], 'all scripts run')
    const folder = new URL('../../src/shared/', import.meta.url)
    const scripts = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'))
    const called = scripts.join().matchAll(/redis\.call\('([A-Z]+)'/g)
    const granted = acl.matchAll(/(?<= \+)[a-z]+/g).map(([command]) => command)
    const needed = [...called].map(([, command = '']) => command.toLowerCase())
    t.strictSame(new Set(granted), new Set([...needed, 'eval', 'evalsha']), 'each branch of them could')
    await t.rejects(add(), down(/./), 'a command that is not granted')
    const other = await linkTo(t, url('secret'), 3_000, 'other')
    t.equal(other.link.isUp, false, 'a key that is not granted')
    const wrong = await linkTo(t, url('wrong'))
    t.equal(wrong.link.isUp, false)
    t.strictSame(wrong.events, ['refused'])
  })
})

t.test('No server at the start is not fatal', async (t) => {
  const { link, events, add } = await linkTo(t, 'redis://127.0.0.1:1')
  t.equal(link.isUp, false)
  await t.rejects(add(), down('connection'))
  t.strictSame(events, ['connection'])
  link.close()
  t.equal(link.isUp, false)
})

t.test('TLS: a server whose certificate is not trusted gets no password', async (t) => {
  const start = async (name: string) => {
    const received: string[] = []
    const server = createServer(certificate(name), (socket: TLSSocket) => {
      socket.on('data', (chunk: Buffer) => received.push(String(chunk)) && socket.write('+OK\r\n'))
      socket.on('error', () => {})
    })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const { port } = server.address() as { port: number }
    return { received, url: `rediss://user:pass-word@localhost:${port}` }
  }
  const certificates = [pem('ca.pem')]
  for (const name of ['self-signed', 'wrong-name', 'expired']) {
    const { received, url } = await start(name)
    await t.rejects(connectRedis({ url, certificates, timeoutMs: 10_000 }), name)
    t.strictSame(received, [], name)
  }
  const { received, url } = await start('good')
  const connection = await connectRedis({ url, certificates, timeoutMs: 10_000 })
  t.match(received.join(''), 'pass-word')
  connection.destroy()
  connection.destroy()
})

t.test('What answers like no Redis is down, and stays so', async (t) => {
  const replies = ['+OK', ':1', '$-1', '*0', '+OK\r\n+OK\r\n+OK', 'HTTP/1.1 400 Bad Request']
  const trying = replies.map(async (reply) => {
    const server = createPlainServer((socket) => socket.on('data', () => void socket.write(`${reply}\r\n`)))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const url = `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
    const { link, events } = await linkTo(t, url, 500)
    await until(() => [...link.errors.values()].some((count) => count > 1))
    t.equal(events.length, 1, reply)
    link.close()
    server.close()
  })
  await Promise.all(trying)
})

t.test('A server that accepts and never greets is given up', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const url = `redis://user:pass@127.0.0.1:${port}`
  await t.rejects(connectRedis({ url, certificates: [], timeoutMs: 100 }))
})

t.test('A connection that opens after it was given up is closed', async (t) => {
  // Each step takes less than the limit, but all together take longer.
  const { lookup } = dns
  t.teardown(() => Object.assign(dns, { lookup }))
  Object.assign(dns, {
    lookup: (...args: never[]) => setTimeout(() => Reflect.apply(lookup, dns, args), 600),
  })
  const SNICallback = (_name: string, done: (error: null) => void) => void setTimeout(done, 700, null)
  const server = createServer({ key: pem('good.key'), cert: pem('good.pem'), SNICallback })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  server.on('tlsClientError', () => {})
  t.teardown(() => server.close())
  const sockets: Socket[] = []
  server.on('connection', (socket) => void sockets.push(socket.on('error', () => {})))
  const url = `rediss://localhost:${(server.address() as { port: number }).port}`
  await t.rejects(connectRedis({ url, certificates: [pem('ca.pem')], timeoutMs: 1_000 }), /no connection/)
  const isClosed = () => sockets[0]?.destroyed === true
  for (let tries = 0; tries < 200 && !isClosed(); tries++) await sleep(10)
  t.ok(isClosed())
  for (const socket of sockets) socket.destroy()
})
