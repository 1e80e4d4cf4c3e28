// Attacks on the proxy's own pages, lists and errors: sniffing, and callers that ask for many at once.
import t from 'tap'
import { attack, getOf, head, UNLIMITED } from '../fixtures/attacker.ts'
import { openSocket, startRig } from '../fixtures/proxy.ts'
import { startRawUpstream } from '../fixtures/raw-upstream.ts'
import { words } from '../fixtures/words.ts'

t.test('No response of the proxy’s own is sniffed for another type', async (t) => {
  const rig = await startRig(t, { fake: UNLIMITED! })
  const pages = [
    ...words`
      page.js page.css status metrics requests events errors health/live nothing
    `,
    '',
  ]
  const targets = [
    ...pages.map((page) => `/_proxy/${page}`),
    '/oauth/token/info',
    '/nothing',
    '/acme/_proxy/csv/rest/v1.0/projects',
    '/acme/_proxy/csv/rest/v1.0/nothing',
  ]
  const requests = [
    ...targets.map((target) => getOf(target)),
    head('POST /oauth/token HTTP/1.1', 'Host: localhost', 'Content-Length: 0'),
    head('TRACE / HTTP/1.1', 'Host: localhost'),
    head('CONNECT x:1 HTTP/1.1', 'Host: localhost'),
    head('no HTTP'),
  ]
  for (const request of requests) {
    const { answers, text } = await attack(rig, request, { patienceMs: 1_500 })
    const found = answers[0]?.values('x-content-type-options') ?? /nosniff/.exec(text)
    t.same(found && [...found], ['nosniff'], request.slice(0, 60))
  }
})

t.test('Lists and own pages under way are bounded, and their places come back', async (t) => {
  const { url } = await startRawUpstream(t, () => {})
  const rig = await startRig(t, {
    settings: ({ loginUrl }) => ({
      environments: { fake: { apiUrl: url, loginUrl } },
      metrics: { listen: '127.0.0.1:0' },
    }),
  })
  const sockets = await Promise.all(Array.from({ length: 64 }, () => openSocket(rig.port)))
  for (const socket of sockets) socket.write(getOf('/acme/_proxy/csv/rest/v1.0/projects'))
  while (rig.server.inFlight < sockets.length) await new Promise(setImmediate)
  t.equal((await attack(rig, getOf('/_proxy/status'))).verdict, '503 overloaded')
  t.equal((await attack(rig, getOf('/_proxy/health/live'))).verdict, '200', 'health is never refused')
  const base = rig.server.addresses().find((each) => each.url !== rig.url)?.url ?? ''
  t.equal((await rig.get('/_proxy/metrics', { base })).status, 200, 'nor are metrics at their own address')
  for (const socket of sockets) socket.destroy()
  while (rig.server.inFlight > 0) await new Promise(setImmediate)
  t.equal((await attack(rig, getOf('/_proxy/status'))).verdict, '200')
})
