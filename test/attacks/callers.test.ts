// Attacks on the question who may call: Host, Origin, Fetch Metadata, keys, and the addresses that ask for none.
import t, { type Test } from 'tap'
import { attack, head, UNLIMITED } from '../fixtures/attacker.ts'
import { ConfigFolder, oneCompany } from '../fixtures/config-folder.ts'
import { ACME, type Rig, type Settings, startRig } from '../fixtures/proxy.ts'
import { words } from '../fixtures/words.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const PATH = '/acme/rest/v1.0/echo'
/** Everything that a caller can reach. */
const PATHS = [
  PATH,
  ...words`
    /rest/v1.0/me /_proxy/status /acme/_proxy/status /_proxy/ /_proxy/page.js /_proxy/page.css /_proxy/requests
    /_proxy/requests/x /_proxy/events /oauth/token /acme/_proxy/metrics /_proxy/metrics?x
  `,
]

function start(t: Test, settings: Settings = {}): Promise<Rig> {
  return startRig(t, { fake: UNLIMITED!, settings })
}

/** Every method on two addresses, and a GET of all others. */
const EVERYWHERE = [
  ...METHODS.flatMap((method) => [[method, PATH] as const, [method, '/_proxy/status'] as const]),
  ...PATHS.map((path) => ['GET', path] as const),
]

/** A request with exactly these header lines and the end of the connection. */
const request = (lines: readonly string[], target = PATH, method = 'GET', version = '1.1') =>
  head(`${method} ${target} HTTP/${version}`, ...lines, 'Connection: close')

// Kubernetes #8871, Ollama CVE-2024-28224, Vite GHSA-vg6x-rcgg-rjx6, MCP CVE-2026-42559
t.test('DNS rebinding: no foreign Host', async (t) => {
  const rig = await start(t)
  const { port } = rig
  const table: [hosts: readonly string[], verdict: string, why: string][] = [
    [
      words`
          evil.com evil.com:${port} 0.0.0.0 0.0.0.0:${port} [::] [::ffff:127.0.0.1] [::ffff:7f00:1]
          [0:0:0:0:0:0:0:1] [::01] [::127.0.0.1] 127.0.0.1.nip.io localtest.me localhost.localdomain ip6-localhost
        `,
      '403 host_not_allowed',
      'another name or address',
    ],
    [
      ['localhost.evil.com', '127.0.0.1.evil.com', '127a0b0c1', 'localhost-evil.com', 'localhosts'],
      '403 host_not_allowed',
      'kubectl tests 11 and 12: a pattern without an end, or with a dot that means any character',
    ],
    [
      ['evillocalhost', `evillocalhost:${port}`, 'evil-localhost', 'evil127.0.0.1', 'notlocalhost:3000'],
      '403 host_not_allowed',
      'http-proxy-middleware CVE-2026-55602: a pattern without a beginning',
    ],
    [
      ['127.0.0.1:evil.com', 'localhost:evil.com', 'localhost:80:evil.com', '127.0.0.1:80@evil.com'],
      '400 request_invalid',
      'python-sdk GHSA-4w35-279q-9x9p: a prefix match up to the colon',
    ],
    [
      words`
          2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 127.1 127.0.1 127.0.0.01 127.0.0.0x1
          127.0.0.256 127.0.0.999 127.0.0.1.1 128.0.0.1 1127.0.0.1 127 0 127.00.0.1 127.0.0. 127..0.1 127.0a0.1
          10.0.0.1 169.254.169.254
        `,
      '403 host_not_allowed',
      'IPv4 in any but its one canonical spelling',
    ],
    [['localhost..', '127.0.0.1..', 'evil.com.'], '403 host_not_allowed', 'more than the one trailing dot'],
    [
      ['.localhost', '..localhost', 'evil.localhost', 'acme.evil.localhost'],
      '',
      'no company before .localhost',
    ],
    [['acme.localhost.evil.com', 'localhost.evil', 'acme.localhostx'], '403 host_not_allowed', 'not its end'],
    [
      [
        ...words`
          user@localhost localhost@evil.com user:pass@localhost localhost#evil.com localhost/evil.com
          localhost?evil.com localhost\\evil.com http://localhost localhost%2eevil.com %6cocalhost [::1%25lo]
          [::1 ::1 [] [[::1]] [::1]x [::1]. [fe80::1%eth0] [localhost] localhost:: localhost:80: localhost:http * localhost:0 localhost:-1 localhost:65536 localhost:080
          localhost:0x50 . localho\xe5\xb7\xa5t \xef\xbd\x8cocalhost localhost\xe3\x80\x82
        `,
        'localhost, evil.com',
        'localhost evil.com',
        'localhost\tevil.com',
        '',
      ],
      '400 request_invalid',
      'no host[:port]: userinfo, separators, escapes, ports, IDN',
    ],
  ]
  for (const [hosts, verdict, why] of table) {
    for (const host of hosts) {
      const outcome = await attack(rig, request([`Host: ${host}`]))
      if (verdict !== '') t.equal(outcome.verdict, verdict, `${host}: ${why}`)
      else
        t.match(outcome.verdict, /^(?:403 host_not_allowed|404 company_unknown|400 request_invalid)$/, host)
      t.equal(outcome.seen.length, 0, `${host}: nothing goes up`)
    }
  }
})

