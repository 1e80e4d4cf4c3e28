// Covers src/guards/file-hosts.ts
import { getEventListeners } from 'node:events'
import t from 'tap'
import { BUILT_IN_ENVIRONMENTS, type Environment } from '../../src/config/config.ts'
import { ProxyError } from '../../src/errors.ts'
import { CallerGoneError, Departure } from '../../src/forward/call.ts'
import { FileHostLimiter, fileOrigin, readFileTarget } from '../../src/guards/file-hosts.ts'
import { watch } from '../fixtures/clock.ts'
import { words } from '../fixtures/words.ts'

const builtIn = (name: string) => BUILT_IN_ENVIRONMENTS.find((one) => one.name === name) as Environment
const PRODUCTION = builtIn('production')
const LOCAL: Environment = {
  name: 'fake',
  apiUrl: 'http://127.0.0.1:9001',
  loginUrl: 'http://localhost:9002',
  fileDomain: 'localhost',
}

t.test('a name in the environment’s domain serves files, by https', async (t) => {
  for (const host of words`procore.com storage.procore.com a.b-c.procore.com xn--bcher-kva.procore.com`) {
    t.equal(fileOrigin(host, PRODUCTION), `https://${host}`)
  }
  t.equal(fileOrigin('Storage.PROCORE.com', PRODUCTION), 'https://storage.procore.com', 'in one spelling')
  t.equal(fileOrigin('files.procoregov.com', builtIn('federal')), 'https://files.procoregov.com')
  t.equal(fileOrigin('files.procore.com', builtIn('federal')), undefined)
})

t.test('no other host gets the bearer, however much it looks like one', async (t) => {
  for (const host of [
    '',
    '.',
    'evilprocore.com',
    'evil-procore.com',
    'procore.com.evil.example',
    'procore.com.',
    'storage.procore.com.',
    '.procore.com',
    'a..procore.com',
    '-a.procore.com',
    'a-.procore.com',
    'procore.co',
    'com',
    'user@storage.procore.com',
    'user:pw@storage.procore.com',
    'evil.example@procore.com',
    'evil.example#.procore.com',
    'evil.example?.procore.com',
    'evil.example\\.procore.com',
    'evil.example%2f.procore.com',
    'evil.example%23.procore.com',
    'evil.example%00.procore.com',
    'storage%2eprocore.com',
    'storage.procore.com:443',
    'storage.procore.com:80',
    'storage.procore.com:',
    'evil.example:80.procore.com',
    '127.0.0.1',
    '2130706433',
    '0x7f.1',
    '[::1]',
    '::1',
    '[::ffff:127.0.0.1].procore.com',
    'localhost',
    'localhost:80',
    'xn--procore-9za.com',
    'procorе.com',
    'procore。com',
    'storage.procore.com\u212a',
    `${'a'.repeat(64)}.procore.com`,
    `${'a.'.repeat(130)}procore.com`,
    ' storage.procore.com',
    'storage.procore.com\n',
  ]) {
    t.equal(fileOrigin(host, PRODUCTION), undefined, JSON.stringify(host))
  }
})

t.test('API and login servers are no file hosts, of whatever environment', async (t) => {
  for (const { apiUrl, loginUrl } of BUILT_IN_ENVIRONMENTS) {
    for (const url of [apiUrl, loginUrl]) {
      t.equal(fileOrigin(new URL(url).host, PRODUCTION), undefined, url)
      t.equal(fileOrigin(new URL(url).host, builtIn('federal')), undefined, url)
    }
  }
  const own = {
    ...PRODUCTION,
    apiUrl: 'https://gate.example',
    loginUrl: 'https://in.gate.example',
    fileDomain: 'gate.example',
  }
  t.equal(fileOrigin('gate.example', own), undefined)
  t.equal(fileOrigin('in.gate.example', own), undefined)
  t.equal(fileOrigin('files.gate.example', own), 'https://files.gate.example')
})

