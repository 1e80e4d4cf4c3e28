// upstream.http2: requests share a connection where the server speaks HTTP/2, and have one each where it does not.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import t, { type Test } from 'tap'
import { openSocket, startRig } from '../fixtures/proxy.ts'

const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
const certificate = { cert: pem('good.pem'), key: pem('good.key') }
const BIG = Buffer.alloc(3 * 1024 * 1024, 'x')

tls.setDefaultCACertificates([...tls.getCACertificates('default'), pem('ca.pem')])

/** Answers with what it got; to `/rest/v1.0/me` once `together` requests are there. */
function echo(together: number) {
  const waiting: (() => void)[] = []
  return async (request: Http2ServerRequest, response: Http2ServerResponse) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    await once(request, 'end')
    const { url, method, httpVersion, headers } = request
    const bytes = Buffer.concat(pieces).length
    if (url === '/rest/v1.0/big') {
      response.end(BIG)
      return
    }
    if (url === '/rest/v1.0/reset') {
      response.stream.close(2)
      return
    }
    const answer = () => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ url, method, httpVersion, headers, bytes }))
    }
    if (!url?.startsWith('/rest/v1.0/me')) {
      answer()
      return
    }
    waiting.push(answer)
    if (waiting.length >= together) for (const each of waiting.splice(0)) each()
  }
}

async function rig(t: Test, api: Server) {
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => api.close())
  const apiUrl = `https://localhost:${(api.address() as AddressInfo).port}`
  return startRig(t, {
    settings: (fake) => ({
      environments: { fake: { apiUrl, loginUrl: fake.loginUrl } },
      upstream: { http2: true },
    }),
  })
}

t.test('requests share one connection', async (t) => {
  const together = 8
  const api = createSecureServer({ ...certificate, allowHTTP1: true }, echo(together))
  let sessions = 0
  api.on('session', () => sessions++)
  const { get } = await rig(t, api)
  // While the first connection is made, nobody knows yet what it will speak.
  t.equal((await get('/acme/rest/v1.0/projects')).status, 200)
  const answers = await Promise.all(Array.from({ length: together }, () => get('/acme/rest/v1.0/me?a=%41')))
  for (const { status, json } of answers) {
    t.equal(status, 200)
    t.match(json, {
      url: '/rest/v1.0/me?a=%41',
      httpVersion: '2.0',
      headers: { 'procore-company-id': '7656' },
    })
    t.match(json.headers.authorization, /^Bearer \S+$/)
  }
  t.equal(sessions, 1)
})

t.test('bodies, long answers, methods and broken streams', async (t) => {
  const { get } = await rig(t, createSecureServer({ ...certificate, allowHTTP1: true }, echo(1)))
  const posted = await get('/acme/rest/v1.0/projects', { method: 'POST', body: 'x'.repeat(100_000) })
  t.match(posted, { status: 200, json: { method: 'POST', bytes: 100_000, httpVersion: '2.0' } })
  t.match(await get('/acme/rest/v1.0/me', { method: 'HEAD' }), { status: 200, text: '' })
  const big = await get('/acme/rest/v1.0/big')
  t.equal(big.text.length, BIG.length)
  t.match(await get('/acme/rest/v1.0/reset', { method: 'POST' }), {
    status: 502,
    headers: { 'procore-proxy-error': /^upstream_/ },
  })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
})

t.test('a caller that goes away in the middle of a body takes nothing but its request along', async (t) => {
  const { get, port } = await rig(t, createSecureServer({ ...certificate, allowHTTP1: true }, echo(1)))
  for (const [announced, sent, afterMs] of [
    [8_000_000, 3_000_000, 5],
    [8_000_000, 3_000_000, 20],
    [600_000, 300_000, 15],
    [600_000, 300_000, 40],
  ] as const) {
    const socket = await openSocket(port)
    socket.write(`POST /acme/rest/v1.0/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${announced}\r\n\r\n`)
    socket.write(Buffer.alloc(sent))
    await sleep(afterMs)
    socket.destroy()
    await sleep(20)
    const before = process.cpuUsage()
    await sleep(100)
    const { user, system } = process.cpuUsage(before)
    t.ok(user + system < 90_000, 'nothing turns for ever')
    t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  }
})

t.test('a server of HTTP/1.1 alone is asked for one thing at a time on each connection', async (t) => {
  const together = 10
  const api = createServer(certificate, echo(together) as never)
  let sockets = 0
  api.on('secureConnection', () => sockets++)
  const { get } = await rig(t, api)
  const answers = await Promise.all(Array.from({ length: together }, () => get('/acme/rest/v1.0/me')))
  for (const answer of answers) t.match(answer, { status: 200, json: { httpVersion: '1.1' } })
  t.equal(sockets, together)
})
