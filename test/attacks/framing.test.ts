// Attacks on where a message ends: request smuggling, response splitting, poisoned connections.
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { attack, getOf, head, UNLIMITED } from '../fixtures/attacker.ts'
import { type Rig, startRig } from '../fixtures/proxy.ts'
import { type RawRequest, startRawUpstream } from '../fixtures/raw-upstream.ts'
import { words } from '../fixtures/words.ts'

const INVALID = '400 request_invalid'
const PATH = '/acme/rest/v1.0/echo'
/** What a smuggler hides in a body: it must never go up by itself. */
const SMUGGLED = 'GET /globex/rest/v1.0/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n'
const start = (t: Test): Promise<Rig> => startRig(t, { fake: UNLIMITED! })
const post = (...lines: string[]) => head(`POST ${PATH} HTTP/1.1`, 'Host: localhost', ...lines)
const inHex = (text: string) => text.length.toString(16)

/** Refused requests whose connection went on, for the test at the end. */
const goneOn: string[] = []

/** Sends the bytes, whose first request must be refused and not go up. */
async function refused(t: Test, rig: Rig, bytes: string, what: string): Promise<void> {
  const { verdict, seen, closed, rest, verdicts } = await attack(rig, bytes, { lingerMs: 1_000 })
  t.equal(verdict, INVALID, what)
  t.equal(rest, '')
  t.notOk(
    seen.some(({ url }) => url === '/rest/v1.0/echo'),
    `${what}: it does not go up`,
  )
  if (!closed || verdicts.length > 1 || seen.length > 0) goneOn.push(what)
}

t.test('CL.TE and TE.CL: Content-Length with Transfer-Encoding is refused in either order', async (t) => {
  const rig = await start(t)
  const chunked = `0\r\n\r\n${SMUGGLED}`
  const length = `Content-Length: ${chunked.length}`
  for (const [what, lines] of [
    ['CL.TE', [length, 'Transfer-Encoding: chunked']],
    ['TE.CL', ['Transfer-Encoding: chunked', length]],
    ['CL 0', ['Content-Length: 0', 'Transfer-Encoding: chunked']],
    ['TE with CL in between', ['transfer-encoding: chunked', 'X: y', 'CONTENT-LENGTH: 5']],
    ['with a good chunk', ['Content-Length: 4', 'Transfer-Encoding: chunked']],
    ['CL, TE, CL', [length, 'Transfer-Encoding: chunked', length]],
    [
      'TE named in Connection (httpxy GHSA-ggv3-7p47-pfv8)',
      ['Connection: Transfer-Encoding, upgrade', 'Upgrade: x', 'Transfer-Encoding: chunked', length],
    ],
  ] as const) {
    await refused(t, rig, post(...lines) + chunked, what)
  }
})

// undici CVE-2026-1525’s kin
t.test('TE.TE: any Transfer-Encoding but exactly "chunked" is refused', async (t) => {
  const rig = await start(t)
  for (const value of [
    ...words`
      xchunked identity chunked, ,chunked chunked;q=1 "chunked" 'chunked' chunke chunked\0 ch\xffunked
      trailers deflate
    `,
    'x chunked',
    'chunked, identity',
    'identity, chunked',
    'gzip, chunked',
    'chunked, chunked',
    'chunked\t,x',
    'chunked\x0b',
    'chunked\x0c',
    'chunked\xa0',
    '',
  ]) {
    for (const more of [[], ['Content-Length: 5']]) {
      await refused(
        t,
        rig,
        `${post(`Transfer-Encoding: ${value}`, ...more)}0\r\n\r\n${SMUGGLED}`,
        JSON.stringify([value, ...more]),
      )
    }
  }
  for (const lines of [
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'transfer-encoding: identity'],
    ['Transfer-Encoding: identity', 'TRANSFER-ENCODING: chunked'],
    ['Transfer-Encoding: chunked', 'Transfer_Encoding: x'],
    ['Transfer-Encoding : chunked'],
    ['Transfer-Encoding\t: chunked'],
    [' Transfer-Encoding: chunked'],
    ['X: y', ' Transfer-Encoding: chunked'],
    ['Transfer-Encoding:', ' chunked'],
    ['Transfer-Encoding: x', '\tchunked'],
    ['X: y\nTransfer-Encoding: chunked'],
    ['X: y\rTransfer-Encoding: chunked'],
    ['Transfer-Encoding\0: chunked'],
    ['Transfer\xadEncoding: chunked', 'Content-Length: x'],
  ]) {
    await refused(t, rig, `${post(...lines)}0\r\n\r\n${SMUGGLED}`, JSON.stringify(lines))
  }
  const old = head(
    `POST ${PATH} HTTP/1.0`,
    'Host: localhost',
    'Connection: keep-alive',
    'Transfer-Encoding: chunked',
  )
  await refused(t, rig, `${old}0\r\n\r\n${SMUGGLED}`, 'HTTP/1.0 (RFC 9112 section 6.1)')
  for (const line of [
    'Transfer-Encoding:\tchunked ',
    'Transfer-Encoding: Chunked',
    'TRANSFER-ENCODING: CHUNKED',
  ]) {
    const { verdict, seen } = await attack(rig, `${post(line, 'Connection: close')}3\r\nabc\r\n0\r\n\r\n`)
    t.equal(verdict, '200', `${line}: neither white space nor case matters (RFC 9112 section 7)`)
    t.strictSame(
      seen.map(({ body }) => body),
      ['abc'],
    )
  }
})