t.test('plain http and ports are for localhost alone, and for a plain http API alone', async (t) => {
  t.equal(fileOrigin('localhost', LOCAL), 'http://localhost')
  t.equal(fileOrigin('LOCALHOST:9003', LOCAL), 'http://localhost:9003')
  t.equal(fileOrigin('localhost:9002', LOCAL), undefined, 'the login server')
  for (const host of words`
    localhost:0 localhost:080 localhost:65536 localhost:99999 localhost: 127.0.0.1:9003 localhost:1:2
  `) {
    t.equal(fileOrigin(host, LOCAL), undefined, host)
  }
  t.equal(fileOrigin('a.localhost', LOCAL), 'https://a.localhost', 'resolved by who knows whom')
  t.equal(fileOrigin('a.localhost:1', LOCAL), undefined)
  const https = { ...LOCAL, apiUrl: 'https://127.0.0.1:9001' }
  t.equal(fileOrigin('localhost', https), 'https://localhost')
  t.equal(fileOrigin('localhost:9003', https), undefined)
  const mixed = { ...LOCAL, fileDomain: 'example.test' }
  t.equal(fileOrigin('files.example.test', mixed), 'https://files.example.test')
  t.equal(fileOrigin('localhost:9003', mixed), undefined)
  for (const fileDomain of ['127.0.0.1', '[::1]']) {
    t.equal(fileOrigin(fileDomain, { ...LOCAL, fileDomain }), undefined, 'no address')
  }
})

const codeOf = (path: string) => {
  try {
    readFileTarget(path, PRODUCTION)
    return 'fetched'
  } catch (error) {
    return error instanceof ProxyError ? error.code : String(error)
  }
}

t.test('the path is kept byte for byte, under the rules of every path', async (t) => {
  const read = (path: string) => readFileTarget(`/_proxy/files/${path}`, PRODUCTION)
  t.strictSame(read('Storage.Procore.com/a/b%20c//d;e=%2F'), {
    origin: 'https://storage.procore.com',
    host: 'storage.procore.com',
    path: '/a/b%20c//d;e=%2F',
  })
  t.equal(read('procore.com').path, '/')
  t.equal(read('procore.com/').path, '/')
  for (const path of [
    '//evil.example/x',
    '/a/../b',
    '/%2e%2e/b',
    '/%2e',
    '/%5cx',
    '/%00',
    '/%2fx',
    '/%zz',
    `/${'a'.repeat(5000)}`,
    '/%25252525252541',
  ]) {
    t.equal(codeOf(`/_proxy/files/procore.com${path}`), 'request_invalid', path)
  }
  t.throws(() => read('evil.example/x'), {
    code: 'request_invalid',
    message: /^"evil.example" is not a file host of/,
    help: /procore\.com/,
  })
})

t.test('paths of the API can’t be had under another name of it', async (t) => {
  for (const path of words`
    /rest/v1.0/companies /REST/v1.0/me /vapid/projects /%72est/x /%2572est/x /rest%2fv1.0/me /rest;x/me
    /oauth/token/info /rest /webclients/host/x /WebClients/x /%77ebclients/x /562949953443325/project/home
    /%37656/x /7656;a/x /7656.json /7656 /%20rest/x /rest%3fx
  `) {
    t.equal(codeOf(`/_proxy/files/app.procore.com${path}`), 'access_denied', path)
  }
  for (const path of words`/restful/x /a/rest/x /rest-1/x /oauthor /7a/x /a/7656/x /webclients2`) {
    t.equal(codeOf(`/_proxy/files/app.procore.com${path}`), 'fetched', path)
  }
})

t.test('an operator can list the hosts that serve files', async (t) => {
  const narrow = { ...PRODUCTION, fileHosts: ['storage.procore.com', '*.files.procore.com'] }
  for (const host of ['storage.procore.com', 'a.files.procore.com', 'a.b.files.procore.com']) {
    t.equal(fileOrigin(host, narrow), `https://${host}`)
  }
  for (const host of words`
    procore.com x.procore.com files.procore.com x.storage.procore.com xfiles.procore.com
  `) {
    t.equal(fileOrigin(host, narrow), undefined, host)
  }
  t.throws(() => readFileTarget('/_proxy/files/x.procore.com/a', narrow), {
    code: 'request_invalid',
    help: /storage\.procore\.com, \*\.files/,
  })
})

