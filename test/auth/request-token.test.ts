// Twin of src/auth/request-token.ts: judging answers by table, sending over real sockets to a fake login server.
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setImmediate as settle } from 'node:timers/promises'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { errors } from 'undici'
import {
  readTokenReply,
  requestToken,
  TokenFailure,
  type TokenFailureReason,
} from '../../src/auth/request-token.ts'
import { Secret, type ServiceAccount } from '../../src/config/config.ts'
import { type Ask, createAsker, type Reply } from '../../src/network/ask.ts'
import { testAccount, testConfig, testEnvironment } from '../fixtures/config.ts'
import { type FakeOptions, startFakeProcore } from '../fixtures/procore.ts'
import { certificate, pem } from '../fixtures/tls.ts'

const TOKEN = 'eyJ0eXAi.TOKEN-TEXT.abc_-123'
/** Part of every malformed body: no message may repeat it. */
const MARKER = 'text-of-the-body'

const answer = (short: Partial<Reply>): Reply => ({ status: 200, head: {}, text: '', ...short })
const granted = (fields: Record<string, unknown>): string =>
  JSON.stringify({ access_token: TOKEN, token_type: 'Bearer', expires_in: 5400, ...fields })

function failureOf(read: () => unknown): TokenFailure | undefined {
  try {
    read()
  } catch (error) {
    if (error instanceof TokenFailure) return error
    throw error
  }
  return undefined
}

t.test('a token and its lifetime', (t) => {
  const lifetimes: [string, unknown, number][] = [
    ['as documented', 5400, 5400],
    ['the other documented ones', 7200, 7200],
    ['the shortest documented one', 900, 900],
    ['absent', undefined, 900],
    ['null', null, 900],
    ['a number in quotes', '7200', 7200],
    ['a number in quotes and blanks', ' 7200 ', 7200],
    ['a word', 'soon', 900],
    ['empty', '', 900],
    ['blank', ' ', 900],
    ['true', true, 900],
    ['a list', [60], 900],
    ['an object', { seconds: 60 }, 900],
    ['a fraction', 60.5, 60.5],
    ['the least', 1, 1],
    ['more than a timer takes', 2 ** 31, 31_536_000],
    ['huge', 1e300, 31_536_000],
    ['huge, in quotes', '1e300', 31_536_000],
  ]
  for (const [what, expiresIn, seconds] of lifetimes) {
    const token = readTokenReply(answer({ text: granted({ expires_in: expiresIn }) }))
    t.strictSame(token, { value: TOKEN, lifetimeMs: seconds * 1000 }, `expires_in: ${what}`)
  }
  const infinite = granted({}).replace('5400', '1e999')
  t.equal(readTokenReply(answer({ text: infinite })).lifetimeMs, 900_000)

  for (const type of ['bearer', 'Bearer', 'BEARER', null, undefined]) {
    t.equal(readTokenReply(answer({ text: granted({ token_type: type }) })).value, TOKEN, `type ${type}`)
  }
  t.equal(readTokenReply(answer({ text: `\n ${granted({ more: { deep: [] } })}\n` })).value, TOKEN)
  t.equal(readTokenReply(answer({ text: granted({}), head: { 'retry-after': '60' } })).value, TOKEN)
  t.end()
})

