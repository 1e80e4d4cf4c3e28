// Whole lists from an API that is a function: src/server/lists.ts with the pages, projects and text of src/lists.
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { fastify } from 'fastify'
import t, { type Test } from 'tap'
import type { ListSettings } from '../../src/config/config.ts'
import { ProxyError } from '../../src/errors.ts'
import { type Call, CallerGoneError, storedResponse, type UpstreamResponse } from '../../src/forward/call.ts'
import { type Exchange, startExchange } from '../../src/observe/exchange.ts'
import { createLogger } from '../../src/observe/log.ts'
import type { AppDeps, RequestContext } from '../../src/server/app.ts'
import { registerLists } from '../../src/server/lists.ts'

const ORIGIN = 'https://api.procore.com'
const RFIS = '/rest/v1.0/rfis'
type Api = (url: URL) => UpstreamResponse | Promise<UpstreamResponse>

function answer(status: number, body: unknown, headers: Record<string, string> = {}): UpstreamResponse {
  const bytes = Buffer.isBuffer(body)
    ? body
    : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  return storedResponse(
    status,
    '',
    Object.entries({ 'content-type': 'application/json', ...headers }).flat(),
    bytes,
  )
}

/** A page of a list, as the API gives it. */
function pageOf(url: URL, rows: readonly unknown[], { link = true, total = true } = {}): UpstreamResponse {
  const [page, perPage] = [
    Number(url.searchParams.get('page') ?? 1),
    Number(url.searchParams.get('per_page')),
  ]
  const end = page * perPage
  const next = `<${ORIGIN}${url.pathname}?page=${page + 1}&per_page=${perPage}>; rel="next"`
  return answer(200, rows.slice(end - perPage, end), {
    ...(link && end < rows.length && { link: next }),
    ...(total && { total: String(rows.length) }),
  })
}

interface RigOptions {
  readonly projects?: readonly string[]
  readonly settings?: Partial<ListSettings>
  /** Paths that the rules deny. */
  readonly denied?: string
}

async function start(t: Test, api: Api, { settings = {}, projects, denied }: RigOptions = {}) {
  const asked: string[] = []
  const over: (number | null)[] = []
  const exchanges: Exchange[] = []
  const pages: Exchange[] = []
  const lines: string[] = []
  const seen = { underWay: 0, most: 0 }
  const rewriteUrl = ({ url = '' }) => url.replace(/^(\/_proxy\/\w+\/).*/, '$1')
  const app = fastify({ forceCloseConnections: true, rewriteUrl })
  app.setErrorHandler((error, _request, reply) => {
    const known = error instanceof ProxyError ? error : new ProxyError('internal_error', String(error))
    return reply.code(known.status).send({ code: known.code, detail: known.message })
  })
  const lists = { enabled: true, perPage: 2, maxPages: 9, maxProjects: 4, concurrency: 2, ...settings }
  app.decorateRequest('proxyContext')
  app.addHook('onRequest', (request, _reply, done) => {
    const current = { onClose: [] as (() => void)[] }
    request.raw.socket.once('close', () => {
      for (const tell of current.onClose) tell()
    })
    const page = (path: string) => {
      if (path.startsWith(denied ?? '-')) throw new ProxyError('access_denied', 'no')
      return {
        ...{ path, exchange: startExchange('1', 'GET', path), company: {}, companyName: 'acme' },
        upstream: { environment: { name: 'lab' } },
      }
    }
    const { originalUrl: url } = request
    const exchange = startExchange('list', 'GET', url)
    exchanges.push(exchange)
    const list = { url, companyId: '7', apiOrigin: ORIGIN, caller: projects && { projects }, page }
    request.proxyContext = { exchange, list, current } as unknown as RequestContext
    done()
  })
  const send = async ({ path, departure }: Call) => {
    asked.push(path)
    seen.most = Math.max(seen.most, ++seen.underWay)
    try {
      const gone = once(departure.signal, 'abort').then(() => Promise.reject(new CallerGoneError()))
      gone.catch(() => undefined)
      return await Promise.race([api(new URL(ORIGIN + path)), gone])
    } finally {
      seen.underWay -= 1
    }
  }
  const log = createLogger(
    { level: 'trace', format: 'json' },
    { write: (line: string) => void lines.push(line) },
  )
  const ended = (exchange: Exchange, status: number | null) => {
    pages.push(exchange)
    over.push(status)
  }
  registerLists(app, {
    runtime: {
      config: { lists: { csvFormulas: 'escape', ...lists }, upstream: { responseTimeoutMs: 1000 } },
    },
    send,
    shared: { log, observation: { ended }, audits: { recordOnce: () => undefined } },
  } as unknown as AppDeps)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const get = async (path: string, form = 'ndjson', method = 'GET') => {
    const call = httpRequest(`${url}/_proxy/${form}${path}`, { method, agent: false }).end()
    const [response] = (await once(call, 'response')) as [IncomingMessage]
    let body = ''
    response.setEncoding('utf8').on('data', (chunk) => {
      body += chunk
    })
    const complete = await new Promise<boolean>((resolve) => {
      response.once('end', () => resolve(true)).once('error', () => resolve(false))
    })
    const rows = body.split('\n').filter(Boolean)
    return {
      status: response.statusCode,
      headers: response.headers,
      trailers: response.trailers,
      body,
      rows,
      complete,
    }
  }
  const broken = () => exchanges.filter(({ cause }) => cause !== undefined).length
  const logged = () => lines.map((line) => JSON.parse(line))
  return { url, get, asked, over, exchanges, pages, broken, seen, log: logged }
}

