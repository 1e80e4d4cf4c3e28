// Covers src/guards/headers.ts
import fc from 'fast-check'
import t from 'tap'
import { hostLabel, judgeHost, judgeOrigin, readHost } from '../../src/guards/headers.ts'
import { testConfig } from '../fixtures/config.ts'
import { words } from '../fixtures/words.ts'

const { guard } = testConfig({
  guard: {
    allowedHosts: ['proxy.example', '0x7f.0.0.9.example'],
    allowedOrigins: ['https://app.example', 'null'],
  },
})

function judge(value: string, own: readonly string[] = []): void {
  judgeHost(guard, readHost(['Host', value], '1.1'), () => own)
}

t.test("A listener's own address may be called, the unspecified address never", async (t) => {
  t.doesNotThrow(() => judge('192.168.1.5:8377', ['10.0.0.1', '192.168.1.5']))
  t.doesNotThrow(() => judge('[fd00::5]:8377', ['fd00::5']))
  t.doesNotThrow(() => judge('[fd00::5]', ['[fd00::5]']))
  t.throws(() => judge('192.168.1.50', ['192.168.1.5']), { code: 'host_not_allowed' })
  t.throws(() => judge('evil.example', ['fd00::5']), { code: 'host_not_allowed' })
  t.throws(() => judge('[192.168.1.5]', ['192.168.1.5']), { code: 'host_not_allowed' })
  t.throws(() => judge('0.0.0.0', ['0.0.0.0']), { code: 'host_not_allowed' })
  t.throws(() => judge('[::]', ['::']), { code: 'host_not_allowed' })
  t.throws(() => judge('[::]', ['[::]']), { code: 'host_not_allowed' })
})

/** What may be called, told by splitting and counting rather than by a pattern. */
function mayBeCalled(value: string): boolean {
  const colon = value.lastIndexOf(':')
  const hasPort = colon > value.lastIndexOf(']') && colon !== -1
  if (
    hasPort &&
    colon < value.length - 1 &&
    String(Number(value.slice(colon + 1))) !== value.slice(colon + 1)
  )
    return false
  let name = (hasPort ? value.slice(0, colon) : value).toLowerCase()
  if (name.endsWith('.')) name = name.slice(0, -1)
  if (['localhost', '[::1]', 'proxy.example', '0x7f.0.0.9.example'].includes(name)) return true
  const labels = name.split('.')
  if (labels.length > 1 && labels.at(-1) === 'localhost') return name !== '.localhost'
  const numbers = labels.map(Number)
  const canonical = numbers.every(
    (number, place) => number >= 0 && number < 256 && String(number) === labels[place],
  )
  return canonical && numbers.length === 4 && numbers[0] === 127
}

t.test('Nothing outside the list passes, whatever the Host is made of', async (t) => {
  const pieces = fc.constantFrom(
    ...words`localhost LOCALHOST 127 0 1 255 256 01 0x7f 127.0.0.1 [::1] [ ] ::`,
    ...[
      ...words`
        . . . : :80 @ , evil com proxy.example - \0 %2e / [::]
      `,
      ' ',
      '\t',
    ],
  )
  const octets = fc.array(fc.oneof(fc.nat(300).map(String), fc.constant('127')), {
    minLength: 2,
    maxLength: 5,
  })
  const value = fc.oneof(
    fc.array(pieces, { maxLength: 6 }).map((parts) => parts.join('')),
    octets.map((parts) => parts.join('.')),
    octets.map((parts) => `127.${parts.join('.')}`),
    fc.string({ maxLength: 12 }).map((text) => `${text}.localhost`),
    fc.string({ maxLength: 12 }).map((text) => `localhost${text}`),
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.ipV4Extended(),
    fc.ipV6().map((address) => `[${address}]`),
  )
  let passed = 0
  fc.assert(
    fc.property(value, (host) => {
      try {
        judge(host)
      } catch (error) {
        return ['host_not_allowed', 'request_invalid'].includes((error as { code: string }).code)
      }
      passed++
      return mayBeCalled(host) && /^[a-z0-9._:[\]-]+$/i.test(host)
    }),
    { numRuns: 20_000 },
  )
  t.ok(passed > 200, 'enough of the random hosts were let through to tell')
})

t.test('The label of a host is what stands before .localhost', async (t) => {
  t.equal(hostLabel('acme.localhost'), 'acme')
  t.equal(hostLabel('a.b.localhost'), 'a.b')
  t.equal(hostLabel('.localhost'), '')
  for (const name of ['localhost', 'evillocalhost', '127.0.0.1', 'acme.localhost.evil.com']) {
    t.equal(hostLabel(name), undefined, name)
  }
})

function origin(headers: readonly string[], host = 'localhost:8377', publicUrl?: string) {
  return judgeOrigin(guard, headers, { host: readHost(['Host', host], '1.1'), publicUrl })
}