t.test('a 200 that holds no token may pass', (t) => {
  const bodies: [string, string, RegExp][] = [
    ['empty', '', /is empty$/],
    ['blank', ' \r\n', /is empty$/],
    ['HTML', `<!doctype html><title>${MARKER}</title>`, /is not a JSON object$/],
    ['half of it', granted({}).slice(0, -10), /is not a JSON object$/],
    ['a list', `[${granted({})}]`, /is not a JSON object$/],
    ['a number', '5400', /is not a JSON object$/],
    ['a string', `"${MARKER}"`, /is not a JSON object$/],
    ['null', 'null', /is not a JSON object$/],
    ['true', 'true', /is not a JSON object$/],
    ['an empty object', '{}', /has no access_token$/],
    ['no access_token', granted({ access_token: undefined }), /has no access_token$/],
    ['an error with status 200', `{"error":"${MARKER}"}`, /has no access_token$/],
    ['access_token null', granted({ access_token: null }), /has no access_token$/],
    ['access_token empty', granted({ access_token: '' }), /has no access_token$/],
    ['access_token a number', granted({ access_token: 12345 }), /has no access_token$/],
    ['access_token a list', granted({ access_token: [TOKEN] }), /has no access_token$/],
    ['access_token with CRLF', granted({ access_token: `${MARKER}\r\nX-Evil: 1` }), /not allowed in one$/],
    [
      'access_token with a line feed at its end',
      granted({ access_token: `${MARKER}\n` }),
      /not allowed in one$/,
    ],
    ['access_token with a blank', granted({ access_token: `a ${MARKER}` }), /not allowed in one$/],
    ['access_token with NUL', granted({ access_token: `${MARKER}\0` }), /not allowed in one$/],
    ['access_token beyond ASCII', granted({ access_token: `${MARKER}é` }), /not allowed in one$/],
    ['token_type mac', granted({ token_type: 'mac' }), /not a bearer token$/],
    ['token_type empty', granted({ token_type: '' }), /not a bearer token$/],
    ['token_type a list', granted({ token_type: ['bearer'] }), /not a bearer token$/],
    ['token_type an object', granted({ token_type: { toString: MARKER } }), /not a bearer token$/],
    ['expires_in 0', granted({ expires_in: 0 }), /has already expired$/],
    ['expires_in "0"', granted({ expires_in: '0' }), /has already expired$/],
    ['expires_in negative', granted({ expires_in: -5400 }), /has already expired$/],
    ['expires_in a moment', granted({ expires_in: 0.999 }), /has already expired$/],
  ]
  for (const [what, body, message] of bodies) {
    const failure = failureOf(() => readTokenReply(answer({ text: body })))
    t.match(failure, { reason: 'bad_body', final: false, retryAfterMs: undefined, message }, what)
    t.notMatch(inspect(failure), MARKER)
    t.notMatch(inspect(failure), TOKEN)
  }
  const tooLong = failureOf(() => readTokenReply(answer({ text: undefined })))
  t.match(tooLong, { reason: 'bad_body', final: false, message: /is longer than 256 KiB$/ })
  t.end()
})

t.test('a date in Retry-After counts from the Date of the response', async (t) => {
  const now = Date.parse('2026-06-01T12:00:00Z')
  for (const offMs of [3_600_000, 0, -3_600_000]) {
    const date = new Date(now + offMs).toUTCString()
    const head = { date, 'retry-after': new Date(now + offMs + 4000).toUTCString() }
    t.match(
      failureOf(() => readTokenReply(answer({ status: 503, head }), now)),
      { retryAfterMs: 4000 },
      date,
    )
  }
})

t.test('statuses: 400, 401 and 403 are final, everything else but 200 may pass', (t) => {
  for (const status of [400, 401, 403]) {
    const refused = (text: string | undefined) =>
      failureOf(() => readTokenReply(answer({ status, text, head: { 'retry-after': '7' } })))
    const plain = `the login server refused the credentials (HTTP ${status})`
    t.match(refused(`{"error":"invalid_client","error_description":"${MARKER}"}`), {
      reason: 'rejected',
      final: true,
      message: `the login server refused the credentials (HTTP ${status}, invalid_client)`,
    })
    const bodies = [
      '',
      `<html>${MARKER}`,
      `{"error":"${MARKER}"}`,
      '{"error":["invalid_client"]}',
      granted({}),
    ]
    for (const body of bodies) {
      t.equal(refused(body)?.message, plain)
      t.equal(refused(body)?.final, true)
    }
    t.equal(refused(undefined)?.message, plain)
  }
  const others = [201, 202, 204, 205, 206, 301, 302, 303, 304, 307, 308, 402, 404, 405, 408, 409, 422, 429]
  for (const status of [...others, 500, 501, 502, 503, 504, 599]) {
    // Not even with a token: only 200 grants one (RFC 6749 section 5.1).
    const failure = failureOf(() => readTokenReply(answer({ status, text: granted({ more: MARKER }) })))
    const message = `the login server answered HTTP ${status}`
    t.match(failure, { reason: 'bad_status', final: false, retryAfterMs: undefined, message })
  }
  t.end()
})

