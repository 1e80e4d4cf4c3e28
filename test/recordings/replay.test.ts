// Covers src/recordings/replay.ts
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import type { ProxyError } from '../../src/errors.ts'
import type { Call } from '../../src/forward/call.ts'
import { RequestBody } from '../../src/forward/request-body.ts'
import { MOST_BODY_BYTES } from '../../src/recordings/entry.ts'
import { readFolder, stored } from '../../src/recordings/har-file.ts'
import { MemberMask } from '../../src/recordings/masks.ts'
import { CallRecorder } from '../../src/recordings/recorder.ts'
import { RecordedAnswers, replayDocument, replayElseRecord } from '../../src/recordings/replay.ts'
import { bytesOf, callOf, fakeSend, flat, settle, textOf } from '../fixtures/calls.ts'
import { startRecorder, withBody } from '../fixtures/recordings.ts'

interface Recorded {
  readonly call: Call
  readonly body?: string | Buffer
  readonly status?: number
  readonly headers?: readonly string[]
}

async function record(t: Test, all: readonly Recorded[], redact: readonly string[] = []): Promise<string> {
  const { folder, pass, recorder, warnings } = startRecorder(join(t.testdir(), 'recordings'), { redact })
  for (const { call, body, status, headers } of all) await pass(call, body, status, headers)
  await recorder.flush()
  t.strictSame(warnings, [])
  return folder
}

async function read(folder: string, redact: readonly string[] = []): Promise<RecordedAnswers> {
  const answers = new RecordedAnswers(new MemberMask(redact))
  await answers.addFolder(folder)
  return answers
}

async function replayOf(t: Test, all: readonly Recorded[], redact: readonly string[] = []) {
  const folder = await record(t, all, redact)
  const answers = await read(folder, redact)
  const send = (call: Call) => answers.answer(call)
  return {
    folder,
    send,
    text: async (call: Call) => textOf(await send(call)),
    missing: (call: Call) =>
      send(call).then(
        () => undefined,
        ({ code, status, message, help }: ProxyError) => ({ code, status, message, help }),
      ),
  }
}

t.test(
  'the nth of several equal requests gets the nth response, and the last one from then on',
  async (t) => {
    const { text } = await replayOf(t, [
      { call: callOf('/rest/a'), body: 'one' },
      { call: callOf('/rest/b'), body: 'other' },
      { call: callOf('/rest/a'), body: 'two' },
    ])
    t.strictSame(
      [await text(callOf('/rest/a')), await text(callOf('/rest/a')), await text(callOf('/rest/a'))],
      ['one', 'two', 'two'],
    )
    t.equal(await text(callOf('/rest/b')), 'other')
  },
)

t.test('equal requests that overlapped are replayed in the order in which they began', async (t) => {
  const { folder, recorder, recording, sent } = startRecorder(t.testdir())
  const texts = ['one', 'two', 'three']
  // All of them begin within the same millisecond or two.
  const calls = texts.map(() => recording(callOf('/rest/a')))
  await settle()
  for (const at of [2, 0, 1]) {
    sent[at]?.answer(texts[at])
    await textOf(await calls[at]!)
  }
  await recorder.flush()
  const answers = await read(folder)
  for (const text of texts) t.equal(await textOf(await answers.answer(callOf('/rest/a'))), text)
})

t.test('status, headers and body come back as they were recorded', async (t) => {
  const binary = Buffer.from([0xff, 0, 1, 2])
  const headers = flat(
    'Content-Type: application/pdf | X-Rate-Limit-Remaining: 7 | Date: then | X: Dépôt | Content-Length: 999 | Transfer-Encoding: chunked',
  )
  const { send } = await replayOf(t, [
    { call: callOf('/rest/a'), body: binary, status: 404, headers },
    {
      call: callOf('/rest/a', { method: 'HEAD' }),
      body: '',
      headers: ['Content-Length', '4', 'Content-Encoding', 'gzip'],
    },
    { call: callOf('/rest/unchanged'), body: '', status: 304, headers: ['Content-Length', '7'] },
  ])
  const call = callOf('/rest/a')
  const response = await send(call)
  t.equal(response.status, 404)
  t.strictSame(response.rawHeaders, [...headers.slice(0, 8), 'Content-Length', '4'])
  t.ok((await bytesOf(response)).equals(binary))
  t.equal(call.exchange.upstreamMs, 0, "log and metrics count it as Procore's")
  const head = await send(callOf('/rest/a', { method: 'HEAD' }))
  t.strictSame(head.rawHeaders, ['Content-Length', '4'])
  const unchanged = await send(callOf('/rest/unchanged'))
  t.strictSame(unchanged.rawHeaders, ['Content-Length', '7'], 'the length of what the caller has already')
})