// CVE-2026-1525’s class
t.test('Content-Length that two readers could read as two numbers is refused', async (t) => {
  const rig = await start(t)
  const five = 'hello'
  for (const lines of [
    ['Content-Length: 5', 'Content-Length: 5'],
    ['Content-Length: 5', 'Content-Length: 6'],
    ['Content-Length: 5', 'content-length: 0'],
    ['Content-Length: 0', 'CONTENT-LENGTH: 5'],
    ['Content-Length: 5, 5'],
    ['Content-Length: 5,6'],
    ['Content-Length: +5'],
    ['Content-Length: -5'],
    ['Content-Length: 5.0'],
    ['Content-Length: 5e0'],
    ['Content-Length: 0x5'],
    ['Content-Length: 5 5'],
    ['Content-Length: "5"'],
    ['Content-Length: 5;x'],
    ['Content-Length: five'],
    ['Content-Length: \xd9\xa5'],
    ['Content-Length: 5\x0b'],
    ['Content-Length:'],
    ['Content-Length: 99999999999999999999999999'],
    ['Content-Length: 18446744073709551621'],
    ['Content-Length: 9007199254740993'],
    ['Content-Length : 5'],
    ['Content-Length:', ' 5'],
    ['X: y', ' Content-Length: 5'],
    ['Content_Length: 5'],
    ['Content-Length: 5', 'Content_Length: 6'],
  ]) {
    await refused(t, rig, post(...lines) + five + SMUGGLED, JSON.stringify(lines))
  }
  const zeroes = await attack(rig, post('Content-Length: 00005', 'Connection: close') + five)
  t.match(zeroes.verdict, /^(?:200|400 request_invalid)$/)
  for (const entry of zeroes.seen) t.equal(entry.body, five, 'leading zeroes are decimal to all, or refused')
})