const SECRET = 's&cr=t+100% ü/?#'

interface Setup extends FakeOptions {
  /** CAs that are trusted beside the machine's. */
  readonly certificates?: readonly string[]
}

async function start(t: Test, { certificates = [], ...options }: Setup = {}) {
  const clients = [{ clientId: 'id of the client&=', clientSecret: SECRET, companyIds: ['7656'] }]
  const fake = await startFakeProcore({ clients, ...options })
  const config = testConfig()
  const client = createAsker({ network: { ...config.network, certificates }, upstream: config.upstream })
  t.teardown(async () => {
    await client.destroy()
    await fake.close()
  })
  const account = testAccount({
    environment: testEnvironment({ loginUrl: fake.loginUrl }),
    clientId: 'id of the client&=',
    clientSecret: new Secret(SECRET),
  })
  const controller = new AbortController()
  const request = (ask: Ask = client.ask, as: ServiceAccount = account) =>
    requestToken(as, ask, controller.signal)
  /** Fails the test if a token comes; every failure is searched for secrets. */
  const failing = async (t: Test, reason: TokenFailureReason, message = /./) => {
    const error: unknown = await request().catch((error: unknown) => error)
    if (!(error instanceof TokenFailure)) throw new Error('no TokenFailure', { cause: error })
    t.equal(error.reason, reason)
    t.match(error.message, message)
    for (const text of [error.message, inspect(error, { depth: 12 }), JSON.stringify(error)]) {
      t.notMatch(text, SECRET)
      t.notMatch(text, 's%26cr')
      for (const token of fake.issuedTokens()) t.notMatch(text, token)
    }
    return error
  }
  return { fake, account, controller, request, failing }
}

t.test('what is sent, byte for byte', async (t) => {
  const { fake, request } = await start(t)
  const token = await request()
  t.equal(token.value, fake.issuedTokens()[0])
  t.equal(token.lifetimeMs, 5_400_000)
  const [entry, ...more] = fake.journal.entries
  t.strictSame(more, [])
  t.match(entry, { server: 'login', method: 'POST', url: '/oauth/token' })
  const body =
    'grant_type=client_credentials&client_id=id+of+the+client%26%3D&client_secret=s%26cr%3Dt%2B100%25+%C3%BC%2F%3F%23'
  t.equal(entry?.body, body)
  t.strictSame(entry?.headers, {
    host: new URL(fake.loginUrl).host,
    connection: 'keep-alive',
    'content-type': 'application/x-www-form-urlencoded',
    accept: 'application/json',
    'accept-encoding': 'identity',
    'content-length': String(body.length),
  })
})

t.test('the content type of the answer does not matter, its JSON does', async (t) => {
  const { fake, request, failing } = await start(t)
  fake.faults.token = { headers: { 'Content-Type': 'text/html' } }
  t.equal((await request()).value, fake.issuedTokens()[0])
  fake.faults.token = { headers: { 'Content-Type': 'application/json' }, body: '<h1>Sorry</h1>' }
  await failing(t, 'bad_body', /is not a JSON object$/)
  fake.faults.token = { mutate: () => undefined }
  await failing(t, 'bad_body', /is empty$/)
})

t.test('refused credentials', async (t) => {
  const { fake, failing } = await start(t)
  fake.resetSecret('id of the client&=', 'another')
  const failure = await failing(t, 'rejected', /\(HTTP 401, invalid_client\)$/)
  t.equal(failure.final, true)
})

