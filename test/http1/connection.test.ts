// Twin of src/http1/connection.ts: what a server can do wrong on a connection, and what a handler can.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import t, { type Test } from 'tap'
import type { BodyStream } from '../../src/http1/handler.ts'
import { type RawRequest, startRawUpstream } from '../fixtures/raw-upstream.ts'
import { answer, ask, connectTo, poolTo, turns, until } from './asking.ts'

async function start(t: Test, reply: (request: RawRequest, socket: Socket) => void, connections = 1) {
  const sockets: Socket[] = []
  const upstream = await startRawUpstream(t, reply)
  return { upstream, sockets, pool: poolTo(t, connectTo(upstream.url, sockets), { connections }) }
}

const SOCKET = { code: 'UND_ERR_SOCKET' }
const length = (bytes: number) => ({
  method: 'POST',
  headers: ['Host', 'a', 'Content-Length', String(bytes)],
})

t.test('One request after the other goes over one connection', async (t) => {
  const { upstream, pool } = await start(t, ({ method, nth }, socket) => {
    socket.write(method === 'HEAD' ? 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n' : answer(`${nth}`))
  })
  for (const body of [null, Buffer.from('abc'), Readable.from([Buffer.from('de'), Buffer.from('f')])]) {
    const asked = ask(pool, { method: 'PUT', path: '/a?b', body })
    await asked.over
    t.strictSame(asked.events, ['start', 'head', 'data', 'end'])
  }
  t.match(upstream.requests, [
    { connection: 1, nth: 1, text: /^PUT \/a\?b HTTP\/1.1\r\nHost: a\r\n.*\r\n\r\n$/s },
    { connection: 1, nth: 2, text: /\r\n\r\nabc$/ },
    { connection: 1, nth: 3, text: /\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n$/ },
  ])
  t.match(await ask(pool, { method: 'HEAD' }).over, { status: 200, body: '', error: undefined })
  t.match(await ask(pool).over, { body: '1' })
  t.equal(upstream.requests.at(-1)?.connection, 2, 'after HEAD it is another one')
})

t.test('Bytes that nobody asked for never become an answer', async (t) => {
  for (const [name, stray] of [
    ['a whole answer', answer('stray')],
    ['a part of one', 'HTTP/1.1 2'],
    ['a line end', '\r\n'],
  ] as const) {
    for (const how of ['together', 'in the same turn', 'while it is idle'] as const) {
      const { upstream, pool } = await start(t, ({ target, connection }, socket) => {
        if (how === 'together' && connection === 1) socket.write(answer(target) + stray)
        else socket.write(answer(target))
        if (how === 'in the same turn' && connection === 1) setImmediate(() => socket.write(stray))
        if (how === 'while it is idle' && connection === 1) setTimeout(() => socket.write(stray), 20)
      })
      const first = await ask(pool, { path: '/first' }).over
      if (how === 'while it is idle') await new Promise((resolve) => setTimeout(resolve, 40))
      const second = await ask(pool, { path: '/second' }).over
      t.match([first.body, second.body], ['/first', '/second'], `${name}, ${how}`)
      t.equal(upstream.requests[1]?.connection, 2)
    }
  }
})

t.test('What is read before a request has left is not its answer', async (t) => {
  const { upstream, sockets, pool } = await start(t, ({ target }, socket) => socket.write(answer(target)))
  await ask(pool).over
  await turns(3)
  const asked = ask(pool, { path: '/second' })
  t.same(asked.events, ['start'])
  // As if it had been read in this very turn of the event loop.
  sockets[0]?.emit('data', Buffer.from(answer('stray')))
  t.match(asked, { error: SOCKET, status: undefined })
  t.match(await ask(pool, { path: '/third' }).over, { body: '/third' })
  t.strictSame(
    upstream.requests.map(({ target }) => target),
    ['/', '/third'],
  )
})

t.test('A connection that ends or breaks too early is an error, once', async (t) => {
  const ways: [name: string, reply: (socket: Socket) => void, error: object][] = [
    ['closed at once', (socket) => socket.end(), SOCKET],
    ['closed in its head', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Le'), SOCKET],
    [
      'closed in its body',
      (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell'),
      SOCKET,
    ],
    [
      'closed in chunks',
      (socket) => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'),
      SOCKET,
    ],
    ['after an interim answer', (socket) => socket.end('HTTP/1.1 103 x\r\n\r\n'), SOCKET],
    ['reset', (socket) => socket.resetAndDestroy(), { code: 'ECONNRESET' }],
    [
      'reset in a body without a length',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n\r\nhello', () => setTimeout(() => socket.resetAndDestroy(), 20))
      },
      { code: 'ECONNRESET' },
    ],
    ['no HTTP', (socket) => socket.write('SSH-2.0-OpenSSH\r\n\r\n'), { name: 'AnswerError' }],
  ]
  for (const [name, reply, error] of ways) {
    const { upstream, pool } = await start(t, ({ nth, connection }, socket) => {
      if (connection * nth > 1) socket.write(answer('fine'))
      else reply(socket)
    })
    const asked = ask(pool)
    const next = ask(pool)
    t.match((await asked.over).error, error, name)
    t.match(await next.over, { body: 'fine', error: undefined })
    t.equal(asked.events.filter((event) => event === 'end' || event === 'error').length, 1)
    t.equal(upstream.requests.at(-1)?.connection, 2)
  }
})

t.test('An answer without a length ends with its connection', async (t) => {
  const { pool } = await start(t, ({ target }, socket) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${target}`))
  t.match(await ask(pool, { path: '/1' }).over, { body: '/1', error: undefined })
  t.match(await ask(pool, { path: '/2' }).over, { body: '/2', error: undefined })
})

t.test('Connection: close is believed', async (t) => {
  const { upstream, pool } = await start(t, (_, socket) => socket.write(answer('', 'Connection: close\r\n')))
  await ask(pool).over
  await ask(pool).over
  t.match(upstream.requests, [{ connection: 1 }, { connection: 2 }])
})

t.test('A paused answer waits, and one that ends while paused leaves a connection that reads', async (t) => {
  const big = 'x'.repeat(4_000_000)
  const { upstream, pool } = await start(t, ({ nth }, socket) => {
    socket.write(answer(nth === 1 ? big : 'next'))
  })
  let read = 0
  const asked = ask(
    pool,
    {},
    {
      onResponseData: (controller, chunk) => {
        read += (chunk as Buffer).length
        controller.pause()
        controller.pause()
        setImmediate(() => controller.resume())
      },
    },
  )
  t.match(await asked.over, { error: undefined })
  t.equal(read, big.length)
  const paused = ask(pool, {}, { onResponseData: (controller) => controller.pause() })
  t.match(await paused.over, { body: 'next' })
  paused.controller?.resume()
  paused.controller?.pause()
  t.notOk(paused.controller?.paused, 'it is over')
  paused.controller?.resume()
  t.match(await ask(pool).over, { body: 'next' })
  t.equal(upstream.requests.at(-1)?.nth, 3, 'all on one connection')
})

t.test('It can be given up at any time, and hears of it once', async (t) => {
  const reason = new Error('given up')
  const { upstream, pool } = await start(t, ({ target }, socket) => {
    if (target === '/silent') return
    socket.write(target === '/half' ? 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf' : answer('fine'))
  })
  for (const at of ['onRequestStart', 'onResponseStart', 'onResponseData'] as const) {
    const asked = ask(
      pool,
      { path: '/half' },
      {
        [at]: (controller: { abort(reason: Error): void }) => {
          controller.abort(reason)
          controller.abort(new Error('again'))
        },
      },
    )
    t.equal((await asked.over).error, reason, at)
    t.match(asked.controller, { aborted: true, reason })
    t.equal(asked.events.at(-1), 'error')
    t.match(await ask(pool).over, { body: 'fine' })
  }
  const silent = ask(pool, { path: '/silent' })
  await until(() => upstream.requests.at(-1)?.target === '/silent')
  silent.controller?.abort(reason)
  t.equal((await silent.over).error, reason)
  const late = ask(pool, {}, { onResponseEnd: (controller) => controller.abort(reason) })
  t.match(await late.over, { body: 'fine', error: undefined })
  late.controller?.abort(reason)
  t.match(await ask(pool).over, { body: 'fine' })
  t.notOk(late.controller?.aborted, 'nothing was left to give up')
  const { connection } = upstream.requests.at(-1) as RawRequest
  t.equal(upstream.requests.at(-2)?.connection, connection)
})

t.test('What a handler throws is its own error, and nobody else suffers', async (t) => {
  const { upstream, pool } = await start(t, (_, socket) => socket.write(answer('fine')))
  const defect = new Error('a defect')
  const fail = () => {
    throw defect
  }
  for (const at of ['onRequestStart', 'onResponseStart', 'onResponseData', 'onResponseEnd'] as const) {
    const asked = ask(pool, {}, { [at]: fail })
    await until(() => asked.error !== undefined)
    t.equal(asked.error, defect, at)
    t.match(await ask(pool).over, { body: 'fine', error: undefined })
  }
  // Of its last word there is nobody to tell: it is a failure of the program, in a turn of its own.
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const thrown = once(process, 'uncaughtException')
  const asked = ask(pool, { path: 'no path' }, { onResponseError: fail })
  t.match((await asked.over).error, { code: 'UND_ERR_INVALID_ARG' })
  const next = ask(pool)
  t.equal((await thrown)[0], defect)
  for (const listener of before) process.on('uncaughtException', listener)
  t.match(await next.over, { body: 'fine' })
  t.ok(upstream.requests.length >= 5)
})

t.test('What can not be sent leaves the connection as it was, read again', async (t) => {
  const { upstream, pool } = await start(t, (_, socket) => socket.write(answer('fine')))
  await ask(pool).over
  const wrong = ask(pool, { path: 'no path' }, { onRequestStart: (controller) => controller.pause() })
  t.match((await wrong.over).error, { code: 'UND_ERR_INVALID_ARG' })
  const gone = Readable.from([Buffer.from('x')])
  gone.destroy()
  t.match((await ask(pool, { body: gone }).over).error, { code: 'UND_ERR_ABORTED' })
  t.match(await ask(pool).over, { body: 'fine' })
  t.match(upstream.requests, [{ connection: 1 }, { connection: 1, nth: 2 }])
})

t.test('A body is never longer or shorter than its head says', async (t) => {
  for (const [name, body, error] of [
    [
      'longer',
      Readable.from([Buffer.from('abc'), Buffer.from('GET / HTTP/1.1\r\n\r\n')]),
      'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
    ],
    ['shorter', Readable.from([Buffer.from('ab')]), 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'],
    ['empty', Readable.from([]), 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'],
    [
      'broken',
      new Readable({
        read() {
          this.destroy(Object.assign(new Error('broken'), { code: 'BROKEN' }))
        },
      }),
      'BROKEN',
    ],
    [
      'given up',
      new Readable({
        read() {
          this.destroy()
        },
      }),
      'UND_ERR_ABORTED',
    ],
  ] as const) {
    const { upstream, pool } = await start(t, ({ target }, socket) => socket.write(answer(target)))
    const asked = ask(pool, { ...length(3), body })
    t.match((await asked.over).error, { code: error }, name)
    t.ok(body.destroyed)
    t.match(await ask(pool, { path: '/next' }).over, { body: '/next' })
    t.ok(upstream.requests.every(({ target, text }) => target === '/next' || text.endsWith('abc')))
  }
})

t.test('An empty piece of a body does not end it', async (t) => {
  const { upstream, pool } = await start(t, ({ target }, socket) => socket.write(answer(target)))
  const body = new PassThrough({ objectMode: true })
  for (const piece of ['a', '', 'GET /smuggled HTTP/1.1\r\n\r\n', '']) body.write(Buffer.from(piece))
  body.end()
  await ask(pool, { method: 'POST', body }).over
  t.match(await ask(pool, { path: '/next' }).over, { body: '/next' })
  t.strictSame(
    upstream.requests.map(({ target }) => target),
    ['/', '/next'],
  )
})

t.test('An upload waits for a server that reads slowly', async (t) => {
  const { upstream, sockets, pool } = await start(t, ({ text }, socket) =>
    socket.write(answer(String(text.length))),
  )
  let made = 0
  let most = 0
  const piece = Buffer.alloc(64 * 1024, 'x')
  const body = new Readable({
    read() {
      made++
      most = Math.max(most, sockets[0]?.writableLength ?? 0)
      this.push(made > 100 ? null : piece)
    },
  })
  const asked = ask(pool, { ...length(100 * piece.length), body })
  const heard = await asked.over
  t.equal(heard.error, undefined)
  t.ok(Number(heard.body) > 100 * piece.length)
  t.ok(most < 10 * piece.length, `never more than ${most} bytes waited`)
  t.equal(upstream.requests.length, 1)
})

t.test('An early answer ends the upload and the connection', async (t) => {
  const { upstream, sockets, pool } = await start(t, ({ target }, socket) => socket.write(answer(target)))
  const body = new PassThrough()
  body.write('abc')
  const asked = ask(pool, { ...length(6), path: '/early', body })
  await until(() => sockets[0]?.bytesWritten !== 0 && sockets[0]?.connecting === false)
  sockets[0]?.emit('data', Buffer.from(answer('early')))
  t.match(await asked.over, { body: 'early', error: undefined })
  t.ok(body.destroyed)
  t.ok(sockets[0]?.destroyed)
  t.match(await ask(pool, { path: '/next' }).over, { body: '/next' })
  t.equal(upstream.requests.length, 1, 'the half of one never became one')
})

t.test('What a body still says when all is over is of no account', async (t) => {
  const listeners = new Map<string, (value?: unknown) => void>()
  const body: BodyStream = {
    on(event: string, listener: (value: never) => void) {
      listeners.set(event, listener as (value?: unknown) => void)
      return body
    },
    pause() {},
    resume() {},
    destroy() {},
  }
  const { upstream, pool } = await start(t, ({ text }, socket) => socket.write(answer(text.slice(-3))))
  const asked = ask(pool, { ...length(3), body })
  await until(() => listeners.size === 4)
  listeners.get('data')?.(Buffer.from('abc'))
  listeners.get('end')?.()
  for (const event of ['data', 'end', 'error', 'close'])
    listeners.get(event)?.(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
  t.match(await asked.over, { body: 'abc', error: undefined })
  t.match(await ask(pool).over, { error: undefined })
  t.equal(upstream.requests.length, 2)
})

t.test('A socket that dies under a request is an error of it', async (t) => {
  const { sockets, pool } = await start(t, () => {})
  const dead = ask(pool, {}, { onRequestStart: () => sockets[0]?.destroy() })
  t.match((await dead.over).error, SOCKET)
  const broken = ask(pool)
  await until(() => broken.events.length > 0)
  sockets[1]?.destroy(Object.assign(new Error('broken'), { code: 'EPIPE' }))
  t.match((await broken.over).error, { code: 'EPIPE' })
  t.same(broken.events, ['start', 'error'])
})
