// Covers src/server/connections.ts: one request at a time, a bounded queue behind it, stalled callers, too many of them.
import { spawnSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { Logger } from '../../src/observe/log.ts'
import { CallerConnections, type Handle } from '../../src/server/connections.ts'
import type { Listener } from '../../src/server/listeners.ts'
import { fakeTime } from '../fixtures/clock.ts'

const LISTENER: Listener = { address: { kind: 'tcp', host: '127.0.0.1', port: 1 }, company: undefined }

class FakeSocket extends EventEmitter {
  destroyed = false
  bytesWritten = 0
  writableLength = 0
  bytesRead = 0
  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }
  destroySoon(): void {
    this.destroy()
  }
}

class FakeResponse extends EventEmitter {
  shouldKeepAlive = true
}

function start(handle: Handle = () => {}, limit?: number) {
  const refused: unknown[][] = []
  const log = { warn: (...line: unknown[]) => void refused.push(line) }
  const connections = new CallerConnections(log as unknown as Logger, limit)
  connections.handle = handle
  const socket = new FakeSocket()
  const add = (each: FakeSocket) => connections.add(each as unknown as Socket, LISTENER)
  add(socket)
  const connection = connections.of(socket as unknown as Socket)!
  const receive = (headers: Record<string, string> = {}, by = connection) => {
    const response = new FakeResponse()
    by.receive(
      { headers, complete: true } as unknown as IncomingMessage,
      response as unknown as ServerResponse,
    )
    return response
  }
  return { connections, connection, socket, receive, add, refused }
}

t.test('one request is under way, sixteen wait in order, and one more ends the connection', async (t) => {
  const begun: unknown[] = []
  const { socket, receive, connection } = start((_request, response) => begun.push(response))
  const responses = Array.from({ length: 17 }, () => receive())
  t.strictSame(begun, [responses[0]])
  let ended = 0
  connection.current?.onClose.push(() => ended++)
  responses[0]?.emit('close')
  responses[0]?.emit('close')
  t.equal(ended, 1)
  t.strictSame(begun, responses.slice(0, 2))
  receive()
  t.notOk(socket.destroyed, 'sixteen again')
  connection.current?.onClose.push(() => ended++)
  receive()
  t.ok(socket.destroyed)
  t.equal(ended, 2, 'the one under way is told')
  t.equal(begun.length, 2, 'and no other begins')
  t.equal(connection.current, undefined)
})

t.test('a condemned connection takes no more requests, and ends with the response under way', async (t) => {
  const begun: unknown[] = []
  const { receive, connection, socket } = start((_request, response) => begun.push(response))
  const response = receive()
  receive()
  connection.condemn()
  t.equal(response.shouldKeepAlive, false)
  receive()
  response.emit('close')
  t.equal(begun.length, 1)
  t.ok(socket.destroyed)
})

t.test('the busy connections of one address are condemned, and no others', async (t) => {
  const { connections, connection, receive, add } = start()
  const other: Listener = { ...LISTENER, company: 'acme' }
  const [others, idle] = [new FakeSocket(), new FakeSocket()]
  connections.add(others as unknown as Socket, other)
  add(idle)
  const responses = [connection, connections.of(others as unknown as Socket)!].map((by) => receive({}, by))
  connections.condemn(LISTENER)
  const next = receive({}, connections.of(idle as unknown as Socket)!)
  t.strictSame(
    [...responses, next].map(({ shouldKeepAlive }) => shouldKeepAlive),
    [false, true, true],
  )
})

t.test(
  'an ignored offer of h2c keeps the connection, unless more arrived with it, which Node drops',
  async (t) => {
    const offer = { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: ['Upgrade', 'h2c'] }
    const length = 'GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n'.length
    for (const more of [0, 1]) {
      const begun: FakeResponse[] = []
      const { connection, socket } = start((_, response) => begun.push(response as unknown as FakeResponse))
      for (const _ of [1, 2]) {
        socket.bytesRead += length + more
        const request = { ...offer, headers: { upgrade: 'h2c' }, complete: true }
        const response = new FakeResponse()
        connection.receive(request as unknown as IncomingMessage, response as unknown as ServerResponse)
        response.emit('close')
      }
      t.equal(socket.destroyed, more > 0)
      t.strictSame(
        begun.map(({ shouldKeepAlive }) => shouldKeepAlive),
        more > 0 ? [false] : [true, true],
      )
    }
  },
)

t.test('a caller that takes nothing for so long is dropped; one that takes a little is not', async (t) => {
  const time = fakeTime(t)
  const slow = start()
  slow.receive()
  slow.socket.writableLength = 100
  slow.socket.bytesWritten = 100
  await time.pass(10_000)
  slow.socket.writableLength = 99
  await time.pass(14_000)
  t.notOk(slow.socket.destroyed)
  await time.pass(3_000)
  t.ok(slow.socket.destroyed, 'fifteen seconds for the proxy’s own pages')
  const forwarded = start()
  const response = forwarded.receive()
  forwarded.connection.current!.stallMs = 60_000
  forwarded.socket.writableLength = 100
  await time.pass(50_000)
  t.notOk(forwarded.socket.destroyed, 'as long as the request says')
  response.emit('close')
  await time.pass(100_000)
  t.notOk(forwarded.socket.destroyed, 'with nothing under way nothing can stall')
})