t.test(
  'every address of the proxy, and every method, asks for a good Host, also of a rebound page',
  async (t) => {
    const rig = await start(t)
    // To the browser of that page, evil.com resolves to 127.0.0.1, and a fetch is of the same origin.
    const page = ['Host: evil.com', 'Origin: http://evil.com', 'Sec-Fetch-Site: same-origin']
    for (const [method, path] of EVERYWHERE) {
      for (const lines of [['Host: evil.com'], page]) {
        const outcome = await attack(rig, request(lines, path, method), { methods: [method] })
        t.equal(outcome.verdict, '403 host_not_allowed', `${method} ${path}`)
        t.equal(outcome.seen.length, 0)
        t.notMatch(
          outcome.text,
          new RegExp(`globex|${ACME}|uptimeSeconds|procore_proxy_`),
          'it learns nothing',
        )
      }
    }
  },
)

t.test('loopback names are allowed in every honest spelling', async (t) => {
  const rig = await start(t)
  for (const host of words`
    localhost LOCALHOST LocalHost. localhost.:9 localhost: localhost:1 localhost:65535 127.0.0.1 127.0.0.1.
    127.0.0.0 127.255.255.255:99 [::1] [::1]:8377 acme.localhost ACME.LocalHost.:99
  `) {
    const outcome = await attack(rig, request([`Host: ${host}`]))
    t.equal(outcome.verdict, '200', host)
    t.equal(outcome.seen[0]?.headers['host'], new URL(rig.fake.apiUrl).host, 'and the API sees its own')
  }
})

t.test('a listed host is compared whole, never as a pattern, suffix or prefix', async (t) => {
  const rig = await start(t, {
    guard: { allowedHosts: ['proxy.example'], allowUnauthenticated: true },
  })
  for (const host of ['proxy.example', 'PROXY.Example.', 'proxy.example:1']) {
    t.equal((await attack(rig, request([`Host: ${host}`]))).verdict, '200', host)
  }
  for (const host of words`
    proxyxexample proxy-example sub.proxy.example .proxy.example evilproxy.example proxy.example.evil.com proxy.example..
    example
  `) {
    const { verdict, seen } = await attack(rig, request([`Host: ${host}`]))
    t.equal(verdict, '403 host_not_allowed', host)
    t.equal(seen.length, 0)
  }
})

