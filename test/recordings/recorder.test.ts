// Covers src/recordings/recorder.ts and entry.ts
import { execFileSync } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as zlib from 'node:zlib'
import t, { type Test } from 'tap'
import { type Call, storedResponse } from '../../src/forward/call.ts'
import { BodyCopy } from '../../src/recordings/entry.ts'
import { withRecorder } from '../../src/recordings/recorder.ts'
import { callOf, fakeSend, flat, settle, textOf } from '../fixtures/calls.ts'
import { watch } from '../fixtures/clock.ts'
import { harSchema } from '../fixtures/har-schema.ts'
import { startRecorder, withBody } from '../fixtures/recordings.ts'

const SECRET = 'a-very/secret "secret"'
const PATH = '/rest/v1.0/projects?page=1'

function start(t: Test, redact: readonly string[] = []) {
  const started = startRecorder(join(t.testdir(), 'recordings'), { redact, secret: SECRET })
  const { folder, recorder } = started
  return {
    ...started,
    /** The entries on disk, of a file that follows the format. */
    async entries(name = 'acme') {
      await recorder.flush()
      const har = JSON.parse(readFileSync(join(folder, `${name}.har`), 'utf8'))
      harSchema.parse(har)
      // biome-ignore lint/suspicious/noExplicitAny: tests look into what they expect
      return har.log.entries as any[]
    },
    text: () =>
      readdirSync(folder)
        .map((name) => readFileSync(join(folder, name), 'utf8'))
        .join(''),
  }
}

t.test('what passes is written as HAR 1.2, one file for each company', async (t) => {
  const { pass, entries, folder } = start(t)
  const headers = flat(
    'Content-Type: application/json | X-Rate-Limit-Remaining: 9 | Date: then | Link: </x>; rel="next"',
  )
  t.equal(
    await pass(
      callOf(PATH, { headers: ['User-Agent', 'curl', 'X-Caller', 'me'] }),
      '[{"id":1}]',
      200,
      headers,
    ),
    '[{"id":1}]',
  )
  await pass(
    withBody('/rest/v1.0/rfis', '{"a":1}', { headers: ['Content-Type', 'application/json'] }),
    '{}',
    201,
  )
  await pass(callOf('/rest/v1.0/me', { company: '8' }))
  const [first, second] = await entries()
  t.match(first, {
    request: {
      method: 'GET',
      url: `https://api.procore.com${PATH}`,
      headers: [{ name: 'User-Agent', value: 'curl' }],
      queryString: [{ name: 'page', value: '1' }],
      bodySize: 0,
    },
    response: {
      status: 200,
      headers: [
        {},
        { name: 'X-Rate-Limit-Remaining', value: '9' },
        { name: 'Date', value: 'then' },
        { name: 'Link' },
      ],
      content: { size: 10, mimeType: 'application/json', text: '[{"id":1}]' },
    },
  })
  t.equal(first.request.headers.length, 1, 'of unknown headers nothing is recorded')
  t.match(second, {
    request: { method: 'POST', postData: { mimeType: 'application/json', text: '{"a":1}' }, bodySize: 7 },
    response: { status: 201 },
    _procoreProxy: { bodySha256: '015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862' },
  })
  t.strictSame(readdirSync(folder), ['acme.har', 'globex.har'])
  t.equal((await entries('globex')).length, 1)
})

t.test('it is on disk within a second', async (t) => {
  const { pass, folder } = start(t)
  await pass(callOf(PATH))
  const until = Date.now() + 1_000
  while (Date.now() < until && !readFolderSafely(folder).includes('acme.har'))
    await new Promise((r) => setTimeout(r, 20))
  t.ok(readFolderSafely(folder).includes('acme.har'))
})