// RFC 9112 sections 2.2 and 5
t.test('odd line ends, folds, spaces and control characters in a head are refused', async (t) => {
  const rig = await start(t)
  const first = `GET ${PATH} HTTP/1.1`
  for (const [what, bytes] of [
    ['bare LF', `${first}\nHost: localhost\n\n`],
    ['bare LF after the request line', `${first}\nHost: localhost\r\n\r\n`],
    ['bare LF in the head', `${first}\r\nHost: localhost\nX: y\r\n\r\n`],
    ['bare LF at its end', `${first}\r\nHost: localhost\r\n\n`],
    ['bare CR', `${first}\rHost: localhost\r\r`],
    ['bare CR in the head', `${first}\r\nHost: localhost\r\nX: a\rB: c\r\n\r\n`],
    ['CR CR LF', `${first}\r\nHost: localhost\r\r\n\r\n`],
    ['obs-fold', `${first}\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n`],
    ['obs-fold with a tab', `${first}\r\nHost: localhost\r\nX: a\r\n\tb\r\n\r\n`],
    ['obs-fold of Host', `${first}\r\nHost:\r\n localhost\r\n\r\n`],
    ['white space before the first header', `${first}\r\n X: y\r\nHost: localhost\r\n\r\n`],
    ['space before a colon', `${first}\r\nHost: localhost\r\nX : y\r\n\r\n`],
    ['space in a name', `${first}\r\nHost: localhost\r\nX y: z\r\n\r\n`],
    ['no colon', `${first}\r\nHost: localhost\r\nXy\r\n\r\n`],
    ['no name', `${first}\r\nHost: localhost\r\n: x\r\n\r\n`],
    ['NUL in a value', `${first}\r\nHost: localhost\r\nX: a\0b\r\n\r\n`],
    ['NUL in a name', `${first}\r\nHost: localhost\r\nX\0: a\r\n\r\n`],
    ['a control character in a value', `${first}\r\nHost: localhost\r\nX: a\x08b\r\n\r\n`],
    ['DEL in a value', `${first}\r\nHost: localhost\r\nX: a\x7fb\r\n\r\n`],
    ['a byte beyond ASCII in a name', `${first}\r\nHost: localhost\r\nX\xe9: a\r\n\r\n`],
    ['parentheses in a name', `${first}\r\nHost: localhost\r\nX(y): a\r\n\r\n`],
    ['TLS instead of HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['a PROXY protocol line', `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${first}\r\nHost: localhost\r\n\r\n`],
    ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ] as const) {
    await refused(t, rig, bytes + SMUGGLED, what)
  }
})

// CVE-2024-22019, CVE-2025-22871’s class
t.test('chunks: extensions do not go up, huge or broken ones end the request', async (t) => {
  const rig = await start(t)
  const te = 'Transfer-Encoding: chunked'
  const fine = await attack(rig, `${post(te, 'Connection: close')}3;a=b;c="d"\r\nabc\r\n0;last\r\n\r\n`)
  t.match(fine.verdict, /^(?:200|400 request_invalid)$/)
  for (const entry of fine.seen) t.equal(entry.body, 'abc', 'small extensions are dropped')
  for (const [what, chunks] of [
    ['no size', '\r\nabc\r\n0\r\n\r\n'],
    ['a size that is no hex', 'xyz\r\nabc\r\n0\r\n\r\n'],
    ['a negative size', '-3\r\nabc\r\n0\r\n\r\n'],
    ['a size with a plus', '+3\r\nabc\r\n0\r\n\r\n'],
    ['a size with 0x', '0x3\r\nabc\r\n0\r\n\r\n'],
    ['a size beyond 64 bits', '10000000000000003\r\nabc\r\n0\r\n\r\n'],
    ['a size with a space before', ' 3\r\nabc\r\n0\r\n\r\n'],
    ['a size ended by LF', '3\nabc\r\n0\r\n\r\n'],
    ['a size ended by CR', '3\rabc\r\n0\r\n\r\n'],
    ['an extension ended by LF', `3;x\nabc\r\n0\r\n\r\n${SMUGGLED}`],
    ['data longer than its size', '3\r\nabcdef\r\n0\r\n\r\n'],
    ['data ended by LF', '3\r\nabc\n0\r\n\r\n'],
    ['data ended by XX', '3\r\nabcXX0\r\n\r\n'],
    ['a last chunk ended by LF', '3\r\nabc\r\n0\n\r\n'],
    ['NUL in an extension', '3;a\0b\r\nabc\r\n0\r\n\r\n'],
    ['an extension of 20 kB', `3;${'x'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`],
    ['a thousand extensions', Array.from({ length: 1_000 }, () => `1;${'x'.repeat(100)}\r\na\r\n`).join('')],
    ['trailers of 100 kB', `0\r\n${'X: y\r\n'.repeat(20_000)}\r\n`],
    ['a trailer without a colon', '3\r\nabc\r\n0\r\nxyz\r\n\r\n'],
    ['a folded trailer', '3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n'],
  ] as const) {
    const { verdicts, seen, closed } = await attack(rig, post(te), {
      later: [chunks + SMUGGLED],
      patienceMs: 1_000,
      lingerMs: 1_000,
    })
    t.ok(closed, `${what}: the connection ends`)
    t.notMatch(verdicts.join(), '200', `${what}: no success`)
    t.ok(seen.length <= 1, `${what}: at most one request goes up`)
    for (const { url } of seen) t.equal(url, '/rest/v1.0/echo', 'the one that was judged')
    for (const entry of seen) {
      await rig.fake.journal.when((each) => each === entry && each.answer !== 'pending')
      t.ok(entry.aborted, `${what}: what went up breaks off, and is never taken for whole`)
    }
  }
})

t.test('trailers of a request do not go up, least of all as headers (RFC 9110 section 6.5.1)', async (t) => {
  const rig = await start(t)
  const plain = ['X-Trailer: x', 'Authorization: Bearer evil', 'Procore-Company-Id: 999', 'Host: evil.com']
  for (const [trailers, expected] of [
    [plain, /^200$/],
    [[...plain, 'Content-Length: 5'], /^(?:nothing|400 request_invalid)$/],
    [[...plain, 'Transfer-Encoding: chunked'], /^(?:200|nothing|400 request_invalid)$/],
  ] as const) {
    const { verdict, seen } = await attack(
      rig,
      `${post('Transfer-Encoding: chunked', 'Trailer: Authorization, X-Trailer', 'Connection: close')}3\r\nabc\r\n${head('0', ...trailers)}`,
    )
    t.match(verdict, expected, trailers.at(-1) ?? '')
    t.ok(seen.length <= 1)
    for (const entry of seen) {
      t.notMatch(entry.rawHeaders.join('\n'), /x-trailer|evil|999|^trailer$/im)
      if (verdict === '200') t.equal(entry.body, 'abc')
    }
  }
})

// RFC 9112 section 6.3
t.test('a refusal of the framing ends the connection: what follows may be no request', async (t) => {
  t.strictSame(goneOn, [])
})

t.test('pipelined requests are each judged by themselves, and answered in order', async (t) => {
  const rig = await start(t)
  const keep = (target: string, ...lines: string[]) =>
    head(`GET ${target} HTTP/1.1`, 'Host: localhost', ...lines)
  const mixed = await attack(
    rig,
    [
      keep('/acme/rest/v1.0/echo/1'),
      head('GET /acme/rest/v1.0/echo/2 HTTP/1.1', 'Host: evil.com'),
      keep('/globex/rest/v1.0/echo/3'),
      keep('/acme/nowhere/echo/4'),
      keep('/acme/rest/v1.0/echo/5', 'Origin: http://evil.com'),
      `${post('Content-Length: 5')}hello`,
      keep('/globex/rest/v1.0/companies/7656/6'),
      keep('/acme/rest/v1.0/echo/7', 'Connection: close'),
    ].join(''),
    { answers: 8 },
  )
  t.strictSame(mixed.verdicts, [
    '200',
    '403 host_not_allowed',
    '200',
    '404 route_unknown',
    '403 origin_not_allowed',
    '200',
    '409 company_conflict',
    '200',
  ])
  t.strictSame(mixed.seen.map(({ url, headers }) => `${headers['procore-company-id']} ${url}`).sort(), [
    '562949953443325 /rest/v1.0/echo/3',
    '7656 /rest/v1.0/echo',
    '7656 /rest/v1.0/echo/1',
    '7656 /rest/v1.0/echo/7',
  ])
  const refusedFirst = await attack(
    rig,
    `${head(`POST ${PATH} HTTP/1.1`, 'Host: evil.com', `Content-Length: ${SMUGGLED.length}`)}${SMUGGLED}${keep('/acme/rest/v1.0/echo/last', 'Connection: close')}`,
    { answers: 2 },
  )
  t.strictSame(
    refusedFirst.seen.map(({ url }) => url),
    ['/rest/v1.0/echo/last'],
    'the body of a refused request is not read as the next',
  )
  const broken = await attack(rig, `${keep('/acme/rest/v1.0/echo/ok')}${keep('/acme/rest/x y')}${SMUGGLED}`, {
    answers: 2,
    lingerMs: 1_000,
  })
  t.ok(broken.closed, 'what is no request ends the connection')
  t.ok(
    broken.seen.every(({ url }) => url === '/rest/v1.0/echo/ok'),
    'and nothing after it is read',
  )
})

// http-proxy-middleware CVE-2026-55603
t.test('a body on GET, HEAD, DELETE or OPTIONS is a body, never the next request', async (t) => {
  const rig = await start(t)
  for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH']) {
    for (const [lines, body] of [
      [[`Content-Length: ${SMUGGLED.length}`], SMUGGLED],
      [['Transfer-Encoding: chunked'], `${inHex(SMUGGLED)}\r\n${SMUGGLED}\r\n0\r\n\r\n`],
    ] as const) {
      const { verdicts, seen } = await attack(
        rig,
        head(`${method} ${PATH} HTTP/1.1`, 'Host: localhost', ...lines) +
          body +
          getOf('/acme/rest/v1.0/echo/next'),
        { answers: 2, methods: [method, 'GET'] },
      )
      t.strictSame(verdicts, ['200', '200'], `${method} ${lines[0]}`)
      t.strictSame(
        seen
          .map(({ method: sent, url, bodyBytes }) => [sent, url, bodyBytes] as const)
          .sort((a, b) => a[1].length - b[1].length),
        [
          [method, '/rest/v1.0/echo', SMUGGLED.length],
          ['GET', '/rest/v1.0/echo/next', 0],
        ],
      )
    }
  }
  const multipart =
    '--x\r\nContent-Disposition: form-data; name="a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"\r\n\r\nv\r\n--x--\r\n'
  const form = await attack(
    rig,
    post(
      'Content-Type: multipart/form-data; boundary=x',
      `Content-Length: ${multipart.length}`,
      'Connection: close',
    ) + multipart,
  )
  t.strictSame(
    form.seen.map(({ body }) => body),
    [multipart],
    'a form passes byte for byte',
  )
  const typed = await attack(
    rig,
    `${post('Content-Type: application/json ; x', 'Content-Length: 3', 'Connection: close')}{"a`,
  )
  t.strictSame(
    typed.seen.map(({ body }) => body),
    ['{"a'],
    'a body is never parsed (reply-from GHSA-v2v2-hph8-q5xp)',
  )
})

