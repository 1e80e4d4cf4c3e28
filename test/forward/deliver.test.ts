// Twin of src/forward/forward.ts, for what needs an audit; test/flow has the rest.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import type { Test } from 'tap'
import t from 'tap'
import { headOf, storedResponse, type UpstreamResponse } from '../../src/forward/call.ts'
import { breakOff, deliver } from '../../src/forward/forward.ts'
import { callOf } from '../fixtures/calls.ts'

/** A response whose body is known only once it has been read. */
function streamed(length: string, pieces: readonly string[]): UpstreamResponse {
  const rawHeaders = ['Content-Length', length]
  return {
    status: 200,
    statusText: 'OK',
    rawHeaders,
    head: headOf(rawHeaders),
    pipe: async (write) => {
      for (const piece of pieces) write(Buffer.from(piece))
    },
    resume: () => {},
    abort: () => {},
  }
}

/** Delivers a response to a caller on a raw socket, and gives what the caller has got so far. */
async function start(t: Test, upstream: UpstreamResponse, beforeEnd?: () => Promise<void>, gzip = false) {
  const call = callOf('/rest/v1.0/me', { gzip })
  const { exchange } = call
  const delivered = Promise.withResolvers<Error | undefined>()
  const { text } = await callTo(t, async (response) => {
    // In the proxy, deliver is called after other promises too: what it writes is then sent later.
    await null
    deliver(upstream, response, call, beforeEnd).then(
      () => delivered.resolve(undefined),
      async (error) => {
        await breakOff(response, exchange.responseHeaders)
        delivered.resolve(error)
      },
    )
  })
  return { text, error: delivered.promise, exchange }
}