t.test('requests are matched by company, method, path, query in any order, and body', async (t) => {
  const json = { headers: ['Content-Type', 'application/json'] }
  const file = { origin: 'https://storage.procore.com' }
  const { text, missing } = await replayOf(t, [
    { call: callOf('/rest/a?b=1&a=2&ids[]=1&ids[]=2'), body: 'query' },
    { call: callOf('/rest/a', { company: '8' }), body: 'company' },
    { call: callOf('/rest/a', { method: 'DELETE' }), body: 'method' },
    { call: withBody('/rest/a', '{"id":1}', json), body: 'body 1' },
    { call: withBody('/rest/a', '{"id":2}', json), body: 'body 2' },
    { call: callOf('/rest/a', file), body: 'file' },
    { call: callOf('/rest/a?sig=secret&x=1'), body: 'signed' },
  ])
  t.equal(await text(callOf('/rest/a?a=2&ids[]=2&b=1&ids[]=1')), 'query')
  t.equal(await text(callOf('/rest/a', { company: '8' })), 'company')
  t.equal(await text(callOf('/rest/a', { method: 'DELETE' })), 'method')
  t.equal(await text(withBody('/rest/a', '{"id":2}', json)), 'body 2')
  t.equal(await text(withBody('/rest/a', '{"id":1}', json)), 'body 1')
  t.equal(await text(callOf('/rest/a', file)), 'file')
  t.equal(await text(callOf('/rest/a?x=1&sig=another')), 'signed')
  for (const call of [
    callOf('/rest/a?b=1&a=2&ids[]=2&ids[]=2'),
    callOf('/rest/a?b=1&a=2'),
    callOf('/rest/a'),
    callOf('/rest/b', { company: '8' }),
    callOf('/rest/a', { company: '9' }),
    callOf('/rest/a', { method: 'PUT' }),
    withBody('/rest/a', '{"id":3}', json),
    withBody('/rest/a', '', json),
  ]) {
    t.match(await missing(call), { code: 'recording_missing', status: 404 }, `${call.method} ${call.path}`)
  }
})

t.test('recordings bring the names that were masked in them, so no configuration has to', async (t) => {
  const json = { headers: ['Content-Type', 'application/json'] }
  const post = (email: string) => withBody('/rest/a', `{"email":"${email}","id":1}`, json)
  const folder = await record(t, [{ call: post('a@example.com'), body: 'masked' }], ['email', 'login'])
  t.match(await readFolder(folder), [{ entries: [{ _procoreProxy: { redact: ['email', 'login'] } }] }])
  const unmasked = startRecorder(folder)
  await unmasked.pass(post('c@example.com'), 'unmasked')
  await unmasked.recorder.flush()
  for (const redact of [[], ['id'], ['email']]) {
    const answers = await read(folder, redact)
    t.equal(await textOf(await answers.answer(post('b@example.com'))), 'masked')
    t.equal(
      await textOf(await answers.answer(post('c@example.com'))),
      redact.length === 0 ? 'unmasked' : 'masked',
    )
    await t.rejects(answers.answer(withBody('/rest/a', '{"email":"a@example.com","id":2}', json)))
    const long = withBody('/rest/a', Buffer.alloc(MOST_BODY_BYTES + 1), json)
    await t.rejects(answers.answer(long), { code: 'recording_missing' })
  }
})

t.test('a long request is matched by its digest; a long response is missing', async (t) => {
  const long = Buffer.alloc(8 * 1024 * 1024 + 1, 'x')
  const { text, missing } = await replayOf(t, [
    { call: withBody('/rest/a', long), body: 'uploaded' },
    { call: callOf('/rest/b'), body: long },
  ])
  t.equal(await text(withBody('/rest/a', long)), 'uploaded')
  t.match(await missing(callOf('/rest/b')), { code: 'recording_missing', help: /longer than 8 MiB/ })
})