// h2c smuggling; next GHSA-c4j6-fc7j-m34r
t.test('upgrades: WebSocket and others are refused, h2c is ignored and never forwarded', async (t) => {
  const rig = await start(t)
  const ws = [
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
  ]
  for (const lines of [
    [...ws, 'Upgrade: websocket'],
    [...ws, 'Upgrade: WebSocket'],
    [...ws, 'Upgrade: websocket, h2c'],
    [...ws, 'Upgrade: h2c, websocket'],
    ['Connection: upgrade', 'Upgrade: TLS/1.0'],
    ['Connection: upgrade', 'Upgrade: h2'],
    ['Upgrade: websocket'],
    ['Connection: upgrade', 'Upgrade: h2c', 'Upgrade: websocket'],
  ]) {
    for (const target of [PATH, '/_proxy/health/live']) {
      const { verdict, seen } = await attack(rig, head(`GET ${target} HTTP/1.1`, 'Host: localhost', ...lines))
      t.equal(verdict, INVALID, `${target} ${lines.join(' ')}`)
      t.equal(seen.length, 0)
    }
  }
  for (const connection of [
    'Upgrade, HTTP2-Settings',
    'upgrade,http2-settings',
    'Upgrade',
    'close, HTTP2-Settings',
  ]) {
    const { verdict, seen, text } = await attack(
      rig,
      head(
        `GET ${PATH} HTTP/1.1`,
        'Host: localhost',
        `Connection: ${connection}`,
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
      ),
      { later: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'] },
    )
    t.equal(verdict, '200', connection)
    t.notMatch(text, /^HTTP\/1\.1 101/)
    t.equal(seen.length, 1)
    t.notMatch(seen[0]?.rawHeaders.join('\n'), /upgrade|http2-settings|h2c/i, 'nothing of it goes up')
  }
  for (const withBody of [
    'Content-Length: 5\r\n\r\nhello',
    'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ]) {
    const offer = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']
    const { verdict, seen } = await attack(rig, post(...offer).slice(0, -2) + withBody)
    t.equal(verdict, '200', 'an offer of h2c with a body, as Java’s client makes it')
    t.equal(seen[0]?.body, 'hello', 'loses nothing of it')
  }
  rig.fake.faults.api.push({
    match: '/rest/v1.0/switch',
    raw: 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes',
  })
  const switched = await attack(rig, getOf('/acme/rest/v1.0/switch'))
  t.equal(switched.verdict, '502 upstream_protocol', 'an API that switches protocols unasked is cut off')
  t.notMatch(switched.text, 'frames')
})

/** A proxy in front of an API of raw bytes; tokens come from the fake. */
async function startRaw(t: Test, answer: Parameters<typeof startRawUpstream>[1], settings: object = {}) {
  const upstream = await startRawUpstream(t, answer)
  const rig = await startRig(t, {
    fake: UNLIMITED!,
    settings: (fake) => ({
      environments: { fake: { apiUrl: upstream.url, loginUrl: fake.loginUrl } },
      upstream: { responseTimeout: '2s', ...settings },
    }),
  })
  return { upstream, rig }
}

const body = (text: string) => `Content-Length: ${text.length}\r\n\r\n${text}`

t.test('response splitting and broken answers: one well-formed answer for the caller, or none', async (t) => {
  const ok = 'HTTP/1.1 200 OK\r\n'
  const second = `${ok}Procore-Proxy-Company: forged\r\n${body('second')}`
  const cases: Record<string, string> = {
    'two Content-Length': `${ok}Content-Length: 3\r\nContent-Length: 9\r\n\r\nabc${second}`,
    'two equal Content-Length': `${ok}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    'a list of lengths': `${ok}Content-Length: 3, 3\r\n\r\nabc`,
    'a length with a plus': `${ok}Content-Length: +3\r\n\r\nabc`,
    'a negative length': `${ok}Content-Length: -3\r\n\r\nabc`,
    'CL and TE': `${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    'TE and CL': `${ok}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    'two TE': `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    'TE unknown': `${ok}Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    'TE chunked, identity': `${ok}Transfer-Encoding: chunked, identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    'a bad chunk': `${ok}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n`,
    'a chunk ended by LF': `${ok}Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n`,
    'bare CR in a value': `${ok}X: a\rX-Injected: b\r\n${body('abc')}`,
    'bare LF in a value': `${ok}X: a\nX-Injected: b\r\n${body('abc')}`,
    'LF alone as line end': `HTTP/1.1 200 OK\nX-A: b\nContent-Length: 3\n\nabc`,
    'a fold': `${ok}X: a\r\n X-Injected: b\r\n${body('abc')}`,
    'NUL in a value': `${ok}X: a\0b\r\n${body('abc')}`,
    'NUL in a name': `${ok}X\0: a\r\n${body('abc')}`,
    'a space before the colon': `${ok}X-Injected : a\r\n${body('abc')}`,
    'no colon': `${ok}X-Injected\r\n${body('abc')}`,
    'encoded line ends in a value': `${ok}X: a%0d%0aX-Injected:%20b\r\n${body('abc')}`,
    'wide line ends in a value': `${ok}X: a\xe5\x98\x8a\xe5\x98\x8dX-Injected: b\r\n${body('abc')}`,
    'wide line ends in Link': `${ok}Link: </rest/a\xe5\x98\x8dX-Injected: b>\r\n${body('abc')}`,
    'a reason with a line end': `HTTP/1.1 200 OK\rX-Injected: b\r\n${body('abc')}`,
    'a status of two digits': `HTTP/1.1 20 OK\r\n${body('abc')}`,
    'a status of 000': `HTTP/1.1 000 OK\r\n${body('abc')}`,
    'a status of 999': `HTTP/1.1 999 OK\r\n${body('abc')}`,
    'HTTP/2': `HTTP/2.0 200 OK\r\n${body('abc')}`,
    'HTTP/0.9': '<html>hello</html>',
    SSH: 'SSH-2.0-OpenSSH_9.9\r\n',
    'an empty header': '\r\n\r\n',
    'a header of 200 kB': `${ok}X: ${'x'.repeat(200_000)}\r\n${body('abc')}`,
    'a 204 with a body': `HTTP/1.1 204 No Content\r\n${body(second)}`,
    'a 304 with a body': `HTTP/1.1 304 Not Modified\r\n${body(second)}`,
    '100 as the last word': 'HTTP/1.1 100 Continue\r\n\r\n',
    'a 103 and an answer': `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nSet-Cookie: a=b\r\n\r\n${ok}${body('abc')}`,
  }
  const { rig } = await startRaw(
    t,
    (request, socket) => {
      const name = decodeURIComponent(request.target.split('?')[1] ?? '')
      const bytes = cases[name] ?? `${ok}Connection: close\r\n${body('plain')}`
      socket.write(bytes, 'latin1')
      // What has no length ends with the connection.
      if (!/^HTTP\/1\.1 [2-9].*content-length/is.test(bytes)) socket.end()
    },
    { responseTimeout: '1s' },
  )
  for (const name of Object.keys(cases)) {
    const target = `/acme/rest/v1.0/x?${encodeURIComponent(name)}`
    const outcome = await attack(
      rig,
      head(`GET ${target} HTTP/1.1`, 'Host: localhost') + getOf('/acme/rest/v1.0/plain'),
      {
        answers: 2,
        patienceMs: 2_500,
      },
    )
    const { answers, text, rest } = outcome
    t.match(text, /^(?:HTTP\/1\.1 10[23] .*\r\n(?:.+\r\n)*\r\n)?HTTP\/1\.1 (?:200|204|304|50[24]|999) /, name)
    t.notMatch(text, /^x-injected/im, `${name}: nothing is injected`)
    t.notMatch(text, /forged|second|set-cookie/i, `${name}: no second answer`)
    t.equal(rest, '', `${name}: the bytes are answers`)
    t.ok(answers.length <= 2)
    const [one, two] = answers
    if (one?.status === 200 && one.whole) t.equal(one.body, 'abc', name)
    if (two !== undefined) t.equal(two.body, 'plain', `${name}: the next caller gets its own`)
  }
})

// Node CVE-2026-48931’s class
t.test('an unsolicited response on a kept connection reaches no caller', async (t) => {
  let poison: 'with' | 'idle' | 'late' | 'none' = 'none'
  const answer = (request: RawRequest) =>
    `HTTP/1.1 200 OK\r\n${body(`${request.headers.get('procore-company-id')} ${request.target}`)}`
  const bad = `HTTP/1.1 200 OK\r\nX-Poison: 1\r\n${body('poison')}`
  const { rig, upstream } = await startRaw(t, (request, socket) => {
    // Late: after the next request on this connection has arrived, where nothing in HTTP/1.1 tells the two apart.
    if (poison === 'late' && request.nth > 1 && request.headers.get('procore-company-id') === '7656') {
      socket.write(bad + answer(request))
    } else if (poison === 'with') socket.write(answer(request) + bad)
    else {
      socket.write(answer(request))
      if (poison === 'idle') setTimeout(() => socket.write(bad), 20)
    }
  })
  const own = async (company: string, id: string, nth: number) => {
    const path = `/rest/v1.0/own/${nth}`
    const { text } = await rig.get(`/${company}${path}`).catch((error: Error) => ({ text: error.message }))
    return { text, expected: `${id} ${path}` }
  }
  for (const when of ['with', 'idle'] as const) {
    poison = when
    for (let nth = 0; nth < 6; nth++) {
      for (const [company, id] of [
        ['acme', '7656'],
        ['globex', '562949953443325'],
      ] as const) {
        const { text, expected } = await own(company, id, nth)
        t.equal(text, expected, `${when}: ${company} gets its own answer`)
      }
      if (when === 'idle') await sleep(40)
    }
  }
  poison = 'with'
  const crowd = await Promise.all(
    Array.from({ length: 40 }, (_, nth) =>
      own(nth % 2 ? 'acme' : 'globex', nth % 2 ? '7656' : '562949953443325', nth),
    ),
  )
  for (const { text, expected } of crowd) t.equal(text, expected, 'in a crowd too')
  poison = 'late'
  for (let nth = 0; nth < 10; nth++) {
    await own('acme', '7656', nth)
    const { text, expected } = await own('globex', '562949953443325', nth)
    t.equal(text, expected, 'what poisons one company’s connection never reaches another company')
  }
  const companies = new Map<number, Set<string | undefined>>()
  for (const { connection, headers } of upstream.requests) {
    const set = companies.get(connection) ?? new Set()
    companies.set(connection, set.add(headers.get('procore-company-id')))
  }
  for (const set of companies.values()) t.equal(set.size, 1, 'a connection serves one company')
})

t.test('a flood of interim answers ends with a time-out, and few of them are passed on', async (t) => {
  const { rig } = await startRaw(
    t,
    (_request, socket) => {
      const flood = setInterval(
        () => socket.write('HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'.repeat(100)),
        5,
      )
      socket.once('close', () => clearInterval(flood))
    },
    { responseTimeout: '1s' },
  )
  const { verdict, interim } = await attack(rig, getOf('/acme/rest/v1.0/flood'), { patienceMs: 4_000 })
  t.match(verdict, /^50[24] upstream_/)
  t.ok(interim.length <= 100, `${interim.length} were passed on`)
})

t.test('an early end, by caller or API, is never taken for a whole message', async (t) => {
  const rig = await start(t)
  const cut = await attack(rig, `${post('Content-Length: 100')}only this`, { patienceMs: 200 })
  t.equal(cut.verdict, 'nothing')
  const entry = await rig.fake.journal.when(({ aborted }) => aborted)
  t.equal(entry.bodyBytes, 9)
  for (const raw of [
    'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n',
    'HTTP/1.1 200 OK\r\nContent-Le',
    'HTTP/1.1 200 OK\r\nX: y\r\n',
    '',
  ]) {
    rig.fake.faults.clear()
    rig.fake.faults.api.push({ match: '/rest/v1.0/early', raw })
    const { answers, closed } = await attack(
      rig,
      head('GET /acme/rest/v1.0/early HTTP/1.1', 'Host: localhost'),
      { lingerMs: 50 },
    )
    const [answer] = answers
    t.ok(answer?.code === 'upstream_protocol' || (answer?.whole === false && closed), JSON.stringify(raw))
  }
  const half = await attack(rig, `GET ${PATH} HTTP/1.1\r\nHost: localhost\r\n`, { patienceMs: 100 })
  t.equal(half.seen.length, 0, 'half a head is no request')
})

t.test('a request that was here twice goes in a circle; OPTIONS may be answered here', async (t) => {
  const rig = await start(t)
  const options = (line: string) =>
    attack(rig, head(`OPTIONS ${PATH} HTTP/1.1`, 'Host: localhost', line), { methods: ['OPTIONS'] })
  const here = await options('Max-Forwards: 0')
  t.equal(here.verdict, '204')
  t.match(here.answers[0]?.values('allow')[0], /GET.*PUT/)
  t.equal(here.seen.length, 0)
  t.equal((await options('Max-Forwards: 5')).seen[0]?.headers['max-forwards'], '4')
  t.equal((await options('Max-Forwards: -1')).verdict, INVALID)
  const circle = await attack(
    rig,
    head(`GET ${PATH} HTTP/1.1`, 'Host: localhost', 'Via: 1.1 procore-proxy, 1.1 procore-proxy'),
  )
  t.equal(circle.verdict, '508 loop_detected')
  t.match(circle.answers[0]?.body, /"company":"acme"/)
  t.equal(circle.seen.length, 0)
  const once = await attack(rig, head(`GET ${PATH} HTTP/1.1`, 'Host: localhost', 'Via: 1.1 procore-proxy'))
  t.equal(once.verdict, '200')
})

t.test('an API whose address leads back here is an error of the proxy, at every turn', async (t) => {
  // A long one, whose connection is only free again because it is not read.
  const inner = `HTTP/1.1 508 Loop Detected\r\nProcore-Proxy-Error: loop_detected\r\n${body('x'.repeat(200_000))}`
  const { rig } = await startRaw(t, (_request, socket) => socket.write(inner), { connections: 1 })
  for (let turn = 0; turn < 2; turn++) {
    const circle = await attack(rig, head(`GET ${PATH} HTTP/1.1`, 'Host: localhost'))
    t.equal(circle.verdict, '508 loop_detected')
    t.match(circle.answers[0]?.values('proxy-status')[0], /^procore-proxy; error=/)
  }
})