t.test('no Host, two Hosts, and HTTP/1.0 without one are refused (RFC 9112 section 3.2)', async (t) => {
  const rig = await start(t)
  const cases: [string, string[], string?][] = [
    ['none', []],
    ['none, with HTTP/1.0', [], '1.0'],
    ['two that differ', ['Host: localhost', 'Host: evil.com']],
    ['two that differ, the other way', ['Host: evil.com', 'Host: localhost']],
    ['two that are equal', ['Host: localhost', 'host: localhost']],
    ['a second one that is empty', ['Host: localhost', 'Host:']],
    ['a name with a space', ['Host : localhost']],
    ['an underscore in its place', ['HOST_: localhost']],
    ['X-Forwarded-Host in its place', ['X-Forwarded-Host: localhost']],
    ['HTTP/1.0 with X-Forwarded-Host', ['X-Forwarded-Host: localhost'], '1.0'],
  ]
  for (const [what, lines, version] of cases) {
    const outcome = await attack(rig, request(lines, PATH, 'GET', version))
    t.equal(outcome.verdict, '400 request_invalid', what)
    t.equal(outcome.seen.length, 0, what)
  }
  t.equal(
    (await attack(rig, request(['Host: localhost'], PATH, 'GET', '1.0'))).verdict,
    '200',
    'HTTP/1.0 with one',
  )
})