/** Sends a request to a server that answers it with `respond`. */
async function callTo(t: Test, respond: (response: ServerResponse) => Promise<void>, version = '1.1') {
  const server = createServer((_request, response) => respond(response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => {
    socket.destroy()
    server.close()
  })
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write(`GET / HTTP/${version}\r\nHost: localhost\r\n\r\n`)
  return { socket, text: () => text }
}

const BODIES: readonly [string, UpstreamResponse, string][] = [
  ['whole and short', storedResponse(200, 'OK', ['Content-Length', '5'], Buffer.from('hello')), 'hello'],
  ['whole and empty', storedResponse(200, 'OK', ['Content-Length', '0'], Buffer.alloc(0)), ''],
  ['streamed', streamed('5', ['hel', 'lo']), 'hello'],
  ['streamed and empty', streamed('0', []), ''],
]

for (const [name, upstream, body] of BODIES) {
  t.test(`a response that is ${name} is complete for its caller only after the audit`, async (t) => {
    const audit = Promise.withResolvers<void>()
    const { text, error } = await start(t, upstream, () => audit.promise)
    const isWhole = () => text().endsWith(`\r\n\r\n${body}`)
    await sleep(50)
    t.notOk(isWhole(), text())
    audit.resolve()
    t.equal(await error, undefined)
    for (let tries = 0; tries < 100 && !isWhole(); tries++) await sleep(10)
    t.ok(isWhole(), text())
  })

  t.test(`a response that is ${name} has begun when its audit fails, so that it breaks off`, async (t) => {
    const { text, error } = await start(t, upstream, () => Promise.reject(new Error('the disk is full')))
    t.match(await error, { message: 'the disk is full' })
    await sleep(50)
    // The head of an empty response would be the whole response.
    t.match(text(), body === '' ? /^$/ : /^HTTP\/1\.1 200 OK\r\n/)
  })
}

/** What the caller has, once it matches or a second has passed. */
async function arrived(text: () => string, pattern: RegExp): Promise<string> {
  for (let tries = 0; tries < 100 && !pattern.test(text()); tries++) await sleep(10)
  return text()
}

t.test('each piece reaches the caller as it comes, although the end waits for the audit', async (t) => {
  for (const rawHeaders of [['Content-Length', '8'], []]) {
    const audit = Promise.withResolvers<void>()
    const rest = Promise.withResolvers<void>()
    const pipe: UpstreamResponse['pipe'] = async (write) => {
      write(Buffer.from('one\n'))
      await rest.promise
      write(Buffer.from('two\n'))
    }
    const upstream = { ...streamed('8', []), rawHeaders, head: headOf(rawHeaders), pipe }
    const { text, error } = await start(t, upstream, () => audit.promise)
    t.match(await arrived(text, /one/), /\r\n\r\n(?:4\r\n)?one\n(?:\r\n)?$/)
    rest.resolve()
    // Chunks have an end of their own.
    t.match(await arrived(text, /two/), rawHeaders.length === 0 ? /\r\n4\r\ntwo\n\r\n$/ : /one\ntwo$/)
    audit.resolve()
    t.equal(await error, undefined)
    t.match(
      await arrived(text, /two\n(?:\r\n0\r\n\r\n)?$/),
      rawHeaders.length === 0 ? /two\n\r\n0\r\n\r\n$/ : /one\ntwo\n$/,
    )
  }
})

t.test(
  'the head of a response in chunks does not wait for its body, although the end waits for the audit',
  async (t) => {
    const upstream = {
      ...streamed('', []),
      rawHeaders: [],
      head: headOf([]),
      pipe: () => new Promise<void>(() => {}),
    }
    const { text } = await start(t, upstream, async () => {})
    t.match(await arrived(text, /\r\n\r\n$/), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/)
  },
)

t.test(
  'what has arrived of a response reaches its caller, even if the rest is known to be lost',
  async (t) => {
    const upstream = streamed('5', [])
    const pipe: UpstreamResponse['pipe'] = (write) => {
      write(Buffer.from('hel'))
      return Promise.reject(new Error('reset'))
    }
    const { text, error } = await start(t, { ...upstream, pipe })
    t.match(await error, { message: 'reset' })
    await sleep(50)
    t.match(text(), /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nhel$/)
  },
)

t.test('a caller without chunks has some time to read the last bytes before the reset', async (t) => {
  const respond = async (response: ServerResponse) => {
    response.write('the last line')
    await breakOff(response)
  }
  const { socket, text } = await callTo(t, respond, '1.0')
  let readAt = 0
  socket.on('data', () => {
    readAt = performance.now()
  })
  const [error] = await once(socket, 'close').then(
    () => [],
    (error) => [error],
  )
  t.match(error, { code: 'ECONNRESET' })
  t.ok(text().endsWith('the last line'), text())
  t.ok(performance.now() - readAt > 100)
})

t.test('a head that Node refuses is an error, and the response from Procore is given up', async (t) => {
  let reason: Error | undefined
  const upstream = {
    ...streamed('5', ['hello']),
    rawHeaders: ['X-Note', 'a\0b'],
    abort: (error: Error) => (reason = error),
  }
  const { error, text } = await start(t, upstream)
  const refused = await error
  t.match(refused, { code: 'ERR_INVALID_CHAR' })
  t.equal(reason, refused)
  t.equal(text(), '')
})

t.test('so is one that is refused only when a packed body has begun', async (t) => {
  const rawHeaders = ['X-Note', 'a\0b', 'Content-Encoding', 'gzip']
  const upstream = storedResponse(200, 'OK', rawHeaders, gzipSync('hello'))
  const { error } = await start(t, upstream, async () => {}, true)
  t.match(await error, { code: 'ERR_INVALID_CHAR' })
})

t.test('what is kept of a refusal can be read, also if it was compressed', async (t) => {
  const text = '{"errors":"no"}'
  const packed = gzipSync(text)
  for (const [coding, body, kept] of [
    ['gzip', packed, text],
    ['gzip', packed.subarray(0, -8), text],
    ['X-Gzip', packed, text],
    ['deflate', deflateSync(text), text],
    ['br', brotliCompressSync(text), text],
    ['zstd', zstdCompressSync(text), text],
    ['identity', Buffer.from(text), text],
    ['gzip', Buffer.from('not gzip at all'), 'not gzip at all'],
    ['other', Buffer.from('of another kind'), 'of another kind'],
    ['gzip', gzipSync('a'.repeat(400_000)), 'a'.repeat(64 * 1024)],
  ] as const) {
    const headers = ['Content-Encoding', coding, 'Content-Length', String(body.length)]
    const { error, exchange } = await start(t, storedResponse(403, 'Forbidden', headers, body))
    t.equal(await error, undefined)
    t.equal(String(exchange.errorBody), kept, coding)
  }
})
