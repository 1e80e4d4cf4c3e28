// Covers src/forward/attempt.ts: how responses end, on raw sockets, with readers that are fast, slow or late.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { Attempt, type AttemptOptions } from '../../src/forward/attempt.ts'
import { Departure, type UpstreamResponse } from '../../src/forward/call.ts'
import { type Connection, ConnectionPool } from '../../src/forward/upstreams.ts'
import { connector } from '../../src/network/connect.ts'
import { textOf } from '../fixtures/calls.ts'
import { testConfig } from '../fixtures/config.ts'
import { type RawRequest, startRawUpstream } from '../fixtures/raw-upstream.ts'

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve))

/** A pool in front of an API that answers with raw bytes; `ask` sends one GET and gives its attempt. */
async function start(t: Test, answer: (request: RawRequest, socket: Socket) => void) {
  const { url, requests } = await startRawUpstream(t, answer)
  const pool = new ConnectionPool({
    origin: url,
    connect: connector(testConfig().network, 1_000),
    connections: 1,
    maxQueued: 10,
    responseTimeoutMs: 1_000,
    isShared: false,
  })
  t.teardown(() => pool.destroy())
  const ask = async (path: string, options: Partial<AttemptOptions> = {}, method = 'GET') => {
    const connection: Connection = await pool.acquire('caller', new Departure())
    const attempt = new Attempt({
      responseTimeoutMs: 5_000,
      body: null,
      onSending: () => {},
      onDone: () => pool.release(connection, 'caller'),
      ...options,
    })
    connection.attempt = attempt
    connection.client.dispatch({ method: method as 'GET', path, headers: [] }, attempt)
    return attempt
  }
  return { ask, requests }
}

type Read = (response: UpstreamResponse, sentAll: Promise<unknown>) => Promise<Buffer>

async function collect(response: UpstreamResponse, take: () => boolean): Promise<Buffer> {
  const pieces: Buffer[] = []
  await response.pipe((piece) => {
    pieces.push(Buffer.from(piece))
    return take()
  })
  return Buffer.concat(pieces)
}

const READERS: Record<string, Read> = {
  fast: (response) => collect(response, () => true),
  slow: (response) =>
    collect(response, () => {
      setImmediate(() => response.resume())
      return false
    }),
  late: async (response, sentAll) => {
    await sentAll
    for (let turns = 0; turns < 5; turns++) await turn()
    return READERS['slow']!(response, sentAll)
  },
}

const CHUNK = 8 * 1024
const chunked = (body: string) =>
  `${body.replaceAll(/.{1,8192}/g, (piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)}0\r\n\r\n`