const FIVE = [1, 2, 3, 4, 5].map((id) => ({ id }))

t.test('all pages come as one answer, in each form', async (t) => {
  const { get, asked, over } = await start(t, (url) => pageOf(url, FIVE))
  const ndjson = await get(`${RFIS}?project_id=3&_x=1`)
  t.match(ndjson, { status: 200, complete: true, headers: { 'content-type': 'application/x-ndjson' } })
  t.same(
    ndjson.rows.map((row) => JSON.parse(row)),
    FIVE,
  )
  for (const name of ['link', 'total', 'etag']) t.notOk(name in ndjson.headers)
  t.same(asked, [
    `${RFIS}?project_id=3&per_page=2`,
    `${RFIS}?page=2&per_page=2&project_id=3`,
    `${RFIS}?page=3&per_page=2&project_id=3`,
  ])
  t.same(over, [200, 200, 200])
  const csv = await get(RFIS, 'csv')
  t.equal(csv.headers['content-type'], 'text/csv; charset=utf-8')
  t.equal(csv.body, 'id,_more\r\n1,\r\n2,\r\n3,\r\n4,\r\n5,\r\n')
  const json = await get(RFIS, 'json')
  t.equal(json.headers['content-type'], 'application/json; charset=utf-8')
  t.same(JSON.parse(json.body), FIVE)
})

t.test('without links pages are counted by Total, and an empty list is one', async (t) => {
  const { get, asked } = await start(t, (url) =>
    pageOf(url, url.pathname === RFIS ? FIVE : [], { link: false }),
  )
  t.equal((await get(RFIS)).rows.length, 5)
  t.equal(asked.at(-1), `${RFIS}?per_page=2&page=3`)
  t.match(await get('/rest/v1.0/none'), { status: 200, body: '' })
  t.match(await get('/rest/v1.0/none', 'json'), { status: 200, body: '[]\n' })
  t.match(await get('/rest/v1.0/none?_columns=id', 'csv'), { status: 200, body: 'id\r\n' })
})

t.test('a list from a later page on is whole, whatever size of pages Procore gives', async (t) => {
  const rows = Array.from({ length: 450 }, (_, at) => ({ id: at + 1 }))
  const most = (url: URL) => Math.min(100, Number(url.searchParams.get('per_page')))
  for (const isTold of [true, false]) {
    const api: Api = (url) => {
      const start = (Number(url.searchParams.get('page') ?? 1) - 1) * most(url)
      const told = isTold && { 'per-page': String(most(url)) }
      return answer(200, rows.slice(start, start + most(url)), { total: '450', ...told })
    }
    const { get, asked } = await start(t, api, { settings: { perPage: 1000 } })
    t.equal((await get(`${RFIS}?page=2`)).rows.length, 350)
    t.equal(asked.length, 4)
    t.equal((await get(`${RFIS}?page=2&per_page=200`)).rows.length, 350)
    t.equal((await get(`${RFIS}?page=5`)).rows.length, 50)
  }
})

