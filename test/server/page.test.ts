// The page at /_proxy/ without a browser: its routes and their headers, the switch, the masking, the stream of events.
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { TokenFailure } from '../../src/auth/request-token.ts'
import { startExchange } from '../../src/observe/exchange.ts'
import { createLogger } from '../../src/observe/log.ts'
import { EVERYTHING } from '../../src/observe/viewer.ts'
import { EventStreams } from '../../src/server/event-streams.ts'
import { Observation } from '../../src/server/observation.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { testAccount, testConfig } from '../fixtures/config.ts'
import { testLive } from '../fixtures/live.ts'
import { openSocket, type Rig, sendRaw, startRig } from '../fixtures/proxy.ts'

const ROUTES = ['/_proxy/', '/_proxy/page.js', '/_proxy/page.css', '/_proxy/requests']

interface Event {
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into what they expect
  readonly data: any
}

/** Opens the stream as a page does, and collects its events. */
async function openStream(t: Test, { url }: Pick<Rig, 'url'>) {
  const abort = new AbortController()
  t.teardown(() => abort.abort())
  const answer = await fetch(`${url}/_proxy/events`, { signal: abort.signal })
  const events: Event[] = []
  const ended = (async () => {
    let text = ''
    try {
      for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk
        const blocks = text.split('\n\n')
        text = blocks.pop() ?? ''
        for (const block of blocks) {
          const [, name = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? []
          events.push({ name, data: JSON.parse(data) })
        }
      }
      return true
    } catch {
      return false
    }
  })()
  const find = async (name: string, fits: (data: Event['data']) => boolean = () => true) => {
    for (let tries = 0; tries < 100; tries++) {
      const found = events.find((event) => event.name === name && fits(event.data))
      if (found !== undefined) return found.data
      await sleep(50)
    }
    throw new Error(`no event ${name}`)
  }
  return { answer, events, ended, find, abort }
}

const settingsOf = ({ file }: Rig) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>

t.test('what Procore answered affects no terminal, in an event or the detail of a request', async (t) => {
  const rig = await startRig(t)
  const abort = new AbortController()
  t.teardown(() => abort.abort())
  const { body } = await fetch(`${rig.url}/_proxy/events`, { signal: abort.signal })
  rig.fake.faults.api.push({ match: '/rest/v1.0/me', headers: { 'X-Note': 'x\x9b2J' }, body: '{}' })
  await rig.get('/acme/rest/v1.0/me', { headers: { 'x-request-id': 'odd' } })
  let text = (await rig.get('/_proxy/requests/odd')).text
  t.match(text, '"x\\u009b2J"')
  t.notMatch(text, '\x9b')
  text = ''
  for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (text.includes('2J')) break
  }
  t.match(text, '"x\\u009b2J"')
  t.notMatch(text, '\x9b')
})

t.test('every part of the page is sent with headers that keep other pages out of it', async (t) => {
  const rig = await startRig(t)
  for (const path of ROUTES) {
    const { status, headers } = await rig.get(path)
    t.equal(status, 200, path)
    t.match(headers, {
      'content-security-policy':
        /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'x-frame-options': 'DENY',
      'cache-control': 'no-store',
    })
    t.notMatch(headers['content-security-policy'], 'unsafe')
  }
  const { answer } = await openStream(t, rig)
  t.equal(answer.headers.get('content-type'), 'text/event-stream')
  t.match(answer.headers.get('content-security-policy'), /frame-ancestors 'none'/)
  const page = await rig.get('/_proxy/')
  t.match(page.headers['content-type'], 'text/html')
  t.notMatch(
    page.text,
    /<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|https?:\/\/(?!www\.w3\.org)/,
    'nothing inline',
  )
  t.equal((await rig.get('/acme/_proxy/')).status, 200, 'below a company too')
  t.equal((await rig.get('/unknown/_proxy/')).status, 404)
  for (const path of [...ROUTES, '/_proxy/events', '/_proxy/status', '/acme/_proxy/metrics']) {
    t.equal((await rig.get(path, { method: 'POST' })).status, 404, `POST ${path}`)
  }
  t.match(await rig.get('/_proxy/status', { method: 'HEAD' }), { status: 200, text: '' })
  t.equal((await rig.get('/_proxy/events', { method: 'HEAD' })).status, 404, 'no stream without a body')
})