// fastify CVE-2026-3635, oauth2-proxy CVE-2026-40575
t.test('forwarding headers are never believed, nor passed on', async (t) => {
  const rig = await start(t)
  const names = words`
      X-Forwarded-Host X_Forwarded_Host Forwarded X-Forwarded-Server X-Forwarded-Uri X-Forwarded-Proto
    `
  for (const name of names) {
    const value = name === 'Forwarded' ? 'host=localhost' : 'localhost'
    const refused = await attack(rig, request(['Host: evil.com', `${name}: ${value}`]))
    t.equal(refused.verdict, '403 host_not_allowed', `${name} does not make a wrong Host acceptable`)
    const passed = await attack(rig, request(['Host: localhost', `${name}: evil.com`]))
    t.equal(passed.verdict, '200', `${name} does not spoil one`)
    t.notMatch(passed.seen[0]?.rawHeaders.join('\n'), /evil\.com/, `${name} stays here`)
  }
  const paged = await attack(
    rig,
    request(['Host: localhost', 'X-Forwarded-Host: evil.com'], '/acme/rest/v1.0/projects?per_page=1'),
  )
  t.match(paged.answers[0]?.values('link')[0], /<http:\/\/localhost\//, 'nor does it get into links')
  t.notMatch(paged.text, /evil/)
})

/** Header lines of a web page's request that must be refused; test/guards/callers.test.ts has every other spelling. */
const FOREIGN: readonly (readonly string[])[] = [
  ['Origin: http://evil.com'],
  ['Origin: null'],
  ['Origin:'],
  ['Origin: http://localhost@evil.com'],
  ['Origin: http://evil.com http://localhost'],
  ['Origin: http://localhost', 'Origin: http://localhost'],
  ['Origin: chrome-extension://abcdefghijklmnop'],
  ['Origin: file://'],
  ['Sec-Fetch-Site: cross-site'],
  ['Sec-Fetch-Site: same-site'],
  ['Sec-Fetch-Site: '],
  ['Sec-Fetch-Site: none, cross-site'],
  ['Origin: http://evil.com', 'Sec-Fetch-Site: same-origin'],
  ['Origin: http://evil.com', 'Sec-Fetch-Site: none'],
]

t.test('a foreign web page gets nothing, by any method and on any address (CSRF, and no CORS)', async (t) => {
  const rig = await start(t)
  const everywhere = [
    ...EVERYWHERE,
    ...words`/_proxy/health/live /_proxy/health/ready /nowhere`.map((each) => ['GET', each] as const),
  ]
  for (const lines of FOREIGN) {
    // By one header everywhere, for each of the headers; by all the others where it counts.
    const isPlain = ['Origin: http://evil.com', 'Sec-Fetch-Site: cross-site'].includes(lines.join())
    for (const [method, path] of isPlain ? everywhere : ([['POST', PATH]] as const)) {
      const outcome = await attack(rig, request(['Host: localhost', ...lines], path, method), {
        methods: [method],
      })
      const what = `${method} ${path} ${lines.join(' ')}`
      t.equal(outcome.verdict, '403 origin_not_allowed', what)
      t.equal(outcome.seen.length, 0, what)
      t.notMatch(outcome.text, /access-control-/i, 'no CORS header')
    }
  }
})

t.test('a preflight of a page that is not listed is refused, and tells it nothing', async (t) => {
  const rig = await start(t, { guard: { allowedOrigins: ['https://app.example'] } })
  for (const origin of ['http://evil.com', 'null', 'https://app.example.evil.com', 'http://app.example']) {
    for (const path of [PATH, '/_proxy/status', '/_proxy/health/live']) {
      const outcome = await attack(
        rig,
        request(
          [
            'Host: localhost',
            `Origin: ${origin}`,
            'Access-Control-Request-Method: DELETE',
            'Access-Control-Request-Private-Network: true',
          ],
          path,
          'OPTIONS',
        ),
      )
      t.equal(outcome.verdict, '403 origin_not_allowed', `${origin} ${path}`)
      t.notMatch(outcome.text, /access-control-/i)
      t.equal(outcome.seen.length, 0)
    }
  }
})

t.test('the proxy’s own pages may call it, under the Host they came from and no other', async (t) => {
  const rig = await start(t)
  const own = ['Host: localhost:8377', 'Origin: http://localhost:8377']
  const passes = [own, [...own, 'Sec-Fetch-Site: same-origin'], ['Host: localhost', 'Sec-Fetch-Site: none']]
  for (const lines of passes) {
    const outcome = await attack(rig, request(lines, PATH, 'POST'))
    t.equal(outcome.verdict, '200', lines.join(' '))
    t.notMatch(outcome.text, /access-control-/i, 'and needs no CORS')
    t.notOk(outcome.seen[0]?.headers['origin'])
  }
  for (const host of ['127.0.0.1:8377', 'acme.localhost:8377', 'localhost:8378', 'localhost']) {
    const { verdict } = await attack(rig, request([`Host: ${host}`, own[1]!]))
    t.equal(verdict, '403 origin_not_allowed', `a page of localhost:8377 calls ${host}`)
  }
})

t.test('a listed origin gets CORS for itself alone, never a wildcard, never credentials', async (t) => {
  const origins = ['https://app.example', 'http://127.0.0.1:5173']
  const rig = await start(t, { guard: { allowedOrigins: origins } })
  for (const origin of origins) {
    const from = ['Host: localhost', `Origin: ${origin}`, 'Sec-Fetch-Site: cross-site']
    for (const path of words`
      ${PATH} /nowhere /acme/rest/../x /_proxy/health/live /_proxy/nothing /oauth/token/info
    `) {
      const outcome = await attack(rig, request(from, path))
      if (path === PATH) t.equal(outcome.verdict, '200')
      t.strictSame(outcome.answers[0]?.values('access-control-allow-origin'), [origin], `${origin} ${path}`)
      t.match(outcome.answers[0]?.values('vary').join(), /origin/i)
      t.notMatch(outcome.text, /access-control-allow-(?:credentials|origin: \*)/i)
    }
    const preflight = await attack(
      rig,
      request([...from, 'Access-Control-Request-Method: PUT'], PATH, 'OPTIONS'),
    )
    t.equal(preflight.verdict, '204')
    t.strictSame(preflight.answers[0]?.values('access-control-allow-origin'), [origin])
    t.equal(preflight.seen.length, 0, 'a preflight is answered here')
    const ofHealth = request(
      [...from, 'Access-Control-Request-Method: GET'],
      '/_proxy/health/live',
      'OPTIONS',
    )
    t.equal((await attack(rig, ofHealth)).verdict, '204')
  }
  const unmarked = await attack(rig, request(['Host: localhost']))
  t.equal(unmarked.verdict, '200')
  t.notMatch(unmarked.text, /access-control-/i, 'a caller without an Origin gets none')
  for (const lines of FOREIGN.filter(([first]) => first?.startsWith('Origin'))) {
    const outcome = await attack(rig, request(['Host: localhost', ...lines]))
    t.equal(outcome.verdict, '403 origin_not_allowed', lines.join(' '))
    t.notMatch(outcome.text, /access-control-/i)
  }
  for (const method of ['DELETE\tx', 'PUT\r\nX: y'.replace('\r\n', '\n'), '*', 'PUT"<']) {
    const outcome = await attack(
      rig,
      request(
        ['Host: localhost', 'Origin: https://app.example', `Access-Control-Request-Method: ${method}`],
        PATH,
        'OPTIONS',
      ),
    )
    t.notMatch(outcome.text, /access-control-allow-methods: [^A-Z*\r]/i, 'nothing odd is repeated')
    t.equal(outcome.seen.length, 0)
  }
})

t.test('`Origin: null` is any sandboxed page, so it can’t be listed', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  for (const origin of ['null', '*', 'http://*.example', 'https://app.example/x']) {
    const problem = await folder.message(oneCompany(`guard: { allowedOrigins: ["${origin}"] }`))
    t.match(problem, 'allowedOrigins', origin)
  }
})