t.test('what is missing is told with the nearest ones', async (t) => {
  const { missing } = await replayOf(t, [
    { call: callOf('/rest/v1.0/projects?page=1&sig=secret') },
    { call: callOf('/rest/v1.0/projects/1') },
    { call: callOf('/rest/v1.0/projects/1/rfis') },
    { call: callOf(`/rest/v1.1/${'x'.repeat(300)}`) },
    { call: withBody('/rest/v1.0/projects', '{}') },
    { call: withBody('/rest/v1.0/projects', '{"a":1}') },
  ])
  t.match(await missing(callOf('/rest/v1.0/projects')), { help: /The nearest recordings are/ })
  t.match(await missing(callOf('/rest/v1.0/projects?page=2&sig=another')), {
    message: 'No response to GET /rest/v1.0/projects?page=2&sig=* has been recorded.',
    help: 'The nearest recordings are: GET /rest/v1.0/projects?page=1&sig=*, POST /rest/v1.0/projects, GET /rest/v1.0/projects/1. Record it with --record, or start with --replay-else-record.',
  })
  t.match(await missing(callOf('/rest/v1.1/y')), { help: /GET \/rest\/v1.1\/x{189}…/ })
  t.match(await missing(withBody('/rest/v1.0/projects', '[]')), {
    help: /recorded with another body: POST \/rest\/v1.0\/projects\./,
  })
  t.match(await missing(callOf('/rest/a', { company: '8' })), {
    help: /Nothing is recorded for the company globex/,
  })
})

t.test('a folder may hold recordings of several APIs of one company; files are told apart', async (t) => {
  const second = 'http://127.0.0.1:9001'
  const elsewhere = ['X', 'https://api.procore.com/']
  const link = (apiUrl: string) => ['Link', `<${apiUrl}/rest/a?page=2>; rel="next"`, ...elsewhere]
  const { send, missing } = await replayOf(t, [
    { call: callOf('/rest/a'), body: 'one', headers: link('https://api.procore.com') },
    { call: callOf('/rest/a', { environment: second }), body: 'two', headers: link(second) },
    { call: callOf('/rest/b', { environment: second }) },
    { call: callOf('/rest/f', { environment: second, origin: 'https://api.procore.com' }), body: 'file' },
  ])
  const third = 'http://127.0.0.1:9002'
  for (const text of ['one', 'two']) {
    const response = await send(callOf('/rest/a', { environment: third }))
    t.strictSame(response.rawHeaders, link(third))
    t.equal(await textOf(response), text)
  }
  t.equal(await missing(callOf('/rest/b', { environment: third })), undefined)
  const file = { environment: third, origin: 'https://api.procore.com' }
  t.equal(await textOf(await send(callOf('/rest/f', file))), 'file')
  t.match(await missing(callOf('/rest/f')), { code: 'recording_missing' })
  t.match(await missing(callOf('/rest/b', file)), { code: 'recording_missing' })
})