t.test('a list is too long by the size of its pages, not by the rows that may be seen', async (t) => {
  const ofTwo =
    (total: string, size: object): Api =>
    (url) => {
      const link = `<${RFIS}?page=2>; rel=next`
      return answer(200, [{ id: url.search }], url.searchParams.has('page') ? {} : { total, link, ...size })
    }
  const cases: [api: Api, status: number][] = [
    [ofTwo('2000', { 'per-page': '1000' }), 200],
    [ofTwo('2001', { 'per-page': '1000' }), 422],
    [ofTwo('2', {}), 200],
    [ofTwo('3', { 'per-page': '0' }), 422],
    [ofTwo('1000000000', {}), 422],
    [ofTwo('9'.repeat(20), {}), 422],
    [() => answer(200, [{ id: 1 }], { total: '9'.repeat(400) }), 422],
    // The list ends here, whatever Total counts.
    [() => answer(200, [], { total: '9' }), 200],
    [() => answer(200, [], { total: '9', 'per-page': '2' }), 200],
    [
      (url) =>
        answer(200, [], url.searchParams.has('page') ? {} : { total: '9', link: '<?page=2>;rel=next' }),
      200,
    ],
  ]
  for (const [at, [api, status]] of cases.entries()) {
    const { get } = await start(t, api, { settings: { maxPages: 2 } })
    t.match(await get(RFIS), { status, complete: true }, String(at))
  }
})

t.test('HEAD has the head of the answer and reads one page', async (t) => {
  const { get, asked, exchanges } = await start(t, (url) => pageOf(url, FIVE.slice(0, 2)))
  const { headers, ...head } = await get(RFIS, 'csv', 'HEAD')
  t.match(head, { status: 200, body: '', complete: true })
  t.equal(exchanges[0]?.bytesOut, 0)
  const { headers: whole } = await get(RFIS, 'csv')
  t.same({ ...headers, date: '', 'transfer-encoding': 'chunked' }, { ...whole, date: '' })
  t.equal(asked.length, 2)
  t.equal((await get(RFIS, 'csv', 'POST')).status, 404)
})

t.test('a page that may be too large is asked for again with half the rows, down to 100', async (t) => {
  const api: Api = (url) =>
    Number(url.searchParams.get('per_page')) > 300 ? answer(422, { errors: 1 }) : pageOf(url, FIVE)
  const { get, asked } = await start(t, api, { settings: { perPage: 1000 } })
  t.equal((await get(RFIS)).rows.length, 5)
  t.same(
    asked,
    [1000, 500, 250].map((size) => `${RFIS}?per_page=${size}`),
  )
  asked.length = 0
  t.match(await get(`${RFIS}?per_page=500`), { status: 422 })
  t.same(asked, [`${RFIS}?per_page=500`], 'a size of the caller’s own stays')
  const refused = async (perPage: number) => {
    const { get, asked } = await start(t, () => answer(422, { errors: 1 }), { settings: { perPage } })
    t.match(await get(RFIS), {
      status: 422,
      body: '{"errors":1}',
      headers: { 'procore-proxy-company': 'acme', 'x-request-id': 'list' },
    })
    return asked.map((url) => Number(url.split('=')[1]))
  }
  t.same(await refused(1000), [1000, 500, 250, 125, 100])
  t.same([await refused(100), await refused(50)], [[100], [50]])
})

t.test('a row that moves to another page while the list is read comes once', async (t) => {
  let rows = FIVE
  const { get } = await start(t, (url) => {
    const page = pageOf(url, rows)
    rows = [{ id: 6 }, ...FIVE]
    return page
  })
  t.same(
    (await get(RFIS)).rows.map((row) => JSON.parse(row).id),
    [1, 2, 3, 4, 5],
  )
})

