// Twin of src/server/visit.ts, with a server of Node's and a house that writes down what it is told.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type Exchange, startExchange } from '../../src/observe/exchange.ts'
import type { Listener } from '../../src/server/listeners.ts'
import { type House, Visit } from '../../src/server/visit.ts'

const listener: Listener = { company: undefined, address: { kind: 'tcp', host: '127.0.0.1', port: 0 } }

interface Visited {
  readonly visit: Visit
  readonly exchange: Exchange
  readonly response: ServerResponse
  readonly caller: Socket
  readonly told: string[]
}

/** One request that has come in and waits for its answer. */
async function visited(t: Test): Promise<Visited> {
  const told: string[] = []
  const house = {
    drain: { entered: () => told.push('entered'), left: () => told.push('left') },
    listeners: { answered: (at: Listener) => told.push(at === listener ? 'answered' : 'elsewhere') },
    observation: {
      ended: (of: Exchange, status: number | null) => told.push(`ended ${of.reqId} ${status} ${of.cause}`),
    },
  } as unknown as House
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const caller = connect((server.address() as AddressInfo).port, '127.0.0.1').resume()
  caller.on('error', () => {})
  t.teardown(() => {
    caller.destroy()
    server.close()
  })
  caller.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const [, response] = (await once(server, 'request')) as [unknown, ServerResponse]
  const exchange = startExchange('r1', 'GET', '/')
  const visit = new Visit(house, listener, exchange, response)
  t.strictSame(told.splice(0), ['entered'])
  t.equal(visit.listener, listener)
  t.equal(visit.exchange, exchange)
  return { visit, exchange, response, caller, told }
}

t.test('an answer that ends is told once, with its status', async (t) => {
  const { visit, response, told } = await visited(t)
  response.writeHead(201).end('made')
  t.strictSame(told, [], 'not before all of it is written')
  await once(response, 'close')
  visit.end()
  t.strictSame(told, ['answered', 'left', 'ended r1 201 undefined'])
})

t.test('a caller that leaves before the answer gets no status', async (t) => {
  const { response, caller, told } = await visited(t)
  caller.destroy()
  await once(response, 'close')
  t.strictSame(told, ['answered', 'left', 'ended r1 null caller_gone'])
})

t.test('a caller that leaves amid the answer; a cause that is known stays', async (t) => {
  for (const cause of [undefined, 'upstream_protocol'] as const) {
    const { exchange, response, caller, told } = await visited(t)
    exchange.cause = cause
    response.writeHead(200, { 'content-length': 10 }).write('half')
    await once(caller, 'data')
    caller.destroy()
    await once(response, 'close')
    t.strictSame(told, ['answered', 'left', `ended r1 200 ${cause ?? 'caller_gone'}`])
  }
})

t.test('an answer that stays open counts as over before it ends', async (t) => {
  const { visit, exchange, response, caller, told } = await visited(t)
  response.writeHead(200).write('event')
  visit.end()
  t.strictSame(told.splice(0), ['left', 'ended r1 200 undefined'])
  visit.end()
  caller.destroy()
  await once(response, 'close')
  t.strictSame(told, ['answered'], 'the listener may close its connection then, and only then')
  t.equal(exchange.cause, undefined)
})