const settle = () => new Promise<void>((resolve) => void setImmediate(resolve))

t.test('Two new hosts are looked up at a time, and known ones never wait', async (t) => {
  const limiter = new FileHostLimiter()
  const first = await limiter.enter('a.example', 'x', new Departure())
  const second = await limiter.enter('b.example', 'x', new Departure())
  const third = watch(limiter.enter('c.example', 'x', new Departure()))
  const same = watch(limiter.enter('a.example', 'y', new Departure()))
  await settle()
  t.notOk(third.settled || same.settled)
  first(true)
  await settle()
  t.ok(same.settled, 'a host that answered is known')
  t.ok(third.settled, 'and its place is free')
  same.value?.(true)
  const fourth = watch(limiter.enter('d.example', 'x', new Departure()))
  second(false)
  third.value?.(true)
  await settle()
  t.ok(fourth.settled)
  fourth.value?.(true)
  const again = watch(limiter.enter('b.example', 'x', new Departure()))
  await settle()
  t.ok(again.settled, 'a host that did not answer may be tried again')
})

const enter = (limiter: FileHostLimiter, host: string, caller = 'x') =>
  limiter.enter(`${host}.example`, caller, new Departure())

t.test('A caller may ask for twenty new hosts within a minute, and no more', async (t) => {
  const clock = { now: 0 }
  t.intercept(performance, 'now', { value: () => clock.now })
  const limiter = new FileHostLimiter()
  for (let nth = 0; nth < 20; nth++) {
    ;(await enter(limiter, `h${nth}`))(false)
    clock.now += 1_000
  }
  await t.rejects(enter(limiter, 'another'), { code: 'overloaded', retryAfterSeconds: 40 })
  await t.rejects(enter(limiter, 'h0'), { code: 'overloaded' }, 'a host that never answered is still new')
  ;(await enter(limiter, 'another', 'y'))(false)
  clock.now += 40_000
  ;(await enter(limiter, 'another'))(false)
})

t.test('Requests that wait, hosts and callers that are remembered are bounded', async (t) => {
  const limiter = new FileHostLimiter()
  const leave = await enter(limiter, 'a')
  const leaveOther = await enter(limiter, 'b')
  const waiting = Array.from({ length: 64 }, () => watch(enter(limiter, 'a', 'y')))
  await t.rejects(enter(limiter, 'a', 'y'), { code: 'overloaded', retryAfterSeconds: 1 })
  leave(true)
  leaveOther(true)
  await settle()
  t.ok(waiting.every(({ settled }) => settled))
  for (let nth = 0; nth < 18; nth++) (await enter(limiter, `h${nth}`))(true)
  await t.rejects(enter(limiter, 'one-more'), { code: 'overloaded' })
  for (let nth = 0; nth < 256; nth++) (await enter(limiter, `o${nth}`, `other ${nth}`))(true)
  ;(await enter(limiter, 'a'))(true)
  t.pass('the caller that asked first is forgotten, as is the host')
})

t.test('Who leaves while it waits makes room, and its hosts are not counted', async (t) => {
  const limiter = new FileHostLimiter()
  const leave = await enter(limiter, 'a')
  await enter(limiter, 'b')
  for (let nth = 0; nth < 64; nth++) {
    const departure = new Departure()
    const gone = limiter.enter('c.example', 'y', departure)
    departure.leave()
    await t.rejects(gone, CallerGoneError)
  }
  const departure = new Departure()
  departure.leave()
  await t.rejects(limiter.enter('c.example', 'y', departure), CallerGoneError, 'left before it waits')
  const next = watch(enter(limiter, 'c', 'y'))
  leave(true)
  await settle()
  t.ok(next.value)
})

t.test('A request leaves nothing behind on its signal, however often it waits', async (t) => {
  const limiter = new FileHostLimiter()
  const first = await enter(limiter, 'a')
  const departure = new Departure()
  const waiting = watch(limiter.enter('a.example', 'y', departure))
  await settle()
  t.equal(getEventListeners(departure.signal, 'abort').length, 1)
  first(false)
  await settle()
  t.ok(waiting.value)
  t.equal(getEventListeners(departure.signal, 'abort').length, 0)
})