t.test('an error before the first row is answered as it came', async (t) => {
  const cases: [Api, object][] = [
    [() => answer(403, { errors: ['no'] }), { status: 403, body: '{"errors":["no"]}' }],
    [() => answer(302, ''), { status: 302 }],
    [() => answer(200, '<html>'), { status: 422, body: /list_not_a_list/ }],
    [() => answer(200, { id: 1 }), { status: 422, body: /list_not_a_list/ }],
    [() => Promise.reject(new ProxyError('rate_limited', 'x')), { status: 429, body: /rate_limited/ }],
    [() => answer(200, Buffer.alloc(16 * 1024 * 1024 + 1, ' ')), { status: 422, body: /list_too_long/ }],
    [(url) => pageOf(url, Array(19).fill({})), { status: 422, body: /list_too_long.*maxPages/ }],
    [
      () => answer(200, 'no gzip', { 'content-encoding': 'gzip' }),
      { status: 502, body: /upstream_protocol/ },
    ],
    [
      () => answer(200, gzipSync(Buffer.alloc(17e6, ' '), { level: 0 }), { 'content-encoding': 'gzip' }),
      { status: 422 },
    ],
  ]
  for (const [api, expected] of cases) {
    const { get, broken } = await start(t, api)
    for (const form of ['csv', 'ndjson', 'json'])
      t.match(await get(RFIS, form), { complete: true, ...expected })
    t.equal(broken(), 0)
  }
  const slow = await start(t, () => Promise.reject(new ProxyError('upstream_timeout', 'x')))
  await slow.get(RFIS)
  t.match(
    slow.pages,
    [{ cause: 'upstream_timeout', error: { code: 'upstream_timeout' } }],
    'its page says so too',
  )
  const denied = await start(t, () => answer(200, []), { denied: RFIS })
  t.match(await denied.get(RFIS), { status: 403, body: /access_denied/ })
  t.same(denied.asked, [])
})

t.test('of an error that is too long to be held, the status and the beginning are passed on', async (t) => {
  const long = (status: number) => {
    const pipe = async (write: (chunk: Buffer) => boolean) => {
      for (let piece = 0; piece < 18; piece += 1) write(Buffer.alloc(1024 * 1024, 'x'))
    }
    return Object.assign(answer(status, ''), { pipe })
  }
  const { get, broken } = await start(t, () => long(500))
  const { status, complete, body } = await get(RFIS)
  t.match(
    { status, complete, length: body.length },
    { status: 500, complete: false, length: 16 * 1024 * 1024 },
  )
  t.equal(broken(), 1)
  t.match(await get(RFIS, 'csv', 'HEAD'), { status: 500, complete: true })
  const some = await start(
    t,
    projectsApi((id, url) => (id === '11' ? long(404) : pageOf(url, [{ id: 1 }]))),
  )
  t.match(await some.get('/rest/v1.0/projects/*/rfis'), { status: 200, complete: true })
})

t.test('gzip is undone', async (t) => {
  const { get } = await start(t, () => answer(200, gzipSync('[{"id":1}]'), { 'content-encoding': 'gzip' }))
  t.equal((await get(RFIS)).body, '{"id":1}\n')
})

t.test('an error after the first row breaks the answer off', async (t) => {
  const next = { link: `<${RFIS}?page=2>; rel=next` }
  const cases: [Api, object][] = [
    [() => answer(500, 'oops'), { status: 500, detail: `Procore answered 500 to ${RFIS}.` }],
    [() => answer(200, '<html>'), { code: 'list_not_a_list', status: 422 }],
    [
      () => Promise.reject(new ProxyError('upstream_timeout', 'slow')),
      { code: 'upstream_timeout', detail: 'slow' },
    ],
    [() => Promise.reject(new Error('secret')), { code: 'upstream_protocol', status: 502 }],
    [(url) => answer(200, [{ id: url.search }], next), { code: 'upstream_protocol' }],
    [
      (url) =>
        answer(200, [{ id: url.search }], {
          link: `<${RFIS}?page=${Number(url.searchParams.get('page')) + 1}>; rel=next`,
        }),
      { code: 'list_too_long' },
    ],
  ]
  for (const [api, reason] of cases) {
    const { get, broken } = await start(t, (url) =>
      url.searchParams.has('page') ? api(url) : answer(200, [{ id: 1 }], next),
    )
    const ndjson = await get(RFIS)
    t.match(ndjson, { status: 200, complete: false })
    t.equal(ndjson.rows[0], '{"id":1}')
    t.match(JSON.parse(ndjson.rows.at(-1) ?? ''), { _error: reason })
    t.notMatch(ndjson.body, /secret/)
    t.match(await get(RFIS, 'csv'), { complete: false, body: /^id,_more\r\n1,\r\n/ })
    t.match(await get(RFIS, 'json'), { complete: false, body: /^\[\n\{"id":1\}[^\]]*$/ })
    t.equal(broken(), 3)
  }
})

t.test(
  'to an HTTP/1.0 caller the answer ends with the connection, and breaks off with a reset',
  async (t) => {
    const { url } = await start(t, ({ pathname, searchParams }) => {
      const link = searchParams.has('page') ? {} : { link: `<${pathname}?page=2>; rel=next` }
      return searchParams.has('page') && pathname === RFIS
        ? answer(500, '')
        : answer(200, [{ id: 1 + Number(searchParams.has('page')) }], link)
    })
    const ask = (path: string) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.write(`GET /_proxy/ndjson${path} HTTP/1.0\r\n\r\n`)
      return text(socket)
    }
    t.match(await ask('/rest/v1.0/good'), /\r\n\r\n\{"id":1\}\n\{"id":2\}\n$/)
    await t.rejects(ask(RFIS), { code: 'ECONNRESET' })
  },
)