t.test('requireHeader: a form or an image of a page can’t send it, so none passes without', async (t) => {
  const rig = await start(t, { guard: { requireHeader: true } })
  const good = 'Procore-Proxy-Request: true'
  for (const lines of [
    [],
    ['Procore-Proxy-Request: false'],
    ['Procore_Proxy_Request: true'],
    ['X-Procore-Proxy-Request: true'],
    [good, good],
  ]) {
    for (const [path, method] of [
      [PATH, 'GET'],
      [PATH, 'POST'],
      ['/_proxy/status', 'GET'],
      ['/_proxy/metrics', 'GET'],
      ['/oauth/token', 'POST'],
    ]) {
      const outcome = await attack(rig, request(['Host: localhost', ...lines], path, method))
      t.equal(outcome.verdict, '412 header_required', `${method} ${path} ${lines.join(' ')}`)
      t.equal(outcome.seen.length, 0)
    }
  }
  const passed = await attack(rig, request(['Host: localhost', good]))
  t.equal(passed.verdict, '200')
  t.notOk(passed.seen[0]?.headers['procore-proxy-request'], 'it stays here')
})

t.test('clientKeys: the right key, in the right header, once; and it is never repeated', async (t) => {
  const keys = ['k3y-0ne-of-the-office', 'k3y-tw0-of-the-robot']
  const rig = await start(t, { guard: { clientKeys: keys } })
  // Each kind once: test/guards/keys.test.ts has every spelling.
  const refused: string[][] = [
    [],
    ['Procore-Proxy-Key: wrong'],
    [`Procore-Proxy-Key: ${keys[0]}x`],
    [`Procore-Proxy-Key: ${keys[0]}, ${keys[1]}`],
    [`Procore-Proxy-Key: ${keys[0]}`, `Procore-Proxy-Key: ${keys[0]}`],
    [`Procore_Proxy_Key: ${keys[0]}`],
    [`Authorization: Bearer ${keys[0]}`, 'Authorization: Bearer x'],
    [`Authorization: Bearer ${keys[0]}`, `Procore-Proxy-Key: ${keys[1]}`],
    [`X-Api-Key: ${keys[0]}`],
    [`Cookie: Procore-Proxy-Key=${keys[0]}`],
    ['Procore-Proxy-Key: \xff\xfe'],
  ]
  let answers = ''
  // At the same time, because after ten wrong keys each refusal takes a second.
  const sent = refused.flatMap((lines) =>
    [
      [PATH, 'GET'] as const,
      [`${PATH}?key=${keys[0]}&Procore-Proxy-Key=${keys[0]}`, 'POST'] as const,
      ...(lines.length === 0 ? PATHS : ['/_proxy/status']).map((path) => [path, 'GET'] as const),
    ].map(async ([path, method]) => {
      const outcome = await attack(rig, request(['Host: localhost', ...lines], path, method))
      t.equal(outcome.verdict, '401 key_required', `${method} ${path} ${lines.join(' ')}`)
      answers += outcome.text
    }),
  )
  await Promise.all(sent)
  t.equal(rig.fake.journal.api().length, 0)
  const ways = (key: string) => [
    `Procore-Proxy-Key: ${key}`,
    `Authorization: Bearer ${key}`,
    `Authorization: Basic ${Buffer.from(`anyone:${key}`).toString('base64')}`,
    `Procore-Proxy-Key: ${key}\r\nAuthorization: Bearer made-up`,
  ]
  for (const line of keys.flatMap(ways)) {
    const outcome = await attack(rig, request(['Host: localhost', line]))
    t.equal(outcome.verdict, '200', 'each key is good, in each of three places')
    const up = outcome.seen[0]?.rawHeaders.join('\n') ?? ''
    for (const each of keys) t.notOk(up.includes(each), 'and does not go up')
    answers += outcome.text
  }
  for (const key of keys) {
    t.notOk(answers.includes(key), 'no answer repeats a key')
    t.notOk(rig.logText().includes(key), 'nor does the log')
  }
  const log = rig.logText()
  t.match(log, /key_required/)
})