t.test('a caller whose response has ended gets five seconds to end its body', async (t) => {
  const time = fakeTime(t)
  for (const ends of [true, false]) {
    const { connection, socket } = start()
    const request = { headers: {}, complete: false }
    const response = new FakeResponse()
    connection.receive(request as unknown as IncomingMessage, response as unknown as ServerResponse)
    response.emit('close')
    await time.pass(4_000)
    t.notOk(socket.destroyed)
    request.complete = ends
    await time.pass(2_000)
    t.equal(socket.destroyed, !ends)
  }
})

t.test('beyond the limit, the connection that has been idle longest gives way to a new one', async (t) => {
  const time = fakeTime(t)
  const { connections, socket, receive, add, refused } = start(undefined, 3)
  const [first, second, third, fourth] = Array.from({ length: 4 }, () => new FakeSocket())
  const at = (each: FakeSocket) => connections.of(each as unknown as Socket)!
  const response = receive()
  for (const each of [first!, second!]) {
    await time.pass(1_000)
    add(each)
  }
  await time.pass(1_000)
  receive({}, at(first!)).emit('close')
  add(third!)
  t.ok(second?.destroyed, 'the other one has had a request since')
  add(fourth!)
  t.ok(first?.destroyed)
  response.emit('close')
  t.notOk(socket.destroyed || third?.destroyed || fourth?.destroyed)
  t.strictSame(refused, [], 'without a warning')
})

t.test(
  'of many connections the ones that have been idle longest give way, whatever happens meanwhile',
  async (t) => {
    const time = fakeTime(t)
    const { connections, receive, add } = start(undefined, 6)
    const sockets = Array.from({ length: 9 }, () => new FakeSocket())
    const gone = () => sockets.flatMap(({ destroyed }, nth) => (destroyed ? nth : []))
    const use = (nth: number) => receive({}, connections.of(sockets[nth] as unknown as Socket)!)
    for (const socket of sockets.slice(0, 5)) {
      await time.pass(1_000)
      add(socket)
    }
    const busy = use(2)
    receive()
    add(sockets[5]!)
    t.strictSame(gone(), [0])
    await time.pass(1_000)
    use(1).emit('close')
    busy.emit('close')
    sockets[3]?.destroy()
    for (const socket of sockets.slice(6)) {
      await time.pass(1_000)
      add(socket)
    }
    t.strictSame(gone(), [0, 3, 4, 5], '3 closed by itself; 1 and 2 have had requests since')
  },
)

t.test('busy connections never give way: new ones are closed, with one warning a minute', async (t) => {
  const time = fakeTime(t)
  const { socket, receive, add, refused } = start(undefined, 1)
  receive()
  const refuse = () => {
    const each = new FakeSocket()
    add(each)
    t.ok(each.destroyed)
  }
  for (let count = 0; count < 3; count++) refuse()
  t.match(refused, [[{ refused: 1 }, /^all 1 connections of callers are busy/]])
  await time.pass(60_000)
  refuse()
  t.match(refused.slice(1), [[{ refused: 3 }, String]], 'how many it were since')
  t.notOk(socket.destroyed)
  socket.destroy()
  const next = new FakeSocket()
  add(next)
  t.notOk(next.destroyed)
})

t.test(
  'of a burst, the first connections are served, and the others are closed with a warning',
  async (t) => {
    const time = fakeTime(t)
    const { socket, receive, add, refused } = start(undefined, 2)
    const [second, third, fourth] = Array.from({ length: 3 }, () => new FakeSocket())
    add(second!)
    add(third!)
    t.ok(third?.destroyed)
    t.notOk(socket.destroyed || second?.destroyed, 'their requests may have been sent already')
    t.match(refused, [[{ refused: 1 }, /ulimit -n/]], 'the warning names the fix')
    receive()
    await time.pass(1_000)
    add(fourth!)
    t.ok(second?.destroyed, 'it sent nothing')
    t.notOk(fourth?.destroyed)
    t.equal(refused.length, 1)
  },
)

t.test('with a very low limit on open files, some connections are still taken', async (t) => {
  const module = join(import.meta.dirname, '../../src/server/connections.ts')
  const script = `
    import { EventEmitter } from 'node:events'
    import { CallerConnections } from ${JSON.stringify(module)}
    const connections = new CallerConnections({ warn: () => {} })
    let closed = 0
    for (let count = 0; count < 64; count++) {
      const destroy = () => closed++
      connections.add(Object.assign(new EventEmitter(), { destroy, bytesRead: 0 }), {})
    }
    process.exit(closed)
  `
  const limit = 'unset NODE_OPTIONS NODE_V8_COVERAGE; ulimit -n 64; exec "$0" "$@"'
  const program = [process.execPath, '--input-type=module', '--eval', script]
  const { status, stderr } = spawnSync('sh', ['-c', limit, ...program], { encoding: 'utf8' })
  t.equal(status, 64 - 16, stderr)
})

t.test('a connection to an address that is not in force yet is closed at once', async (t) => {
  const { connections } = start()
  const socket = new FakeSocket()
  connections.add(socket as unknown as Socket, { ...LISTENER, isPending: true })
  t.ok(socket.destroyed)
  t.equal(connections.of(socket as unknown as Socket), undefined)
})
