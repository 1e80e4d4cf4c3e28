// Where Link, Location and file URLs point: to where the caller came from, or to `publicUrl`; never where a caller says.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/server.ts'
import { shortFolder } from '../fixtures/cli.ts'
import { ACME, GLOBEX, type Rig, type Settings, sendRaw, startRig } from '../fixtures/proxy.ts'
import { startRawUpstream } from '../fixtures/raw-upstream.ts'

const acme = { id: ACME, serviceAccount: 'app', default: true, rewriteFileUrls: true }
const globex = { id: GLOBEX, serviceAccount: 'app', rewriteFileUrls: true }

function rig(t: Test, over: Settings = {}) {
  return startRig(t, {
    settings: ({ apiUrl, loginUrl }) => ({
      environments: { fake: { apiUrl, loginUrl, fileDomain: 'localhost' } },
      companies: { acme, globex },
      ...over,
    }),
  })
}

/** What the next page, a new project and a file are said to begin with. */
async function bases(to: number | string, host: string, prefix: string, more = '') {
  const ask = (line: string) =>
    sendRaw(to, `${line} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`)
  const list = await ask(`GET ${prefix}/rest/v1.0/projects?per_page=1`)
  const made = await sendRaw(
    to,
    `POST ${prefix}/rest/v1.0/projects HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: 24\r\n${more}\r\n{"project":{"name":"x"}}`,
  )
  const file = await ask(`GET ${prefix}/rest/v1.0/files/7`)
  return [
    /<(\S+)\/rest\/v1\.0\/projects\?[^>]*>; rel="next"/.exec(list)?.[1],
    /\r\nLocation: (\S+)\/rest\/v1\.0\/projects\/\d+\r\n/i.exec(made)?.[1],
    /"url":"(\S+?)\/_proxy\/files\//.exec(file)?.[1],
  ]
}

const thrice = (base: string) => [base, base, base]
const portOf = ({ server }: Rig, company: string) =>
  Number(
    server
      .addresses()
      .find((each) => each.company === company)
      ?.url.split(':')
      .at(-1),
  )

t.test('without publicUrl they point to the address, name and prefix that the caller used', async (t) => {
  const socket = join(shortFolder(t), 's')
  const it = await rig(t, {
    listen: ['127.0.0.1:0', `unix:${socket}`],
    companies: { acme, globex: { ...globex, listen: '127.0.0.1:0' } },
  })
  const { port } = it
  const own = portOf(it, 'globex')
  const lies = [
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Port: 1',
    'X-Forwarded-Prefix: /evil',
    'Forwarded: host=evil.example;proto=https',
    'X-Original-Host: evil.example',
    '',
  ].join('\r\n')
  for (const more of ['', lies]) {
    t.strictSame(await bases(port, `127.0.0.1:${port}`, '', more), thrice(`http://127.0.0.1:${port}`))
    t.strictSame(await bases(port, 'localhost:9', '/globex', more), thrice('http://localhost:9/globex'))
    t.strictSame(await bases(port, 'localhost', `/${GLOBEX}`, more), thrice(`http://localhost/${GLOBEX}`))
    t.strictSame(
      await bases(port, `globex.localhost:${port}`, '', more),
      thrice(`http://globex.localhost:${port}`),
    )
    t.strictSame(await bases(own, `127.0.0.1:${own}`, '', more), thrice(`http://127.0.0.1:${own}`))
    t.strictSame(await bases(socket, 'localhost', '/acme', more), thrice('http://localhost/acme'))
  }
})

