// `inspector.bodies`: the beginnings of bodies on the page's data, with what looks secret masked; and nothing of them when off.
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Inspector } from '../../src/observe/inspector.ts'
import { openSocket, type Rig, type RigOptions, sendRaw, settingsFor, startRig } from '../fixtures/proxy.ts'

const ECHO = '/acme/rest/v1.0/echo'
const JSON_TYPE = { 'content-type': 'application/json' }
const MARKER = 'S3CR3T'

const startWith = (t: Test, options: RigOptions = {}, bodies = true) =>
  startRig(t, { ...options, settings: { inspector: { bodies }, ...options.settings } })

/** The detail of the newest request, as the page gets it, once the proxy is done with it. */
async function newest(rig: Rig, count = 1): Promise<NonNullable<ReturnType<Inspector['request']>>> {
  while (rig.server.inspector.requests().length < count)
    await new Promise((resolve) => setTimeout(resolve, 5))
  const [request] = (await rig.get('/_proxy/requests')).json.requests
  return (await rig.get(`/_proxy/requests/${request.id}/${request.seq}`)).json
}

/** Everything that the proxy says of itself, as one text. */
async function allThatIsShown(rig: Rig): Promise<string> {
  const list = await rig.get('/_proxy/requests')
  const texts = [list.text, rig.logText()]
  for (const { id, seq } of list.json.requests) {
    texts.push(
      (await rig.get(`/_proxy/requests/${id}`)).text,
      (await rig.get(`/_proxy/requests/${id}/${seq}`)).text,
    )
  }
  for (const path of ['/_proxy/', '/_proxy/status', '/_proxy/metrics']) texts.push((await rig.get(path)).text)
  texts.push(await sendRaw(rig.port, 'GET /_proxy/events HTTP/1.1\r\nHost: localhost\r\n\r\n'))
  return texts.join('\n')
}

t.test('both bodies are shown with the detail of a request, masked, and nowhere else', async (t) => {
  const rig = await startWith(t)
  const answer = `{"id":1,"access_token":"${MARKER}","url":"https://files.example/x?X-Amz-Signature=${MARKER}"}`
  rig.fake.faults.api = [
    { match: '/rest/v1.0/echo', headers: { 'Content-Type': 'application/json' }, body: answer },
  ]
  const body = `{"name":"Seen","login":{"password":"${MARKER}"}}`
  const got = await rig.get(ECHO, { method: 'POST', headers: JSON_TYPE, body })
  t.equal(got.text, answer, 'the caller gets all of it')
  t.equal(rig.fake.journal.api()[0]?.body?.toString(), body, 'and so does Procore')
  const detail = await newest(rig)
  t.match(detail, {
    bodies: true,
    requestBody: {
      type: 'application/json',
      bytes: body.length,
      text: '{"name":"Seen","login":{"password":"*"}}',
      whole: true,
      masked: true,
    },
    responseBody: {
      text: '{"id":1,"access_token":"*","url":"https://files.example/x?X-Amz-Signature=*"}',
      whole: true,
    },
  })
  const shown = await allThatIsShown(rig)
  t.notMatch(shown, MARKER)
  t.equal(shown.split('Seen').length - 1, 2, 'in the two forms of its detail alone')
})

t.test('off, nothing of a body is held', async (t) => {
  const rig = await startWith(t, {}, false)
  await rig.get(ECHO, { method: 'POST', headers: JSON_TYPE, body: `{"name":"${MARKER}"}` })
  await rig.get(ECHO, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: MARKER })
  rig.fake.faults.api = [{ status: 500, headers: JSON_TYPE, body: `{"name":"${MARKER}"}` }]
  const failed = await rig.get('/acme/rest/v1.0/me')
  t.match(failed, { status: 500, text: MARKER })
  t.notMatch(await allThatIsShown(rig), MARKER)
  const detail = await newest(rig, 3)
  t.equal(detail.bodies, false)
  t.notOk('requestBody' in detail || 'responseBody' in detail)
})