t.test('Callers that are no web page, and pages of the proxy itself, may call', async (t) => {
  const cases: [headers: string[], host?: string, publicUrl?: string][] = [
    [[]],
    [['Sec-Fetch-Site', 'none']],
    [['Sec-Fetch-Site', 'same-origin']],
    [['Origin', 'http://localhost:8377']],
    [['Origin', 'http://localhost:8377', 'Sec-Fetch-Site', 'same-origin']],
    [['ORIGIN', 'http://localhost'], 'localhost'],
    [['Origin', 'http://localhost'], 'LOCALHOST:80'],
    [['Origin', 'http://localhost:80'], 'localhost'],
    [['Origin', 'http://localhost:80'], 'localhost:80'],
    [['Origin', 'http://localhost.:8377'], 'localhost.:8377'],
    [['Origin', 'http://[::1]:8377'], '[::1]:8377'],
    [['Origin', 'https://proxy.example'], 'proxy.example', 'https://proxy.example/team'],
    [['Origin', 'https://proxy.example'], '127.0.0.1:8377', 'https://proxy.example'],
    [['Origin', 'http://localhost:8377'], 'localhost:8377', 'https://proxy.example'],
    [['Origin', 'http://proxy.example:8080'], 'proxy.example:8080', 'http://proxy.example:8080'],
  ]
  for (const [headers, host, publicUrl] of cases) {
    t.equal(origin(headers, host, publicUrl), undefined, `${headers.join(' ')} at ${host}`)
  }
})

t.test('A prefetch or prerender, which any page can cause, is refused however announced', async (t) => {
  for (const [name, value] of [
    ['Sec-Purpose', 'prefetch'],
    ['sec-purpose', 'prefetch;prerender'],
    ['Sec-Purpose', 'prefetch;anonymous-client-ip'],
    ['Purpose', 'Prefetch'],
    ['X-Purpose', 'preview'],
    ['X-Moz', 'prefetch'],
  ] as const) {
    for (const more of [[], ['Sec-Fetch-Site', 'none'], ['Origin', 'https://app.example']]) {
      t.throws(() => origin([name, value, ...more]), { code: 'origin_not_allowed' }, `${name}: ${value}`)
    }
  }
  t.equal(origin(['Purpose', 'reporting']), undefined, 'another purpose is none of ours')
})

t.test('A listed origin may call and is given back, from whatever site it says it is', async (t) => {
  const listed = 'https://app.example'
  t.equal(origin(['Origin', listed]), listed)
  for (const site of ['cross-site', 'same-site', 'same-origin', 'none', 'new-value']) {
    t.equal(origin(['Origin', listed, 'Sec-Fetch-Site', site]), listed, site)
  }
})

t.test('Every other web page is refused', async (t) => {
  const cases: [headers: string[], host?: string, publicUrl?: string][] = [
    [['Origin', 'https://evil.com']],
    [['Origin', 'null']],
    [['Origin', '']],
    [['Origin', 'http://localhost']],
    [['Origin', 'http://localhost:80']],
    [['Origin', 'http://localhost:8378']],
    [['Origin', 'https://localhost:8377']],
    [['Origin', 'http://127.0.0.1:8377']],
    [['Origin', 'http://acme.localhost:8377']],
    [['Origin', 'http://localhost:8377.evil.com']],
    [['Origin', 'http://localhost:8377/']],
    [['Origin', 'http://localhost:80'], 'localhost:8377'],
    [['Origin', 'http://localhost:8377:80']],
    [['Origin', 'http://localhost:443'], 'localhost'],
    [['Origin', 'http://proxy.example'], 'proxy.example', 'https://proxy.example'],
    [['Origin', 'https://proxy.example:8443'], 'proxy.example', 'https://proxy.example'],
    [['Origin', 'https://localhost:8377'], 'localhost:8377', 'https://proxy.example'],
    [['Origin', 'https://proxy.example'], 'proxy.example'],
    [['Origin', 'http://app.example']],
    [['Origin', 'https://app.example.evil.com']],
    [['Origin', 'https://app.example:443']],
    [['Origin', 'https://app.example', 'Origin', 'https://app.example']],
    [['Origin', 'https://app.example, https://evil.com']],
    [['Origin', 'http://localhost:8377', 'Origin', 'https://evil.com']],
    [['Origin', 'http://localhost:8377', 'Sec-Fetch-Site', 'cross-site']],
    [['Origin', 'http://localhost:8377', 'Sec-Fetch-Site', 'same-site']],
    [['Sec-Fetch-Site', 'cross-site']],
    [['Sec-Fetch-Site', 'same-site']],
    [['Sec-Fetch-Site', 'Same-Origin']],
    [['Sec-Fetch-Site', 'new-value']],
    [['Sec-Fetch-Site', '']],
    [['Sec-Fetch-Site', 'none', 'sec-fetch-site', 'cross-site']],
    [['Origin', 'https://app.example', 'Sec-Fetch-Site', 'none', 'sec-fetch-site', 'none']],
  ]
  for (const [headers, host, publicUrl] of cases) {
    t.throws(
      () => origin(headers, host, publicUrl),
      { code: 'origin_not_allowed' },
      `${headers.join(' ')} at ${host}`,
    )
  }
})