t.test('Retry-After of an answer, the first of two', async (t) => {
  const { fake, failing } = await start(t)
  fake.faults.token = { status: 503, headers: { 'Retry-After': '7' } }
  t.equal((await failing(t, 'bad_status', /HTTP 503$/)).retryAfterMs, 7000)
  fake.faults.token = { status: 429, headers: { 'Retry-After': ['8', '9'] } }
  t.equal((await failing(t, 'bad_status', /HTTP 429$/)).retryAfterMs, 8000)
})

t.test('redirects are not followed', async (t) => {
  const { fake, failing } = await start(t)
  const elsewhere = await startFakeProcore()
  t.teardown(() => elsewhere.close())
  for (const status of [301, 302, 303, 307, 308]) {
    fake.faults.token = { status, headers: { Location: `${elsewhere.loginUrl}/oauth/token` } }
    await failing(t, 'bad_status', new RegExp(`HTTP ${status}$`))
  }
  t.strictSame(elsewhere.journal.entries, [])
  t.equal(fake.journal.tokenRequests().length, 5)
})

t.test('broken connections may pass', async (t) => {
  const { fake, failing } = await start(t)
  fake.faults.token = { reset: true }
  await failing(t, 'unreachable', /could not be reached \((?:UND_ERR_SOCKET|ECONNRESET)\)$/)
  fake.faults.token = { reset: 'mid-body' }
  await failing(t, 'unreachable', /could not be reached \(/)
  fake.faults.token = { raw: 'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"access_token":"cut-off' }
  await failing(t, 'unreachable', /could not be reached \(/)
  fake.faults.token = { raw: 'SSH-2.0-OpenSSH_9.9\r\n' }
  await failing(t, 'unreachable', /could not be reached \(/)
  await fake.close()
  await failing(t, 'unreachable', /could not be reached \(ECONNREFUSED\)$/)
})

t.test('an endless body is cut off', async (t) => {
  const { fake, failing } = await start(t)
  for (const status of [200, 500]) {
    fake.journal.clear()
    fake.faults.token = { status, fillBytes: Number.POSITIVE_INFINITY }
    await failing(t, status === 200 ? 'bad_body' : 'bad_status')
    const entry = await fake.journal.when(({ answer }) => answer !== 'pending')
    t.equal(entry.answer, 'cut', 'the connection is gone, so nothing more is sent')
  }
  fake.faults.token = { status: 401, fillBytes: Number.POSITIVE_INFINITY }
  await failing(t, 'rejected')
})

t.test('as much as 256 KiB is read', async (t) => {
  const { fake, request, failing } = await start(t)
  const empty = JSON.stringify({ access_token: TOKEN, filler: '' })
  const body = (bytes: number) => empty.replace('""', `"${'x'.repeat(bytes - empty.length)}"`)
  fake.faults.token = { body: body(256 * 1024) }
  t.equal((await request()).value, TOKEN)
  fake.faults.token = { body: body(256 * 1024 + 1) }
  await failing(t, 'bad_body', /is longer than 256 KiB$/)
})

t.test('10 s are given, for head and body together', async (t) => {
  for (const hang of ['before', 'mid-body'] as const) {
    await t.test(`hangs ${hang}`, async (t) => {
      const { fake, failing } = await start(t)
      const clock = new AbortController()
      const limits: number[] = []
      t.intercept(AbortSignal, 'timeout', {
        value: (ms: number) => {
          limits.push(ms)
          return clock.signal
        },
      })
      fake.faults.token = { hang }
      const failed = failing(t, 'timeout', /did not answer in time$/)
      const entry = await fake.journal.when(({ bodyBytes }) => bodyBytes > 0)
      if (hang === 'mid-body') await settle()
      t.equal(entry.answer, 'pending')
      clock.abort(new DOMException('out of time', 'TimeoutError'))
      await failed
      t.strictSame(limits, [10_000])
      const after = await fake.journal.when(({ answer }) => answer !== 'pending')
      t.equal(after.answer, 'cut')
    })
  }
})

t.test('the caller of the request can end it', async (t) => {
  const { fake, controller, failing } = await start(t)
  fake.faults.token = { hang: true }
  const failed = failing(t, 'unreachable', /\(AbortError\)$/)
  await fake.journal.when(({ bodyBytes }) => bodyBytes > 0)
  controller.abort()
  await failed
  const entry = await fake.journal.when(({ answer }) => answer !== 'pending')
  t.equal(entry.answer, 'cut')
  await failing(t, 'unreachable')
  t.equal(fake.journal.entries.length, 1, 'ended before it began: nothing is sent')
})

t.test('what the connections may throw', async (t) => {
  const throwing =
    (error: unknown): Ask =>
    () =>
      Promise.reject(error)
  const { signal } = new AbortController()
  const connectTimeout = throwing(new errors.ConnectTimeoutError('none'))
  await t.rejects(requestToken(testAccount(), connectTimeout, signal), {
    message: 'the login server did not answer in time',
  })
  await t.rejects(requestToken(testAccount(), throwing('a string'), signal), {
    reason: 'unreachable',
    message: 'the login server could not be reached (error)',
  })
  const outOfFiles = Object.assign(new Error('connect EMFILE'), { code: 'EMFILE' })
  await t.rejects(requestToken(testAccount(), throwing(outOfFiles), signal), {
    reason: 'unreachable',
    message: /limit on open files is reached, so nothing was sent/,
    help: /ulimit -n/,
    proxyStatus: 'connection_limit_reached',
  })
})

t.test('TLS: a login server that is not the right one gets nothing', async (t) => {
  const ca = pem('ca.pem')

  await t.test('the right one gets the request', async (t) => {
    const { fake, request } = await start(t, { tls: certificate('good'), certificates: [ca] })
    t.equal((await request()).value, fake.issuedTokens()[0])
    t.equal(fake.journal.entries.length, 1)
  })
  // Each kind of failure has its words in test/forward/upstream-error.test.ts.
  for (const [name, certificates, what] of [
    ['self-signed', [ca], 'is self-signed (DEPTH_ZERO_SELF_SIGNED_CERT)'],
    ['wrong-name', [ca], 'is for another name (ERR_TLS_CERT_ALTNAME_INVALID)'],
    ['expired', [ca], 'has expired (CERT_HAS_EXPIRED)'],
  ] as const) {
    await t.test(`${name}: ${what}`, async (t) => {
      const { fake, failing } = await start(t, { tls: certificate(name), certificates })
      const failure = await failing(t, 'tls')
      t.equal(failure.message, `TLS with the login server failed: its certificate ${what}`)
      t.equal(failure.proxyStatus, 'tls_certificate_error')
      t.equal(failure.final, false)
      await fake.close()
      t.strictSame(fake.journal.entries, [])
    })
  }
  await t.test('one that wants a client certificate, which it says after the handshake', async (t) => {
    const options = { ...certificate('good'), ca, requestCert: true, minVersion: 'TLSv1.3' } as const
    const server = createServer(options, () => t.fail('nothing may be sent')).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const { account, request } = await start(t, { certificates: [ca] })
    const loginUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const secure = { ...account, environment: { ...account.environment, loginUrl } }
    await t.rejects(request(undefined, secure), {
      reason: 'tls',
      message: /client certificate \(ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED\)/,
      help: /no client certificate/,
      proxyStatus: 'tls_alert_received',
    })
  })
  await t.test('no TLS at all', async (t) => {
    const { fake, account, request } = await start(t)
    const loginUrl = fake.loginUrl.replace('http:', 'https:')
    const secure = { ...account, environment: { ...account.environment, loginUrl } }
    await t.rejects(request(undefined, secure), {
      reason: 'tls',
      message: /does not speak proper TLS \(ERR_SSL_/,
      help: /http:/,
      proxyStatus: 'tls_protocol_error',
    })
    await fake.close()
    t.strictSame(fake.journal.entries, [])
  })
})