function readFolderSafely(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

t.test('no secret, key, cookie or token gets in by any way', async (t) => {
  const { pass, entries, text, warnings, recorder } = start(t)
  await pass(
    callOf('/rest/v1.0/a?access_token=query-token&sig=query-signature', {
      headers: flat(
        'Authorization: Bearer bearer-token | Cookie: a=cookie-sent | Procore-Proxy-Key: proxy-key | X-Api-Key: api-key',
      ),
    }),
    '{"url":"https://x.procore.com/f?X-Amz-Signature=body-signature","access_token":"body-token"}',
    200,
    flat(
      'Set-Cookie: a=cookie-set | Location: /f?sig=location-signature | X-Auth-Token: header-token | WWW-Authenticate: challenge',
    ),
  )
  await pass(
    withBody('/rest/v1.0/b', 'client_secret=form-secret', {
      headers: ['content-type', 'application/x-www-form-urlencoded'],
    }),
  )
  t.equal((await entries()).length, 2)
  const leaks =
    'query-token query-signature bearer-token cookie-sent proxy-key api-key body-signature body-token cookie-set location-signature header-token challenge form-secret'
  for (const leak of leaks.split(' ')) {
    t.notMatch(text(), leak)
  }

  const inBase64 = Buffer.concat([Buffer.from([0xff, 0]), Buffer.from(SECRET)])
  const escapes = [...SECRET].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
  const ways: readonly [string, Call, (string | Buffer)?, (readonly string[])?][] = [
    ['the path', callOf(`/rest/${encodeURIComponent(SECRET)}`)],
    ['the query', callOf(`/rest/a?x=${encodeURIComponent(SECRET).replaceAll('%20', '+')}`)],
    ['a header of the request', callOf('/rest/a', { headers: ['User-Agent', SECRET] })],
    ['the body of the request', withBody('/rest/a', `x ${SECRET}`)],
    ['a form', withBody('/rest/a', `x=${encodeURIComponent(SECRET)}`)],
    ['a binary body', withBody('/rest/a', inBase64)],
    ['JSON', callOf('/rest/a'), JSON.stringify({ a: SECRET })],
    ['JSON within JSON', callOf('/rest/a'), JSON.stringify({ a: JSON.stringify({ b: SECRET }) })],
    ['JSON with escapes', callOf('/rest/a'), `{"a":"${escapes}"}`],
    ['a binary response', callOf('/rest/a'), inBase64],
    ['Base64', callOf('/rest/a'), JSON.stringify({ a: Buffer.from(SECRET).toString('base64') })],
    ['base64url of more', withBody('/rest/a', Buffer.from(`some-id:${SECRET}\n`).toString('base64url'))],
    ['Base64 in a form', withBody('/rest/a', `x=${encodeURIComponent(btoa(`a~?>${SECRET}`))}`)],
    ['Base64 behind a character of it', callOf(`/rest/token_${btoa(SECRET)}`)],
    ['Base64 behind another text', callOf('/rest/a'), JSON.stringify({ a: `x\n${btoa(`abc${SECRET}`)}` })],
    ['Base64 in a header', callOf('/rest/a'), '[]', ['X-Any', `a ${btoa(`ab${SECRET}`)}`]],
    ['a compressed response', callOf('/rest/a'), zlib.gzipSync(`a ${SECRET}`), ['Content-Encoding', 'gzip']],
    ['a header of the response', callOf('/rest/a'), '[]', ['X-Any', SECRET]],
  ]
  for (const [way, call, body, headers] of ways) {
    warnings.length = 0
    await pass(call, body, 200, headers)
    await recorder.flush()
    t.match(warnings, [/contains a secret/], way)
  }
  t.equal((await entries()).length, 2)
  t.notMatch(text(), SECRET)
})

t.test('members named by recordings.redact are masked', async (t) => {
  const { pass, entries, mask } = start(t, ['email'])
  const json = { headers: ['Content-Type', 'application/json'] }
  await pass(
    withBody('/rest/a', '{"email":"a@example.com","id":1}', json),
    '[{"email":"b@example.com","id":12345678901234567890}]',
  )
  mask.configure(['id'])
  await pass(withBody('/rest/a', '{"email":"a@example.com","id":1}', json), '{"email" broken', 200, [
    'Content-Type',
    'application/json',
  ])
  mask.configure(['email'])
  await pass(callOf('/rest/a'), '{"email" broken', 200, ['Content-Type', 'application/json'])
  const [first, second, third] = await entries()
  t.equal(first.request.postData.text, '{"email":"*","id":1}')
  t.equal(first.response.content.text, '[{"email":"*","id":12345678901234567890}]')
  t.equal(second.request.postData.text, '{"email":"a@example.com","id":"*"}')
  t.equal(second.response.content.text, '{"email" broken')
  t.match(third.response.content, { text: undefined, comment: /could not be masked/ })
  t.match(third._procoreProxy.omitted, /could not be masked/)
})

t.test('compressed bodies are recorded as what they hold', async (t) => {
  const { pass, entries } = start(t)
  const text = JSON.stringify({ name: 'Dépôt' })
  const codings: readonly [string, Buffer][] = [
    ['gzip', zlib.gzipSync(text)],
    ['x-gzip', zlib.gzipSync(text)],
    ['deflate', zlib.deflateSync(text)],
    ['deflate', zlib.deflateRawSync(text)],
    ['br', zlib.brotliCompressSync(text)],
    ['zstd', zlib.zstdCompressSync(text)],
    ['identity', Buffer.from(text)],
  ]
  for (const [coding, bytes] of codings)
    await pass(callOf('/rest/a'), bytes, 200, ['Content-Encoding', coding])
  const undone: readonly [string, Buffer, RegExp][] = [
    ['compress', Buffer.from('x'), /could not be decompressed \(compress\)/],
    ['gzip, br', zlib.gzipSync(text), /could not be decompressed/],
    ['gzip', Buffer.from('no gzip'), /could not be decompressed/],
    ['gzip', zlib.gzipSync(Buffer.alloc(9 * 1024 * 1024)), /longer than 8 MiB/],
  ]
  for (const [coding, bytes] of undone)
    await pass(callOf('/rest/a'), bytes, 200, ['Content-Encoding', coding])
  const all = await entries()
  t.strictSame(
    all.slice(0, codings.length).map(({ response }) => response.content.text),
    codings.map(() => text),
  )
  for (const [at, [, , why]] of undone.entries()) {
    t.match(all[codings.length + at], {
      _procoreProxy: { omitted: why },
      response: { content: { comment: why, text: undefined } },
    })
  }
})

t.test('compressed requests are marked, because nothing in them can be masked or found', async (t) => {
  const { pass, entries, warnings } = start(t, ['email'])
  const body = zlib.gzipSync(JSON.stringify({ email: 'a@example.com', note: SECRET }))
  const headers = ['Content-Type', 'application/json', 'Content-Encoding', 'gzip']
  await pass(withBody('/rest/a', body, { headers }))
  await pass(withBody('/rest/a', '{"email":"a"}', { headers: [...headers.slice(0, 3), 'identity'] }))
  const [packed, plain] = await entries()
  t.match(packed, {
    request: { postData: { text: '', comment: /is compressed/ }, bodySize: body.length },
    _procoreProxy: { bodySha256: hash('sha256', body), omitted: undefined },
  })
  t.equal(plain.request.postData.text, '{"email":"*"}')
  t.strictSame(warnings, [])
})

t.test('longer bodies are marked', async (t) => {
  const { pass, entries } = start(t)
  const long = Buffer.alloc(8 * 1024 * 1024 + 1, 'x')
  await pass(callOf('/rest/a'), long)
  await pass(withBody('/rest/a', long))
  const [down, up] = await entries()
  t.match(down, {
    response: { content: { size: long.length, comment: /longer than 8 MiB/ }, bodySize: long.length },
    _procoreProxy: { omitted: /8 MiB/ },
  })
  t.match(up.request, { postData: { text: '', comment: /longer than 8 MiB/ }, bodySize: long.length })
  t.equal(up._procoreProxy.omitted, undefined, 'its response can be played: its digest is known')
  t.match(up._procoreProxy.bodySha256, /^[0-9a-f]{64}$/)
})

t.test('a request without a response that is read leaves no copy in memory', async (t) => {
  const { recording, sent, pass, entries } = start(t)
  const body = Buffer.alloc(8 * 1024 * 1024, 'x')
  for (let count = 0; count < 32; count++) {
    const response = recording(withBody('/rest/a', body))
    while (sent.length === count) await settle()
    if (count % 2 === 0) {
      sent[count]?.head()
      const given = await response
      given.abort(new Error('its head cannot be written'))
    } else {
      sent[count]?.fail(new Error('no connection'))
      await t.rejects(response)
    }
  }
  await pass(withBody('/rest/b', body))
  t.equal((await entries())[0].request.postData.text.length, body.length)
})

t.test('what breaks off or fails is not recorded', async (t) => {
  const { recorder, recording, sent, pass, entries } = start(t)
  const call = async (path: string, method = 'GET') => {
    const response = recording(callOf(path, { method }))
    await settle()
    return { response, upstream: sent.at(-1)! }
  }
  const failed = await call('/rest/failed')
  failed.upstream.fail(new Error('no connection'))
  await t.rejects(failed.response)
  const broken = await call('/rest/broken')
  const body = broken.upstream.head()
  const response = await broken.response
  const reading = watch(response.pipe(() => true))
  await settle()
  body.push('half')
  response.resume()
  response.abort(new Error('broke off'))
  await settle()
  t.match(reading.error, { message: 'broke off' })

  // A response before all of the request's body was sent says nothing of that request.
  const { send, sent: unread } = fakeSend()
  const early = withRecorder(send, recorder)(withBody('/rest/early', 'x'))
  unread[0]?.answer('refused', 413)
  t.equal(await textOf(await early), 'refused')

  await pass(callOf('/rest/whole'))
  t.strictSame(
    (await entries()).map(({ request }) => request.url.slice(23)),
    ['/rest/whole'],
  )
})

t.test('a folder that can not be written to is tried again, with one warning', async (t) => {
  const { pass, recorder, entries, folder, warnings } = start(t)
  writeFileSync(folder, 'in the way')
  await pass(callOf('/rest/a'))
  await recorder.flush()
  await pass(callOf('/rest/b'))
  await recorder.flush()
  t.match(warnings, [/1 responses of acme could not be written/])
  rmSync(folder)
  mkdirSync(folder)
  t.equal((await entries()).length, 2)
})

t.test('what cannot be written at the end is logged as lost', async (t) => {
  const { pass, recorder, folder, warnings } = start(t)
  writeFileSync(folder, 'in the way')
  await pass(callOf('/rest/a'))
  await recorder.flush()
  await pass(callOf('/rest/b'))
  await pass(callOf('/rest/c', { company: '8' }))
  await recorder.close()
  t.match(warnings, [
    /^1 responses of acme could not be written/,
    /^1 responses of globex could not be written/,
    /^2 responses of acme are lost: they could not be written to /,
    /^1 responses of globex are lost: /,
  ])
  rmSync(folder)
  await recorder.close()
  await recorder.close()
  t.equal(warnings.length, 4)
})

t.test('a file that can not be written to is told once, whatever becomes of the others', async (t) => {
  const { pass, recorder, entries, folder, warnings } = start(t)
  mkdirSync(join(folder, 'globex.har'), { recursive: true })
  await pass(callOf('/rest/a', { company: '8' }))
  for (const path of ['/rest/b', '/rest/c']) {
    await pass(callOf(path))
    await recorder.flush()
  }
  t.equal(warnings.length, 1)
  t.match(warnings[0], /1 responses of globex could not be written/)
  t.equal((await entries()).length, 2)
})

t.test('what waits for a disk that hangs is bounded, and written once it goes on', async (t) => {
  const { pass, recorder, folder, warnings } = start(t)
  mkdirSync(folder)
  // To open a pipe takes for as long as no one reads it.
  const pipe = join(folder, '.acme.tmp')
  execFileSync('mkfifo', [pipe])
  await pass(callOf('/rest/a'))
  const hanging = recorder.flush()
  const body = Buffer.alloc(8 * 1024 * 1024, 'x')
  for (let count = 0; count < 8; count++) await pass(callOf('/rest/b'), body)
  for (let tries = 0; warnings.length === 0 && tries < 500; tries++) await sleep(10)
  t.strictSame(warnings, ['A response could not be recorded.'])
  await readFile(pipe)
  await hanging
  await recorder.flush()
  const lines = readFileSync(join(folder, 'acme.har'), 'latin1').split('\n')
  t.equal(lines.filter((line) => line.startsWith('{"startedDateTime"')).length, 8)
})

t.test('a name that a reload gives to another company mixes nothing up', async (t) => {
  const { pass, recorder, entries, warnings } = start(t)
  await pass(callOf('/rest/a'))
  await pass({ ...callOf('/rest/b', { company: '8' }), companyName: 'acme' })
  await recorder.flush()
  t.match(warnings[0], /1 responses of acme could not be written/)
  t.strictSame(
    (await entries()).map(({ request }) => request.url.slice(23)),
    ['/rest/a'],
  )
})

t.test('a response that can not be recorded is logged, and the next one is recorded', async (t) => {
  const { recorder, entries, pass, warnings } = start(t)
  await pass({ ...callOf('/rest/a'), upstream: undefined as never }).catch(() => {})
  await recorder.flush()
  t.match(warnings, [/could not be recorded/])
  await pass(callOf('/rest/b'))
  t.equal((await entries()).length, 1)
})

t.test('a binary body of the greatest length is recorded', async (t) => {
  const { pass, entries, warnings } = start(t)
  await pass(callOf('/rest/a'), randomBytes(8 * 1024 * 1024 - 1), 200, ['Content-Type', 'image/png'])
  t.equal((await entries()).length, 1)
  t.strictSame(warnings, [])
})

t.test('what waits to be recorded is bounded in number', async (t) => {
  const { recorder, warnings } = startRecorder(join(t.testdir(), 'recordings'))
  const response = storedResponse(200, 'OK', [], Buffer.alloc(0))
  const call = callOf('/rest/a')
  const times = { startedAt: 0, waitMs: 0, receiveMs: 0 }
  for (let nth = 0; nth < 5_001; nth++) {
    const bodies = { requestBody: new BodyCopy(false), responseBody: new BodyCopy(false) }
    recorder.add({ call, response, ...bodies, ...times })
  }
  t.strictSame(warnings, ['A response could not be recorded.'])
  await recorder.flush()
  const bodies = { requestBody: new BodyCopy(false), responseBody: new BodyCopy(false) }
  recorder.add({ call, response, ...bodies, ...times })
  await recorder.flush()
  t.equal(warnings.length, 1, 'there is room again')
})