t.test('a reload switches it, and what was kept is forgotten', async (t) => {
  const rig = await startWith(t, {}, false)
  const reload = (inspector: object) => rig.reload(settingsFor(rig.fake, { inspector }))
  const post = (id: string) =>
    rig.get(ECHO, { method: 'POST', headers: { ...JSON_TYPE, 'x-request-id': id }, body: '{"name":"Seen"}' })
  const show = async (id: string) => (await rig.get(`/_proxy/requests/${id}`)).json.requestBody?.text
  await post('off')
  await reload({ bodies: true })
  await post('on')
  t.equal(await show('off'), undefined)
  t.equal(await show('on'), '{"name":"Seen"}')
  rig.fake.faults.hang()
  rig.fake.journal.clear()
  const waiting = await openSocket(rig.port)
  waiting.write(
    `POST ${ECHO} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-Request-Id: left\r\n\r\nSeen`,
  )
  await rig.fake.journal.when(({ bodyBytes }) => bodyBytes === 4)
  await reload({})
  waiting.destroy()
  while (rig.server.inspector.requests().length < 3) await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(rig.server.inspector.requests()[0]?.id, 'left')
  await reload({ bodies: true })
  for (const id of ['off', 'on', 'left']) t.equal(await show(id), undefined, id)
  t.notMatch(await allThatIsShown(rig), 'Seen')
})

t.test('only the beginning is kept of what is long, and all of it goes through', async (t) => {
  const rig = await startWith(t)
  const body = JSON.stringify({ first: 'here', list: Array.from({ length: 20_000 }, (_, id) => ({ id })) })
  const answer = await rig.get(ECHO, { method: 'POST', headers: JSON_TYPE, body })
  t.equal(answer.json.bytes, body.length)
  const { requestBody, responseBody } = await newest(rig)
  t.match(requestBody, { text: body.slice(0, 2048), whole: false, masked: false, bytes: body.length })
  t.match(responseBody, { whole: false, bytes: answer.text.length })
  rig.fake.faults.api = [{ headers: { 'Content-Type': 'text/plain' }, fillBytes: 20_000_000 }]
  t.equal((await rig.get('/acme/rest/v1.0/me')).text.length, 20_000_000)
  const filled = await newest(rig, 2)
  t.match(filled, { bytesOut: 20_000_000, responseBody: { whole: false, bytes: 20_000_000 } })
  t.equal(filled.responseBody?.text, 'procore-'.repeat(256))
})

t.test('where there is no body there is none', async (t) => {
  const rig = await startWith(t)
  let count = 0
  for (const [method, path] of [
    ['HEAD', '/acme/rest/v1.0/projects'],
    ['GET', '/acme/rest/v1.0/status/204'],
    ['GET', '/acme/rest/v1.0/status/304'],
  ] as const) {
    await rig.get(path, { method })
    const detail = await newest(rig, ++count)
    t.equal(detail.bodies, true, `${method} ${path}`)
    t.notOk('requestBody' in detail || 'responseBody' in detail)
  }
})

t.test('what the proxy answers by itself is not kept: refusals, its log-in, its own pages', async (t) => {
  const rig = await startWith(t)
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const body = `name=${MARKER}`
  await rig.get('/oauth/token', { method: 'POST', headers: form, body })
  await rig.get('/acme/oauth/revoke', { method: 'POST', headers: form, body })
  await rig.get('/unknown/rest/v1.0/me', { method: 'POST', headers: form, body })
  rig.fake.faults.reset('before')
  await rig.get(ECHO, { method: 'POST', headers: form, body: 'name=Seen' })
  const requests = rig.server.inspector.requests()
  t.strictSame(
    requests.map(({ status, bodies }) => [status, bodies]),
    [
      [502, true],
      [404, false],
    ],
  )
  const detail = await newest(rig)
  t.equal(detail.requestBody?.text, 'name=Seen', 'what was sent is shown though no answer came')
  t.notOk('responseBody' in detail)
  t.notMatch(await allThatIsShown(rig), MARKER)
})