const PROJECTS = [11, 12, 13].map((id) => ({ id, name: `P${id}` }))

/** Projects, each with the rows `rowsOf` gives for it. */
function projectsApi(rowsOf: (id: string, url: URL) => UpstreamResponse | Promise<UpstreamResponse>): Api {
  return (url) => {
    if (url.pathname === '/rest/v1.0/projects') return pageOf(url, PROJECTS)
    const id = /projects\/(\d+)\//.exec(url.pathname)?.[1] ?? url.searchParams.get('project_id') ?? ''
    return rowsOf(id, url)
  }
}

t.test('a star reads the list of each project, in order, some at a time', async (t) => {
  const rows = (id: string) => [1, 2, 3].map((at) => ({ id: at, of: id }))
  // The first project answers only once the second was asked.
  let second = Promise.withResolvers<void>()
  const slowFirst = async (id: string, url: URL) => {
    if (id === '12') second.resolve()
    if (id === '11') await second.promise
    return pageOf(url, rows(id))
  }
  const { get, asked, seen } = await start(t, projectsApi(slowFirst))
  const expected = ['11', '12', '13'].flatMap((id) =>
    rows(id).map((row) => ({ project_id: Number(id), ...row })),
  )
  for (const path of [
    '/rest/v1.0/projects/*/rfis',
    `${RFIS}?project_id=*`,
    '/rest/v2.0/companies/7/projects/*/x',
  ]) {
    asked.length = 0
    second = Promise.withResolvers<void>()
    const list = await get(path)
    t.match(list, { status: 200, complete: true, trailers: { 'procore-proxy-skipped': '0' } })
    t.same(
      list.rows.map((row) => JSON.parse(row)),
      expected,
      path,
    )
    t.equal(asked[0], '/rest/v1.0/projects?company_id=7&per_page=2')
    t.notOk(asked.some((url) => url.includes('*')))
  }
  t.equal(seen.most, 2)
  t.match((await get('/rest/v1.0/projects/*/rfis', 'csv')).body, /^project_id,id,of,_more\r\n11,1,11,\r\n/)
})

t.test('a project whose id is no decimal number ends the list, and nothing is asked with it', async (t) => {
  let projects = ''
  const { get, asked } = await start(t, ({ pathname }) =>
    answer(200, pathname === '/rest/v1.0/projects' ? projects : [{ id: 1 }]),
  )
  const wrong = ['../../v1.0/secret/a', 'x?project_id=1&', '$&$1', '%2e%2e', '1 ', '', '1\n', '1'.repeat(21)]
  const texts = wrong.map((id) => JSON.stringify({ id }))
  for (const row of [
    ...texts,
    '{"id":1.5}',
    '{"id":-1}',
    '{"id":1e3}',
    '{"id":true}',
    '{"id":null}',
    '{}',
    '7',
  ]) {
    projects = `[{"id":11},${row}]`
    asked.length = 0
    t.match(await get('/rest/v1.0/projects/*/rfis'), { status: 502, body: /upstream_protocol/ }, row)
    t.strictSame(asked, ['/rest/v1.0/projects?company_id=7&per_page=2'], row)
  }
  projects = '[{"id":"11"},{"id":11},{"id":99999999999999999999}]'
  const list = await get('/rest/v1.0/projects/*/rfis')
  t.strictSame(list.rows, ['{"project_id":"11","id":1}', '{"project_id":99999999999999999999,"id":1}'])
})

t.test('projects that refuse or are denied are passed over, and told', async (t) => {
  const api = projectsApi((id, url) => (id === '11' ? answer(404, '') : pageOf(url, [{ id: 1 }])))
  const { get, log } = await start(t, api, { denied: '/rest/v1.0/projects/13' })
  const list = await get('/rest/v1.0/projects/*/rfis')
  t.same(
    list.rows.map((row) => JSON.parse(row)),
    [
      { _error: { project_id: 11, status: 404 } },
      { project_id: 12, id: 1 },
      { _error: { project_id: 13, status: 403 } },
    ],
  )
  t.equal(list.trailers['procore-proxy-skipped'], '2')
  t.match(
    log().find(({ level }) => level === 'warn'),
    { skipped: 2, projects: ['11 (404)', '13 (403)'] },
  )
  t.match(await get('/rest/v1.0/projects/*/rfis', 'json'), { trailers: { 'procore-proxy-skipped': '2' } })
})