t.test('replay-else-record asks only for what is missing, and plays that from then on', async (t) => {
  const folder = await record(t, [
    { call: callOf('/rest/a'), body: 'recorded' },
    { call: withBody('/rest/a', 'body'), body: 'recorded too' },
  ])
  const answers = await read(folder)
  const recorder = new CallRecorder(folder, new MemberMask([]), {
    holdsSecret: () => false,
    warn: (message) => t.fail(message),
    onRecorded: (company, entry) => answers.add(company, stored(entry)),
  })
  const bodies: string[] = []
  const { send, sent } = fakeSend()
  const replaying = replayElseRecord(
    answers,
    async (call) => {
      let body = ''
      if (call.body !== null) for await (const piece of call.body) body += piece
      bodies.push(body)
      return send(call)
    },
    recorder,
  )
  const ask = async (call: Call, answer?: string) => {
    const before = sent.length
    const response = replaying(call)
    while (answer !== undefined && sent.length === before) await settle()
    if (answer !== undefined) sent.at(-1)?.answer(answer)
    return await textOf(await response)
  }
  t.equal(await ask(callOf('/rest/a')), 'recorded')
  t.equal(await ask(withBody('/rest/a', 'body')), 'recorded too')
  t.equal(await ask(callOf('/rest/b'), 'asked'), 'asked')
  t.equal(await ask(withBody('/rest/a', 'another body'), 'posted'), 'posted')
  const long = 'x'.repeat(8 * 1024 * 1024 + 1)
  t.equal(await ask(withBody('/rest/a', long), 'uploaded'), 'uploaded')
  t.strictSame(
    bodies.map(({ length }) => length),
    [0, 12, long.length],
  )
  t.equal(bodies[1], 'another body')
  t.equal(bodies[2], long)
  await recorder.flush()
  t.equal(await ask(callOf('/rest/b')), 'asked')
  t.equal(await ask(withBody('/rest/a', 'another body')), 'posted')
  const again = await read(folder)
  t.equal(await textOf(await again.answer(callOf('/rest/b'))), 'asked', 'the folder was added to')

  const broken = withBody('/rest/a', 'x')
  broken.body?.destroy(new Error('the caller broke off'))
  await t.rejects(replaying(broken), { message: 'the caller broke off' })
  const odd = new RecordedAnswers(new MemberMask([]))
  odd.answer = () => {
    throw new TypeError('a defect')
  }
  await t.rejects(replayElseRecord(odd, send, recorder)(callOf('/rest/a')), TypeError)
})

t.test('a body of which no more comes does not hold its connection for ever', async (t) => {
  const answers = new RecordedAnswers(new MemberMask([]))
  const recorder = new CallRecorder('nowhere', new MemberMask([]), { holdsSecret: () => false, warn: t.fail })
  const sends = [
    (call: Call) => answers.answer(call),
    replayElseRecord(answers, () => Promise.reject(new Error('sent')), recorder),
  ]
  for (const send of sends) {
    const upload = new PassThrough()
    let asked = 0
    const onSending = () => void asked++
    const call = { ...callOf('/rest/a', { method: 'POST', body: new RequestBody(upload) }), onSending }
    Object.assign(call.upstream, { settings: { responseTimeoutMs: 50 } })
    upload.write('the beginning')
    await t.rejects(send(call), { code: 'request_invalid', message: /did not arrive within/ })
    t.equal(asked, 1, 'its caller may wait to be asked for it')
  }
})

t.test(
  'bodies that are held to be matched are bounded together; what is beyond goes to Procore',
  async (t) => {
    const answers = new RecordedAnswers(new MemberMask([]))
    const recorder = new CallRecorder('nowhere', new MemberMask([]), {
      holdsSecret: () => false,
      warn: t.fail,
    })
    const { send, sent } = fakeSend()
    const replaying = replayElseRecord(answers, send, recorder)
    const uploads = Array.from({ length: 20 }, () => new PassThrough({ highWaterMark: 2 ** 24 }))
    const refused: Promise<unknown>[] = []
    for (const upload of uploads) {
      const call = callOf('/rest/a', { method: 'POST', body: new RequestBody(upload) })
      Object.assign(call.upstream, { settings: { responseTimeoutMs: 60_000 } })
      upload.write(Buffer.alloc(MOST_BODY_BYTES))
      refused.push(t.rejects(replaying(call), { message: 'broken' }))
    }
    while (sent.length < 4) await settle()
    for (let turn = 0; turn < 20; turn++) await settle()
    t.equal(sent.length, 4, '16 of 8 MiB are held')
    for (const { fail } of sent) fail(new Error('broken'))
    for (const upload of uploads) upload.destroy(new Error('broken'))
    await Promise.all(refused)
    const small = withBody('/rest/a', 'x')
    const response = replaying(small)
    while (sent.length < 5) await settle()
    t.not(sent[4]?.call.body, small.body, 'it was read first: there is room again')
    sent[4]?.answer('done')
    t.equal(await textOf(await response), 'done')
  },
)