t.test('requests: a list, and each by its id; nothing secret in either', async (t) => {
  const rig = await startRig(t)
  await rig.get('/acme/rest/v1.0/echo?filter=s3cr3t-query', {
    headers: { authorization: 'Bearer s3cr3t-bearer', 'x-request-id': 'mine-1', 'x-odd': 's3cr3t-value' },
  })
  await rig.get('/acme/rest/v1.0/echo', { method: 'POST', body: 's3cr3t-body' })
  const list = await rig.get('/_proxy/requests')
  const [post, get] = list.json.requests
  t.match(post, { method: 'POST', status: 200, company: 'acme' })
  t.match(get, { id: 'mine-1', target: '/acme/rest/v1.0/echo?filter=*' })
  t.match(get.removed.join(' '), /authorization/i)
  t.equal(list.json.requests.length, 2, 'its own requests are not in it')
  const one = await rig.get('/_proxy/requests/mine-1')
  t.match(one.json, { id: 'mine-1', timing: { totalMs: Number } })
  const { find } = await openStream(t, rig)
  const hello = await find('hello')
  t.match(hello, { status: { version: String, companies: [{ name: 'acme' }, {}] }, requests: [{}, {}] })
  for (const text of [list.text, one.text, JSON.stringify(hello)]) t.notMatch(text, 's3cr3t')
  const none = await rig.get('/_proxy/requests/unknown')
  t.match(none, { status: 404, headers: { 'procore-proxy-error': 'route_unknown' } })
})

t.test('a whole list is one request and one line of the log; the status tells what is cached', async (t) => {
  const rig = await startRig(t)
  const { status, text } = await rig.get('/acme/_proxy/json/rest/v1.0/projects?per_page=1')
  const pages = JSON.parse(text).length
  t.match({ status, pages: pages > 1 }, { status: 200, pages: true })
  await rig.get('/acme/rest/v1.0/me')
  const { requests } = (await rig.get('/_proxy/requests')).json
  t.match(requests, [{ pages: 0 }, { target: '/acme/_proxy/json/rest/v1.0/projects?per_page=*', pages }])
  t.equal(requests.length, 2)
  const line = rig.log().find(({ path }) => String(path).startsWith('/acme/_proxy/json/'))
  t.match(line, { status: 200, pages, bytesOut: Buffer.byteLength(text) })
  const { cache } = (await rig.get('/_proxy/status')).json
  t.match(cache, { entries: Number, bytes: Number, underWay: 0, underWayBytes: 0 })
})

t.test('the stream tells of each request once, and of the state every other second', async (t) => {
  const rig = await startRig(t)
  await rig.get('/acme/rest/v1.0/me', { headers: { 'x-request-id': 'before, in hello' } })
  const { events, find } = await openStream(t, rig)
  await find('hello')
  const logged = rig.log().find(({ path }) => path === '/_proxy/events')
  t.match(logged, { status: 200 }, 'logged when it begins')
  for (const id of ['one', 'two']) await rig.get('/acme/rest/v1.0/me', { headers: { 'x-request-id': id } })
  await find('requests')
  const status = await find('status')
  t.equal(status.inFlight, 0, 'a stream is no request under way')
  await rig.get('/acme/rest/v1.0/me', { headers: { 'x-request-id': 'three' } })
  await find('requests', (data: { id: string }[]) => data.some(({ id }) => id === 'three'))
  const told = events
    .filter(({ name }) => name === 'requests')
    .flatMap(({ data }) => data as { id: string }[])
  t.strictSame(told.map(({ id }) => id).sort(), ['one', 'three', 'two'])
})