t.test('other errors of a project end the list', async (t) => {
  const { get } = await start(
    t,
    projectsApi((id, url) => (id === '12' ? answer(500, 'oops') : pageOf(url, [{ id: 1 }]))),
  )
  t.match(await get('/rest/v1.0/projects/*/rfis', 'json'), { status: 200, complete: false })
  const early = await start(
    t,
    projectsApi((id, url) => (id === '12' ? answer(500, 'oops') : pageOf(url, []))),
  )
  t.match(await early.get('/rest/v1.0/projects/*/rfis'), { status: 500, body: 'oops', complete: true })
  const later = await start(
    t,
    projectsApi((_, url) => (url.searchParams.has('page') ? answer(403, '') : pageOf(url, FIVE))),
  )
  t.match(await later.get('/rest/v1.0/projects/*/rfis'), { complete: false })
})

t.test('for a caller with projects the star means those, and there is a most of all', async (t) => {
  const api = projectsApi((_, url) => pageOf(url, [{ id: 1 }]))
  const mine = await start(t, api, { projects: ['13', '99'], settings: { maxProjects: 1 } })
  t.same((await mine.get('/rest/v1.0/projects/*/rfis')).rows, ['{"project_id":13,"id":1}'])
  t.equal((await mine.get('/rest/v1.0/projects/*/rfis', 'csv')).body, 'project_id,id\r\n13,1\r\n')
  const two = await start(t, api, { projects: ['12', '13'] })
  t.match(await two.get('/rest/v1.0/projects/*/rfis', 'csv'), {
    body: 'project_id,id,_more\r\n12,1,\r\n13,1,\r\n',
  })
  const many = await start(t, api, { settings: { maxProjects: 2 } })
  t.match(await many.get('/rest/v1.0/projects/*/rfis'), { status: 422, body: /maxProjects/ })
  t.equal(many.asked.length, 1)
})

t.test('a caller that reads slowly stops the paging, and one that leaves ends it', async (t) => {
  const big = 'x'.repeat(1_000_000)
  const { url, asked, over, broken } = await start(
    t,
    ({ searchParams }) => {
      const page = Number(searchParams.get('page') ?? 1)
      return answer(200, [{ id: page, big }], { link: `<${RFIS}?page=${page + 1}>; rel=next` })
    },
    { settings: { maxPages: 1000 } },
  )
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write(`GET /_proxy/ndjson${RFIS} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(socket, 'readable')
  let before = -1
  while (before !== asked.length) {
    before = asked.length
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  // What the kernel holds of both sockets, and a page ahead.
  t.ok(asked.length > 1 && asked.length < 30, String(asked.length))
  socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.ok(asked.length <= before + 1)
  t.equal(over.length, asked.length)
  t.equal(broken(), 0)
})

t.test('a page that ends because the caller left says so, whatever ended it', async (t) => {
  const refusals = [
    new CallerGoneError(),
    new ProxyError('rate_limited', 'The caller closed its connection.'),
  ]
  for (const refusal of refusals) {
    const { url, asked, pages } = await start(t, () => left.then(() => Promise.reject(refusal)))
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    const left = once(socket, 'close')
    socket.write(`GET /_proxy/ndjson${RFIS} HTTP/1.1\r\nHost: x\r\n\r\n`)
    while (asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    socket.destroy()
    while (pages.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    t.match(pages, [{ cause: 'caller_gone', error: undefined }], refusal.message)
  }
})

t.test('projects that are passed over need no memory of their own', async (t) => {
  const ids = Array.from({ length: 40 }, (_, at) => ({ id: at + 1 }))
  const api = (url: URL) => (url.pathname.endsWith('/projects') ? pageOf(url, ids) : answer(403, {}))
  const { get } = await start(t, api, { settings: { maxProjects: 40, perPage: 40 } })
  const allocated = t.capture(Buffer, 'allocUnsafeSlow', Buffer.allocUnsafeSlow)
  t.equal((await get('/rest/v1.0/projects/*/rfis')).rows.length, 40)
  t.ok(allocated().length < 6)
})