t.test('a recording that was written by hand needs no digests', async (t) => {
  const answers = new RecordedAnswers(new MemberMask([]))
  const environment = { name: 'production', apiUrl: 'https://api.procore.com', loginUrl: '', fileDomain: '' }
  const entry = (method: string, postData?: { text?: string; _encoding?: string }) => ({
    request: { method, url: 'https://api.procore.com/rest/a', ...(postData && { postData }) },
    response: {
      status: 200,
      statusText: 'OK',
      headers: [],
      content: { text: `${method} ${postData?.text}` },
    },
  })
  for (const each of [
    entry('GET'),
    entry('POST', { text: 'body' }),
    entry('PUT', { text: 'Ym9keQ==', _encoding: 'base64' }),
    entry('PATCH', {}),
  ]) {
    answers.add({ company: { name: 'acme', id: '7656' }, environment }, stored(each))
  }
  // Equal ones go by their times, if they have any.
  for (const startedDateTime of ['2026-01-01T10:00:00Z', '2026-01-01T10:00:00+01:00', undefined]) {
    const timed = entry('DELETE', { text: String(startedDateTime) })
    const { method, url } = timed.request
    const equal = { ...timed, request: { method, url }, startedDateTime }
    answers.add({ company: { name: 'acme', id: '7656' }, environment }, stored(equal))
  }
  const parse = () => JSON.parse('{"request":')
  answers.add(
    { company: { name: 'acme', id: '7656' }, environment },
    { request: { method: 'GET', url: 'https://api.procore.com/damaged' }, parse },
  )
  const send = (call: Call) => answers.answer(call)
  await t.rejects(send(callOf('/damaged')), { code: 'recording_missing', help: /damaged/ })
  t.equal(await textOf(await send(callOf('/rest/a'))), 'GET undefined')
  t.equal(await textOf(await send(withBody('/rest/a', 'body'))), 'POST body')
  t.equal(await textOf(await send(withBody('/rest/a', 'body', { method: 'PUT' }))), 'PUT Ym9keQ==')
  t.equal(await textOf(await send(callOf('/rest/a', { method: 'PATCH' }))), 'PATCH undefined')
  for (const time of ['2026-01-01T10:00:00+01:00', '2026-01-01T10:00:00Z', 'undefined']) {
    t.equal(await textOf(await send(callOf('/rest/a', { method: 'DELETE' }))), `DELETE ${time}`)
  }
})

t.test('a folder of recordings stands for a configuration', async (t) => {
  const { folder } = await replayOf(t, [
    { call: callOf('/rest/a') },
    { call: callOf('/rest/a', { company: '8', environment: 'http://127.0.0.1:9001' }) },
  ])
  const account = { clientId: 'replay', clientSecret: 'replay' }
  t.strictSame(replayDocument(await readFolder(folder)), {
    environments: {
      'recorded-production': {
        apiUrl: 'http://127.0.0.1:9001',
        loginUrl: 'http://127.0.0.1:9001',
        fileDomain: 'procore.com',
      },
    },
    companies: {
      acme: { id: '7656', serviceAccount: { environment: 'production', ...account } },
      globex: { id: '8', serviceAccount: { environment: 'recorded-production', ...account } },
    },
  })
  const fake = (name: string, port: number, isDefault = false) => ({
    company: { name, id: String(port), default: isDefault },
    environment: {
      name: 'fake',
      apiUrl: `http://127.0.0.1:${port}`,
      loginUrl: `http://127.0.0.1:${port}`,
      fileDomain: '127.0.0.1',
    },
  })
  t.match(replayDocument([fake('a', 1), fake('b', 2), fake('c', 2)]), {
    environments: {
      fake: { apiUrl: 'http://127.0.0.1:1', fileDomain: '127.0.0.1' },
      'fake-2': { apiUrl: 'http://127.0.0.1:2' },
    },
    companies: {
      a: { serviceAccount: { environment: 'fake' } },
      b: { serviceAccount: { environment: 'fake-2' } },
      c: { serviceAccount: { environment: 'fake-2' } },
    },
  })
  t.match(replayDocument([fake('a', 1), fake('b', 2, true)]), {
    companies: { a: { default: undefined }, b: { default: true } },
  })
  t.match(replayDocument([fake('a', 1, true), fake('b', 2, true)]), {
    companies: { a: { default: undefined }, b: { default: undefined } },
  })
})