t.test('a drain ends the streams instead of waiting for them; a reload ends them too', async (t) => {
  const rig = await startRig(t, { settings: { shutdownTimeout: '20s' } })
  const before = await openStream(t, rig)
  await before.find('hello')
  await rig.reload(settingsOf(rig))
  t.equal(await before.ended, true, 'ended in order')
  const stream = await openStream(t, rig)
  await stream.find('hello')
  const deaf = await openSocket(rig.port)
  t.teardown(() => deaf.destroy())
  deaf.write('GET /_proxy/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await sleep(100)
  const start = performance.now()
  t.equal(await rig.server.drain(), true, 'nothing had to be cut')
  t.ok(performance.now() - start < 3_000)
  t.equal(await stream.ended, true)
})

t.test('no more than sixteen pages at once, and one that leaves makes room', async (t) => {
  const rig = await startRig(t)
  const streams = []
  for (let count = 0; count < 16; count++) streams.push(await openStream(t, rig))
  const refused = await rig.get('/_proxy/events')
  t.match(refused, { status: 503, headers: { 'procore-proxy-error': 'overloaded', 'retry-after': String } })
  streams[0]?.abort.abort()
  let status = 503
  for (let tries = 0; tries < 40 && status === 503; tries++) {
    await sleep(50)
    const answer = await fetch(`${rig.url}/_proxy/events`)
    status = answer.status
    await answer.body?.cancel()
  }
  t.equal(status, 200)
})

t.test('inspector.enabled: false takes the page away, and leaves status and metrics', async (t) => {
  const rig = await startRig(t)
  const settings = settingsOf(rig)
  const { find, ended } = await openStream(t, rig)
  await find('hello')
  await rig.reload({ ...settings, inspector: { enabled: false } })
  t.equal(await ended, true, 'open pages are told')
  for (const path of [...ROUTES, '/_proxy/events', '/_proxy/requests/x']) {
    const answer = await rig.get(path)
    t.match(answer, { status: 404, headers: { 'procore-proxy-error': 'route_unknown' } }, path)
  }
  t.equal((await rig.get('/_proxy/status')).status, 200)
  t.equal((await rig.get('/_proxy/metrics')).status, 200)
  await rig.reload(settings)
  t.equal((await rig.get('/_proxy/')).status, 200, 'and a reload brings it back')
})

t.test(
  'what comes in is data to the page: its JSON holds no line break that could end an event',
  async (t) => {
    const rig = await startRig(t)
    await sendRaw(
      rig.port,
      'GET /acme/rest/v1.0/<img/src=x>%0a%0aevent:%20evil HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    )
    const { find, events } = await openStream(t, rig)
    const { requests } = await find('hello')
    t.match(requests, [{ target: '/acme/rest/v1.0/<img/src=x>%0a%0aevent:%20evil' }])
    t.equal(events.length, 1)
  },
)

t.test('a page that reads nothing is dropped, and until then nothing piles up for it', async (t) => {
  const time = fakeTime(t)
  let seq = 0
  const inspector = { enabled: true, requests: () => [{ seq: ++seq }], series: () => [] }
  const secrets = { conceal: (text: string) => text }
  const streams = new EventStreams({ inspector, secrets, status: () => ({}) } as unknown as Observation)
  const open = () => {
    const raw = Object.assign(new EventEmitter(), {
      writableLength: 0,
      written: 0,
      isOpen: true,
      write: () => raw.written++,
      destroy: () => {
        raw.isOpen = false
        raw.emit('close')
      },
      end: () => raw.writableLength > 0 || raw.destroy(),
    })
    streams.open(raw as unknown as ServerResponse, EVERYTHING)
    return raw
  }
  const deaf = open()
  const well = open()
  deaf.writableLength = 1
  t.equal(deaf.written, 1, 'its beginning')
  await time.pass(10_000)
  t.match([deaf, well], [{ isOpen: true, written: 1 }, { isOpen: true }])
  t.ok(well.written > 5)
  for (const length of [1, 0, 1]) {
    well.writableLength = length
    await time.pass(9_000)
  }
  t.match([deaf.isOpen, well.isOpen], [false, true], 'one that reads now and then stays')
  streams.end()
  t.equal(well.isOpen, false)
  t.equal(time.timers().set, 0, 'no page, no timer')
})

t.test('"/" and "/_proxy" lead to the page, with the prefix of a company, where it is on', async (t) => {
  const rig = await startRig(t)
  const settings = settingsOf(rig)
  for (const [path, location] of [
    ['/', '/_proxy/'],
    ['/_proxy', '/_proxy/'],
    ['/acme/_proxy', '/acme/_proxy/'],
  ] as const) {
    t.match(await rig.get(path), { status: 302, headers: { location } }, path)
  }
  const absolute = 'GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  t.match(await sendRaw(rig.port, absolute), /^HTTP\/1\.1 (?:302|404)/)
  for (const path of ['/?x=1', '/acme/', '/_PROXY', '/nope/_proxy'])
    t.equal((await rig.get(path)).status, 404, path)
  const publicUrl = 'https://tools.example/procore'
  const own = { id: '1', serviceAccount: 'app', listen: '127.0.0.1:0', publicUrl }
  for (const more of [{ publicUrl }, { companies: { own } }]) {
    await rig.reload({ ...settings, ...more })
    t.match(await rig.get('/'), { status: 302, headers: { location: './_proxy/' } }, 'below another path')
  }
  await rig.reload({ ...settings, inspector: { enabled: false } })
  for (const path of ['/', '/_proxy']) t.match((await rig.get(path)).text, /switched off/, path)
})

function observe(t: Test) {
  const config = testConfig()
  const lines: string[] = []
  const log = createLogger(
    { level: 'info', format: 'json' },
    { write: (line: string) => void lines.push(line) },
  )
  const observation = new Observation({ config, log, live: testLive, budgetRemaining: () => undefined })
  t.teardown(() => observation.close())
  return { observation, lines, config }
}

t.test('token requests are logged; a refusal announces no attempt that does not come', async (t) => {
  const { observation, lines } = observe(t)
  const event = { account: testAccount(), tookMs: 1 }
  observation.token({ ...event, type: 'issued', lifetimeMs: 5_400_000 })
  for (const reason of ['rejected', 'timeout'] as const) {
    const failure = new TokenFailure(reason, 'it failed')
    observation.token({ ...event, type: 'failed', failure, retryInMs: 30_000 })
  }
  const [issued, refused, failed] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  t.match(issued, { level: 'info', msg: 'token issued', lifetimeS: 5400 })
  t.match(refused, { level: 'warn', reason: 'rejected', msg: 'token request failed' })
  t.notOk('retryInMs' in (refused ?? {}))
  t.match(failed, { reason: 'timeout', retryInMs: 30_000, msg: 'token request failed' })
})

t.test('the body of a refusal tells its cause in log, status and page, and is forgotten', async (t) => {
  const { observation, lines } = observe(t)
  const exchange = startExchange('id', 'GET', '/rest/v1.0/me')
  const errorBody = Buffer.from('{"errors":["App is not connected to this company."],"private":"body0"}')
  Object.assign(exchange, { company: 'acme', group: 'acme', upstreamMs: 1, errorBody })
  observation.ended(exchange, 403)
  const cause = 'The app is not connected to this company.'
  // A look at the page reports what has ended; the log would have its line after this turn of the event loop.
  t.match(observation.inspector.requests()[0]?.causes, [{ cause }])
  t.match(JSON.parse(lines[0] ?? ''), { status: 403, procoreCause: cause })
  t.match(observation.status().warnings, [
    /^Procore answered 403 for acme at \S+\. Cause: The app is not connected/,
  ])
  t.match(observation.status().companies[0]?.refusals, { status: 403, persistent: true, causes: [{ cause }] })
  t.equal(exchange.errorBody, undefined)
  t.notMatch(lines.join() + JSON.stringify(observation.status()), 'body0')
})

t.test('the page knows the request that came just before on the same connection', async (t) => {
  const rig = await startRig(t)
  const lines = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`
  const both = lines('/acme/rest/v1.0/me') + lines('/_proxy/requests', 'Connection: close\r\n')
  t.match(await sendRaw(rig.port, both), /"requests":\[\{"seq":1,.*\/acme\/rest\/v1\.0\/me/)
})