t.test('the health addresses answer any Host without key, and say nothing but up or down', async (t) => {
  const rig = await start(t, { guard: { clientKeys: ['a-client-key-of-16'], requireHeader: true } })
  for (const path of words`
    /_proxy/health/live /_proxy/health/ready /_proxy/health/ready?verbose=1
    http://10.1.2.3:8377/_proxy/health/live
  `) {
    for (const lines of [['Host: 10.1.2.3:8377'], ['Host: evil.com'], [], ['Host: a', 'Host: b']]) {
      for (const method of ['GET', 'HEAD']) {
        const { verdict, answers, text } = await attack(rig, request(lines, path, method), {
          methods: [method],
        })
        t.equal(verdict, '200', `${method} ${path} ${lines.join(' ')}`)
        t.equal(answers[0]?.body, method === 'HEAD' ? '' : 'up\n')
        t.notMatch(text, /acme|globex|7656|demo-client|token/i, 'no company, account or token')
      }
    }
  }
  for (const path of words`
    /_proxy/health/live/ /_proxy/health/live/../../status /_proxy/health/live/x
    /_proxy/health/live%2f..%2f..%2fstatus /_proxy/health/live;/status /_proxy/health%2flive
    /_proxy/status?/_proxy/health/live //_proxy/health/live http://evil.com/x/_proxy/health/live
    /acme/rest/v1.0/me?/_proxy/health/live /_PROXY/health/live http:///_proxy/health/live
  `) {
    const { verdict, seen } = await attack(rig, request(['Host: evil.com'], path))
    t.match(verdict, /^40[03] (?:host_not_allowed|request_invalid)$/, `${path} is none of them`)
    t.equal(seen.length, 0)
  }
})

t.test('a listener on every address is no way around the Host: a rebound name is refused', async (t) => {
  const rig = await start(t, { listen: '0.0.0.0:0', guard: { clientKeys: ['a-client-key-of-16'] } })
  const key = 'Procore-Proxy-Key: a-client-key-of-16'
  for (const host of words`evil.com 0.0.0.0 0.0.0.0:${rig.port} [::] 10.0.0.1 [::ffff:127.0.0.1]`) {
    const { verdict, seen } = await attack(rig, request([`Host: ${host}`, key]))
    t.equal(verdict, '403 host_not_allowed', host)
    t.equal(seen.length, 0)
  }
  t.equal((await attack(rig, request(['Host: 127.0.0.1', key]))).verdict, '200')
})
