// What an adversarial review found (2026-11-23), each finding as the attack that showed it.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ACME, GLOBEX, openSocket, sendRaw, settingsFor, startRig } from '../fixtures/proxy.ts'
import { startRawUpstream } from '../fixtures/raw-upstream.ts'

/** A proxy in front of an API that does with each connection what it likes, with the login server of a fake. */
async function rigFor(t: Test, serve: (socket: Socket) => void) {
  const { url } = await startRawUpstream(t, (_request, socket) => serve(socket))
  return startRig(t, {
    settings: ({ loginUrl }) => ({
      environments: { fake: { apiUrl: url, loginUrl } },
      upstream: { retries: 0, compression: 'off' },
    }),
  })
}

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`

t.test('an API that breaks off while its 401 is held back does not end the process', async (t) => {
  for (const head of [
    'HTTP/1.1 401 U\r\nConnection: close\r\nContent-Length: 999999999\r\n\r\n',
    'HTTP/1.0 401 U\r\n\r\n',
  ]) {
    const {
      port,
      fake,
      get: call,
    } = await rigFor(t, (socket) => {
      socket.write(head + 'a'.repeat(100))
      setTimeout(() => socket.resetAndDestroy(), 50)
    })
    fake.faults.token = { delayMs: 200 }
    await sendRaw(port, get('/acme/rest/v1.0/me'), 600)
    t.equal((await call('/_proxy/health/live')).status, 200, head.slice(0, 12))
  }
})

t.test('nor does one that breaks off while callers do not read', async (t) => {
  for (const how of ['reset', 'end'] as const) {
    const { port, get: call } = await rigFor(t, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 999999999\r\n\r\n')
      socket.write(Buffer.alloc(8_000_000))
      setTimeout(() => (how === 'reset' ? socket.resetAndDestroy() : socket.end()), 150)
    })
    const callers = await Promise.all(Array.from({ length: 10 }, () => openSocket(port)))
    for (const caller of callers) {
      caller.pause()
      caller.on('error', () => {})
      caller.write(get('/acme/rest/v1.0/me'))
    }
    await sleep(500)
    for (const caller of callers) caller.destroy()
    t.equal((await call('/_proxy/health/live')).status, 200, how)
  }
})

t.test('a rule that allows POST is not turned into DELETE by a header that is not sent', async (t) => {
  const { fake, port } = await startRig(t, {
    settings: {
      companies: {
        acme: {
          id: ACME,
          serviceAccount: 'app',
          rules: [{ allow: '/rest/v1.0/echo', methods: ['POST'] }, { deny: '/**' }],
        },
      },
    },
  })
  const post = (headers: string) =>
    sendRaw(
      port,
      `POST /rest/v1.0/echo HTTP/1.1\r\nHost: localhost\r\n${headers}Content-Length: 14\r\n\r\n_method=DELETE`,
    )
  t.match(await post('Content-Type: application/json\r\n'), /^HTTP\/1\.1 200/)
  fake.journal.clear()
  for (const headers of [
    'Connection: close, content-type\r\nContent-Type: application/json\r\n',
    'Connection: Content-Type\r\nContent-Type: application/json\r\n',
    'Content-Type: ;\r\n',
    'Content-Type: ,application/x-www-form-urlencoded\r\n',
    'Content-Type: application/x-www-form-urlencoded\r\n',
    '',
  ]) {
    t.match(await post(headers), /^HTTP\/1\.1 403 /, JSON.stringify(headers))
  }
  t.equal(fake.journal.api().length, 0)
})

t.test('a port that was handed out for one company never becomes another’s', async (t) => {
  const own = (id: string) => ({ id, serviceAccount: 'app', listen: '127.0.0.1:0' })
  const {
    fake,
    server,
    get: call,
    reload,
  } = await startRig(t, {
    settings: { companies: { acme: own(ACME), globex: own(GLOBEX) } },
  })
  const urlOf = (name: string) => server.addresses().find(({ company }) => company === name)?.url ?? ''
  const [acme, globex] = [urlOf('acme'), urlOf('globex')]
  await reload(settingsFor(fake, { companies: { globex: own(GLOBEX) } }))
  t.equal(urlOf('globex'), globex, 'globex keeps its own')
  await t.rejects(call('/rest/v1.0/me', { base: acme }), { code: 'ECONNREFUSED' })
})

t.test('after an offer of h2c nothing more is taken from the connection', async (t) => {
  const { fake, port } = await startRig(t)
  const socket = await openSocket(port)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  socket.resume()
  const closed = once(socket, 'close')
  const body = get('/acme/rest/v1.0/echo/smuggled').padEnd(100)
  socket.write(
    `${get(
      '/acme/rest/v1.0/echo/1',
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n',
    )}POST /acme/rest/v1.0/echo/2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n`,
  )
  await sleep(100)
  if (socket.writable) socket.write(body)
  await closed
  t.strictSame(
    fake.journal.api().map(({ url }) => url),
    ['/rest/v1.0/echo/1'],
  )
})

t.test('what lies below /rest/ goes to Procore, whatever it is called', async (t) => {
  const { fake, get: call } = await startRig(t, {
    settings: { companies: { acme: { id: ACME, serviceAccount: 'app' } } },
  })
  for (const path of ['/rest/_proxy/status', '/vapid/_proxy/metrics', '/rest/_proxy/health/live']) {
    fake.journal.clear()
    await call(path)
    t.strictSame(
      fake.journal.api().map(({ url }) => url),
      [path],
    )
  }
})

t.test('every answer of the proxy’s own says so, also to odd requests', async (t) => {
  const { port } = await startRig(t)
  for (const bytes of [
    get('/acme/rest/v1.0/me', 'Expect: 200-ok\r\n'),
    get('/_proxy/nothing'),
    `GET HTTP://localhost/_proxy/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    get('/rest/oauth/../x'),
  ]) {
    t.match(await sendRaw(port, bytes), /^HTTP\/1\.1 4.*\r\nProcore-Proxy-Error: /s, bytes.slice(0, 40))
  }
  const old = await sendRaw(
    port,
    'POST /acme/rest/v1.0/echo HTTP/1.0\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx',
  )
  t.match(old, /^HTTP\/1\.1 200/, 'an HTTP/1.0 caller is never told 100 Continue')
})

t.test('a bearer is not sent after its end, however long the request waited for a connection', async (t) => {
  const { fake, get: call } = await startRig(t, {
    fake: { tokenLifetimeSeconds: 1 },
    settings: { upstream: { connections: 1, retries: 0 } },
  })
  fake.faults.api = [{ match: '/rest/v1.0/slow', delayMs: 1_500, status: 200, body: 'slow' }]
  const answers = await Promise.all([call('/acme/rest/v1.0/slow'), call('/acme/rest/v1.0/me')])
  t.strictSame(
    answers.map(({ status }) => status),
    [200, 200],
  )
  t.strictSame(
    fake.journal.api().map(({ status }) => status),
    [200, 200],
    'no 401 on the way',
  )
})