t.test('a request that is sent again has one body, and the answer is the one passed on', async (t) => {
  const rig = await startWith(t)
  rig.fake.faults.api = [
    { status: 401, headers: JSON_TYPE, body: '{"error":"first"}', times: 1 },
    { status: 503, headers: { ...JSON_TYPE, 'Retry-After': '0' }, body: '{"error":"second"}', times: 1 },
  ]
  const answer = await rig.get(ECHO, { method: 'PUT', headers: JSON_TYPE, body: '{"name":"Seen"}' })
  t.equal(answer.status, 200)
  const { requestBody, responseBody, retries } = await newest(rig)
  t.strictSame(retries, ['401', '503'])
  t.match(requestBody, { text: '{"name":"Seen"}', whole: true })
  t.match(responseBody?.text, /^{"method":"PUT"/)
  t.match(responseBody?.text, '"Bearer *"', 'even where the bearer itself is sent back')
  t.notMatch(responseBody?.text, rig.fake.journal.api()[0]?.headers.authorization?.slice(7) ?? '-')
})

t.test('what breaks off is not whole', async (t) => {
  const rig = await startWith(t)
  rig.fake.faults.api = [{ headers: JSON_TYPE, body: '{"name":"Seen","list":[1,2,3]}', reset: 'mid-body' }]
  await rig.get(ECHO).catch(() => {})
  const { responseBody, error } = await newest(rig)
  t.match(error, { code: 'upstream_protocol' })
  t.match(responseBody, { text: '{"name":"Seen",', whole: false })

  rig.fake.faults.clear()
  const socket = await openSocket(rig.port)
  rig.fake.journal.clear()
  socket.write(
    `POST ${ECHO} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nSeen`,
  )
  await rig.fake.journal.when(({ server }) => server === 'api')
  socket.destroy()
  await once(socket, 'close')
  t.match(await newest(rig, 2), {
    error: { code: 'caller_gone' },
    requestBody: { text: 'Seen', whole: false },
  })
})

t.test('the answer is shown as it was passed to the caller: unpacked, or packed as it asked', async (t) => {
  const rig = await startWith(t)
  const text = JSON.stringify({ token: MARKER, name: 'Seen', filler: 'x'.repeat(500) })
  const packed = gzipSync(text)
  rig.fake.faults.api = [{ headers: { ...JSON_TYPE, 'Content-Encoding': 'gzip' }, body: packed }]
  await rig.get(ECHO)
  const unpacked = await newest(rig)
  t.match(unpacked, { added: ['Host', 'Accept-Encoding', 'Procore-Company-Id', 'Via', 'Authorization'] })
  t.match(unpacked.responseBody, { text: text.replace(MARKER, '*'), whole: true, bytes: text.length })
  await rig.get(ECHO, { headers: { 'accept-encoding': 'gzip' } })
  const asked = await newest(rig, 2)
  t.match(asked, { added: ['Host', 'Procore-Company-Id', 'Via', 'Authorization'] })
  t.match(asked.responseBody, { text: text.replace(MARKER, '*'), whole: true, bytes: packed.length })
  rig.fake.faults.api = [{ headers: { ...JSON_TYPE, 'Content-Encoding': 'compress' }, body: 'xyz' }]
  await rig.get(ECHO)
  t.match((await newest(rig, 3)).responseBody, { bytes: 3, hidden: 'compressed (compress)' })
})

t.test('an id that callers use twice, or as long as may be', async (t) => {
  const rig = await startWith(t)
  const id = 'x'.repeat(128)
  for (const name of ['one', 'two']) {
    await rig.get(ECHO, { method: 'POST', headers: { ...JSON_TYPE, 'x-request-id': id }, body: `"${name}"` })
  }
  const text = async (path: string) => (await rig.get(`/_proxy/requests/${path}`)).json.requestBody?.text
  t.equal(await text(id), '"two"')
  t.equal(await text(`${id}/1`), '"one"')
  t.equal(await text(`${id}/2`), '"two"')
  for (const wrong of [`${id}/3`, `${id}/x`, 'y/1', `${id}/1/1`, `${id}x`, id.repeat(200)]) {
    const { status, json } = await rig.get(`/_proxy/requests/${wrong}`)
    t.match({ status, code: json.code }, { status: 404, code: 'route_unknown' }, wrong)
  }
  const guarded = await rig.get(`/_proxy/requests/${id}x`, { headers: { origin: 'https://evil.example' } })
  t.equal(guarded.json.code, 'origin_not_allowed', 'no path is too long to be judged')
})