t.test('with publicUrl they point there, whatever way the caller came', async (t) => {
  const socket = join(shortFolder(t), 's')
  const it = await rig(t, {
    listen: ['127.0.0.1:0', `unix:${socket}`],
    publicUrl: 'https://Procore.example.com/proxy/',
    companies: { acme, globex: { ...globex, listen: '127.0.0.1:0', publicUrl: 'http://globex.example:81' } },
    guard: { allowUnauthenticated: true },
  })
  const { port } = it
  const own = portOf(it, 'globex')
  const top = 'https://procore.example.com/proxy'
  t.strictSame(await bases(port, 'procore.example.com', '/acme'), thrice(`${top}/acme`))
  t.strictSame(await bases(port, 'PROCORE.example.com.:443', ''), thrice(top))
  t.strictSame(await bases(port, `127.0.0.1:${port}`, ''), thrice(top))
  t.strictSame(await bases(port, 'globex.localhost', ''), thrice(`${top}/globex`), 'a name becomes a prefix')
  t.strictSame(await bases(port, 'globex.localhost', '/globex'), thrice(`${top}/globex`), 'once')
  t.strictSame(await bases(socket, 'localhost', '/acme'), thrice(`${top}/acme`))
  t.strictSame(await bases(own, 'globex.example', ''), thrice('http://globex.example:81'))
  t.strictSame(await bases(own, 'localhost', '/globex'), thrice('http://globex.example:81/globex'))
  for (const [to, host] of [
    [port, 'globex.example'],
    [own, 'procore.example.com'],
    [port, 'evil.procore.example.com'],
    [port, 'example.com'],
  ] as const) {
    const answer = await sendRaw(
      to,
      `GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    )
    t.match(answer, 'Procore-Proxy-Error: host_not_allowed', host)
  }
  const page = await sendRaw(
    port,
    'GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: procore.example.com\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n',
  )
  t.match(page, 'Procore-Proxy-Error: origin_not_allowed')
})

t.test('a Location without a host stays below the path of publicUrl', async (t) => {
  const upstream = await startRawUpstream(t, (_request, socket) =>
    socket.write('HTTP/1.1 302 Found\r\nLocation: /rest/v1.0/me\r\nContent-Length: 0\r\n\r\n'),
  )
  const { get } = await startRig(t, {
    settings: ({ loginUrl }) => ({
      environments: { fake: { apiUrl: upstream.url, loginUrl } },
      publicUrl: 'https://procore.example.com/proxy',
      guard: { allowUnauthenticated: true },
    }),
  })
  const { headers } = await get('/acme/rest/v1.0/x')
  t.equal(headers['location'], '/proxy/acme/rest/v1.0/me')
})

t.test('the type of an error leads to this proxy’s page also below the path of publicUrl', async (t) => {
  const it = await rig(t, {
    publicUrl: 'https://procore.example.com/proxy',
    companies: {
      acme,
      globex: { ...globex, listen: '127.0.0.1:0', publicUrl: 'https://procore.example.com/g' },
    },
  })
  for (const [port, host, path, type] of [
    [it.port, 'localhost', '/x', '/proxy/_proxy/errors#route_unknown'],
    [it.port, 'localhost', '/globex/rest/v1.0/x?company_id=1', '/proxy/_proxy/errors#company_conflict'],
    [it.port, 'evil.example', '/x', '/proxy/_proxy/errors#host_not_allowed'],
    [portOf(it, 'globex'), 'localhost', '/x', '/g/_proxy/errors#route_unknown'],
  ] as const) {
    const head = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
    t.ok((await sendRaw(port, head)).includes(`"type":"${type}"`), type)
  }
  t.match(
    await sendRaw(it.port, 'GET /x HTTP/1.1\r\nConnection: close\r\n\r\n'),
    '"/proxy/_proxy/errors#request_invalid"',
  )
})

t.test('an own address does not take the public URL of the others', async (t) => {
  const it = await rig(t, {
    publicUrl: 'https://procore.example.com',
    companies: { acme, globex: { ...globex, listen: '127.0.0.1:0' } },
  })
  t.strictSame(await bases(portOf(it, 'globex'), 'localhost', ''), thrice('http://localhost'))
})

t.test('a company’s publicUrl without an own address is a mistake', async (t) => {
  const settings = {
    companies: {
      acme: { id: '7', publicUrl: 'https://a.example', serviceAccount: { clientId: 'a', clientSecret: 'b' } },
    },
  }
  const file = join(t.testdir({ 'c.yaml': JSON.stringify(settings) }), 'c.yaml')
  const loading = loadConfig({ flags: { config: file }, env: {}, cwd: '/', resolveSecrets: false })
  const error = await loading.catch((reason: unknown) => reason)
  t.match(error, {
    problems: [{ key: 'companies.acme.publicUrl', message: /which this company does not have/ }],
  })
})