const FRAMINGS: Record<string, (body: string) => string> = {
  length: (body) => `Content-Length: ${body.length}\r\n\r\n${body}`,
  chunked: (body) => `Transfer-Encoding: chunked\r\n\r\n${chunked(body)}`,
  'length, close': (body) => `Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  'chunked, close': (body) => `Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(body)}`,
  'until the end': (body) => `Connection: close\r\n\r\n${body}`,
}

t.test('a body is whole, or it fails: never a clean end for one that was cut', async (t) => {
  let bytes = ''
  let isCut = false
  let end: 'end' | 'reset' = 'end'
  let sentAll: Promise<unknown> = Promise.resolve()
  let closed = sentAll
  const { ask } = await start(t, (_request, socket) => {
    closed = once(socket, 'close')
    sentAll = Promise.race([closed, once(socket, 'finish')])
    const sent = isCut ? bytes.slice(0, -CHUNK / 2 - 20) : bytes
    socket.write(sent, 'latin1', () => {
      if (end === 'end') socket.end()
      // Not before the reader's side has what it will get.
      else setTimeout(() => socket.resetAndDestroy(), 5)
    })
  })
  for (const [framing, frame] of Object.entries(FRAMINGS)) {
    for (const length of [CHUNK, 400_000]) {
      const body = 'x'.repeat(length)
      bytes = `HTTP/1.1 200 OK\r\n${frame(body)}`
      for (end of ['end', 'reset'] as const) {
        for (isCut of [false, true]) {
          for (const [reader, read] of Object.entries(READERS)) {
            const response = await (await ask('/')).response.catch((error: Error) => error)
            const what = `${framing}, ${length} bytes, ${isCut ? 'cut, ' : ''}${end}, read ${reader}`
            const got =
              response instanceof Error ? response : await read(response, sentAll).catch((e: Error) => e)
            await closed
            for (let turns = 0; turns < 3; turns++) await turn()
            const untilEnd = framing === 'until the end'
            if (untilEnd && end === 'end') {
              t.equal((got as Buffer).length, isCut ? length - CHUNK / 2 - 20 : length, what)
            } else if (isCut || (untilEnd && end === 'reset')) {
              t.ok(got instanceof Error, what)
            } else if (end === 'end' || (reader === 'fast' && length === CHUNK)) {
              t.equal((got as Buffer).length, length, what)
            } else {
              // A reset takes away what was not read yet.
              t.ok(got instanceof Error || got.length === length, what)
            }
          }
        }
      }
    }
  }
})

t.test('204 and 304 are whole with their head, whatever length they claim', async (t) => {
  const { ask } = await start(t, (request, socket) => {
    socket.write(`HTTP/1.1 ${request.target.slice(1)} X\r\nContent-Length: 5\r\n\r\n`)
  })
  for (const status of [204, 304]) {
    const response = await (await ask(`/${status}`)).response
    t.match(response, { status, isComplete: true })
    t.equal(await textOf(response), '')
  }
})

t.test('a body that has come in pieces is whole, unless it is longer than wanted', async (t) => {
  const { ask } = await start(t, (_request, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n')
  })
  const response = await (await ask('/')).response
  t.equal(response.whole(2), undefined)
  t.equal(String(response.whole(3)), 'abc')
})

t.test('a body of which no more arrives is given up', async (t) => {
  const { ask } = await start(t, (_request, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab')
  })
  const response = await (await ask('/', { responseTimeoutMs: 150 })).response
  await t.rejects(textOf(response), { name: 'ResponseTimeoutError' })
})

t.test('interim responses are passed on up to a bound, and do not keep an attempt alive', async (t) => {
  const { ask } = await start(t, (_request, socket) => {
    const more = setInterval(() => socket.write('HTTP/1.1 103 X\r\nLink: </x>\r\n\r\n'.repeat(50)), 2)
    socket.once('close', () => clearInterval(more))
  })
  let count = 0
  const attempt = await ask('/', { responseTimeoutMs: 150, onInformation: () => count++ })
  await t.rejects(attempt.response, { name: 'ResponseTimeoutError' })
  t.equal(count, 100)
})

t.test('what is no HTTP/1.1 response is an error, and so is an unknown coding', async (t) => {
  const { ask } = await start(t, (request, socket) => {
    socket.end(decodeURIComponent(request.target.slice(1)))
  })
  for (const bytes of [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc',
    'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
    'SSH-2.0\r\n',
    'HTTP/1.1 200',
    '',
  ]) {
    const attempt = await ask(`/${encodeURIComponent(bytes)}`)
    await t.rejects(attempt.response, Error, JSON.stringify(bytes))
    t.ok(attempt.isSent)
  }
})

t.test('header bytes come as Latin-1, and so does a reason in UTF-8', async (t) => {
  const { ask } = await start(t, (_request, socket) => {
    socket.write('HTTP/1.1 200 caf\xc3\xa9\r\nX: \xff\r\nContent-Length: 0\r\n\r\n', 'latin1')
  })
  const response = await (await ask('/')).response
  t.match(response, { statusText: 'caf\xc3\xa9', rawHeaders: ['X', '\xff', 'Content-Length', '0'] })
})

t.test('a body that is thrown away costs little', async (t) => {
  const { ask, requests } = await start(t, (request, socket) => {
    const length = request.target === '/long' ? 1_000_000 : 1_000
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(length)}`)
  })
  const read = async (path: string) => (await ask(path)).response
  t.equal((await textOf(await read('/short'))).length, 1_000)
  ;(await read('/short')).discard()
  await textOf(await read('/short'))
  ;(await read('/long')).discard()
  t.equal((await textOf(await read('/short'))).length, 1_000)
  t.strictSame(
    requests.map(({ connection }) => connection),
    [1, 1, 1, 1, 2],
    'a connection goes on after a short rest, and is given up after a long one',
  )
})

t.test('an attempt that is ended gives its connection back once, and says why', async (t) => {
  let done = 0
  const { ask } = await start(
    t,
    (_request, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx'),
  )
  const attempt = await ask('/', { onDone: () => done++ })
  const response = await attempt.response
  const reading = response.pipe(() => true)
  const reason = new Error('the caller left')
  response.abort(reason)
  response.abort(new Error('again'))
  await t.rejects(reading, { message: 'the caller left' })
  await t.rejects(
    response.pipe(() => true),
    { message: 'the caller left' },
  )
  t.equal(done, 1)
})
