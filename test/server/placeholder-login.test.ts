// Covers src/server/placeholder-login.ts
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fastify } from 'fastify'
import t, { type Test } from 'tap'
import type { RequestContext } from '../../src/server/app.ts'
import { registerPlaceholderLogin } from '../../src/server/placeholder-login.ts'
import { openSocket, type Rig, startRig } from '../fixtures/proxy.ts'

async function start(t: Test, key: string) {
  const app = fastify()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.addHook('onRequest', async (request) => {
    request.proxyContext = { connection: { whenBroken: () => {} } } as unknown as RequestContext
  })
  registerPlaceholderLogin(app, {
    asksForKeys: true,
    findKey: async (secrets) => secrets.find((secret) => secret === key),
    refused: async () => {},
  })
  t.teardown(() => app.close())
  await app.ready()
  return (payload: string, headers: Record<string, string>) =>
    app.inject({ method: 'POST', url: '/oauth/token', payload, headers })
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

t.test('With keys, the key is the client secret and becomes the token', async (t) => {
  const post = await start(t, 'the-callers-key')
  const basic = Buffer.from('id:the-callers-key').toString('base64')
  for (const [payload, headers] of [
    ['grant_type=client_credentials&client_id=x&client_secret=the-callers-key', FORM],
    ['{"client_secret":"the-callers-key"}', { 'content-type': 'application/json' }],
    ['grant_type=client_credentials', { ...FORM, authorization: `Basic ${basic}` }],
  ] as const) {
    const answer = await post(payload, headers)
    t.match(answer.json(), { access_token: 'the-callers-key', expires_in: 7200 }, payload)
    t.match(answer.headers, { 'cache-control': 'no-store', pragma: 'no-cache' })
  }
  for (const [payload, headers] of [
    ['', FORM],
    ['client_secret=another-key', FORM],
    [`client_secret=the-callers-key&x=${'x'.repeat(16 * 1024)}`, FORM],
    ['{"client_secret":["the-callers-key"]}', { 'content-type': 'application/json' }],
  ] as const) {
    const answer = await post(payload, headers)
    t.equal(answer.statusCode, 401, payload.slice(0, 60))
    t.match(answer.headers['www-authenticate'], /^Basic /)
    t.match(answer.json(), { error: 'invalid_client' })
    t.notMatch(answer.body, 'the-callers-key')
  }
})

t.test('A revocation has its key in a header, or as the client secret', async (t) => {
  const key = 'the-callers-key-1'
  const rig = await startRig(t, { settings: { guard: { clientKeys: [key] } } })
  const revoke = (body: string, headers: Record<string, string> = {}) =>
    rig.get('/oauth/revoke', { method: 'POST', body, headers: { ...FORM, ...headers } })
  t.match(await revoke(`token=x&client_secret=${key}`), { status: 200, text: '{}' })
  t.match(await revoke('token=x', { 'procore-proxy-key': key }), { status: 200, text: '{}' })
  for (const answer of [
    await revoke('token=x'),
    await revoke('client_secret=made-up'),
    await revoke(`client_secret=${key}`, { 'procore-proxy-key': 'made-up' }),
  ]) {
    t.match(answer, { status: 401, headers: { 'procore-proxy-error': 'key_required' } })
  }
})

t.test('A login is judged like any other request, before and after its key is known', async (t) => {
  const [one, two] = ['the-key-of-caller-one', 'the-key-of-caller-two']
  const open = await startRig(t)
  const keyed = await startRig(t, {
    settings: { callers: { one: { key: one }, two: { key: two } } },
  })
  const login = (
    rig: Rig,
    path: string,
    headers: Record<string, string> = {},
    body = `client_secret=${one}`,
  ) => rig.get(path, { method: 'POST', body, headers: { ...FORM, ...headers } })
  const via = '1.1 procore-proxy, 1.1 procore-proxy'
  type Call = [path: string, headers?: Record<string, string>, body?: string]
  const cases: [rig: Rig, code: string | undefined, ...Call][] = [
    [open, undefined, '/acme/oauth/token'],
    [open, 'company_unknown', '/nope/oauth/token'],
    [open, 'company_unknown', '/oauth/token', { host: 'nope.localhost' }],
    [open, 'company_conflict', '/acme/oauth/token', { host: 'globex.localhost' }],
    [open, 'loop_detected', '/oauth/token', { via }],
    [keyed, undefined, '/acme/oauth/token'],
    [keyed, 'company_unknown', '/nope/oauth/token'],
    [keyed, undefined, '/nope/oauth/token', {}, 'client_secret=made-up'],
    [keyed, 'loop_detected', '/oauth/token', { via }],
    [keyed, undefined, '/oauth/token', { 'procore-proxy-key': one }],
    [keyed, 'key_required', '/oauth/token', { 'procore-proxy-key': two }],
    [keyed, 'key_required', '/oauth/token', {}, `client_secret=${one}&client_secret=${two}`],
    [keyed, 'key_required', '/rest/oauth/token'],
    [keyed, undefined, '/rest/oauth/token', { 'procore-proxy-key': one, 'procore-company-id': '7656' }],
    [keyed, 'key_required', '/_proxy/oauth/revoke'],
  ]
  for (const [rig, code, ...call] of cases) {
    const { headers } = await login(rig, ...call)
    t.equal(headers['procore-proxy-error'], code, JSON.stringify(call))
  }
  for (const method of ['GET', 'POST'] as const) {
    const { json } = await open.get('/oauth/token/info', { method })
    t.match(json, { expires_in_seconds: 7200, application: { uid: String } }, method)
  }
})

t.test('A login without a key is a refusal in log and audit, and half a login keeps no place', async (t) => {
  const file = join(t.testdir(), 'audit.log')
  const rig = await startRig(t, {
    settings: { guard: { clientKeys: ['the-callers-key-1'] }, audit: { file } },
  })
  const answer = await rig.get('/oauth/token', {
    method: 'POST',
    body: 'client_secret=made-up',
    headers: FORM,
  })
  t.match(answer, { status: 401, json: { error: 'invalid_client' } })
  t.match(rig.log().at(-1), { level: 'warn', path: '/oauth/token', status: 401, cause: 'key_required' })
  t.match(JSON.parse(readFileSync(file, 'utf8')), { path: '/oauth/token', cause: 'key_required' })
  const sockets = await Promise.all(Array.from({ length: 70 }, () => openSocket(rig.port)))
  for (const socket of sockets) {
    socket.write('POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nclient_secret=')
  }
  while (rig.server.inFlight < sockets.length) await new Promise(setImmediate)
  const headers = { 'procore-proxy-key': 'the-callers-key-1' }
  t.equal((await rig.get('/_proxy/status', { headers })).status, 200)
  for (const socket of sockets) socket.destroy()
})

t.test('A login that has begun ends, although the proxy stops', async (t) => {
  const key = 'the-callers-key-1'
  const { port, server } = await startRig(t, { settings: { guard: { clientKeys: [key] } } })
  const body = `client_secret=${key}`
  const socket = await openSocket(port)
  socket.write(
    `POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`,
  )
  while (server.inFlight === 0) await new Promise(setImmediate)
  const drained = server.drain()
  socket.write(body)
  let text = ''
  for await (const chunk of socket) text += chunk
  t.match(text, /^HTTP\/1\.1 200 OK\r\n.*"access_token"/s)
  t.ok(await drained)
})

t.test('A caller that waits for 100 Continue is asked for its key', async (t) => {
  const key = 'the-callers-key-1'
  const { port } = await startRig(t, { settings: { guard: { clientKeys: [key] } } })
  const body = `client_secret=${key}`
  const socket = await openSocket(port)
  socket.write(
    `POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
  )
  let text = ''
  for await (const chunk of socket) {
    if (text === '') socket.write(body)
    text += chunk
  }
  t.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n.*"access_token":"the-callers-key-1"/s)
})
