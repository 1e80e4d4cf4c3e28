// Covers src/cache from outside: the calls that reach Procore, and what each caller gets.
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ACME, type Rig, settingsFor, startRig } from '../fixtures/proxy.ts'

const PROJECTS = '/rest/v1.0/projects?per_page=20'
const keep = [{ paths: ['/rest/**'], for: '60s' }]

function calls({ fake }: Rig): string[] {
  return fake.journal.api().map(({ method, url }) => `${method} ${url}`)
}

t.test('a chunked response that is too long to be kept is passed on to each caller', async (t) => {
  const rig = await startRig(t, { settings: { cache: { coalesce: true, size: '1MB' } } })
  const get = () => rig.get('/acme/rest/v1.0/large?bytes=2000000&chunked')
  for (const { text } of await Promise.all([get(), get()])) t.equal(text.length, 2_000_000)
})

t.test(
  'what is kept is rewritten for each caller, and unpacked for those that did not ask for gzip',
  async (t) => {
    const rig = await startRig(t, { fake: { gzip: true }, settings: { cache: { keep } } })
    const prefixed = await rig.get(`/acme${PROJECTS}`)
    const headed = await rig.get(PROJECTS, { headers: { 'procore-company-id': ACME } })
    t.equal(calls(rig).length, 1)
    t.match(headed.headers['cache-status'], /^procore-proxy; hit; ttl=(59|60)$/)
    t.equal(headed.headers['age'], '0')
    t.equal(headed.headers['content-encoding'], undefined)
    t.strictSame(headed.json, prefixed.json)
    t.match(prefixed.headers['link'], `<${rig.url}/acme/rest/`)
    t.match(headed.headers['link'], `<${rig.url}/rest/`)
    t.equal(headed.headers['x-rate-limit-remaining'], undefined)
    const packed = await rig.get(PROJECTS, {
      headers: { 'procore-company-id': ACME, 'accept-encoding': 'gzip' },
    })
    t.equal(packed.headers['content-encoding'], 'gzip')
    t.equal(calls(rig).length, 2)
  },
)

t.test('a caller does not wait for the share of another one', async (t) => {
  const [few, all] = ['key-of-few-0123456789', 'key-of-all-0123456789']
  const callers = { few: { key: few, share: '25%' }, all: { key: all } }
  const rig = await startRig(t, { settings: { cache: { coalesce: true }, callers } })
  const reset = String(Math.ceil(Date.now() / 1000) + 5)
  const headers = { 'X-Rate-Limit-Limit': '4', 'X-Rate-Limit-Remaining': '3', 'X-Rate-Limit-Reset': reset }
  rig.fake.faults.api = [{ status: 200, headers }]
  const get = (key: string, query: string) =>
    rig.get(`/acme/rest/v1.0/me?${query}`, { headers: { 'procore-proxy-key': key } })
  await get(all, 'first')
  await get(few, 'second')
  void get(few, 'equal').catch(() => {})
  await sleep(100)
  t.equal(calls(rig).length, 2, 'it is held back')
  const answer = await get(all, 'equal')
  t.equal(answer.headers['cache-status'], 'procore-proxy; fwd=miss')
  t.equal(calls(rig).length, 3)
})

t.test('a write that broke off may have been carried out, whatever the next attempt gets', async (t) => {
  const { get, fake } = await startRig(t, { settings: { cache: { keep } } })
  const kept = async () => (await get('/acme/rest/v1.0/projects')).headers['cache-status'] ?? ''
  const remove = () => get('/acme/rest/v1.0/nothing', { method: 'DELETE' })
  await kept()
  t.equal((await remove()).status, 404)
  t.match(await kept(), /hit/, 'refused, and so without effect')
  fake.faults.reset('before', { match: '/rest/v1.0/nothing', times: 1 })
  t.equal((await remove()).status, 404)
  t.match(await kept(), /fwd=miss/)
})

t.test('a reload keeps what still applies', async (t) => {
  const rig = await startRig(t, { settings: { cache: { keep } } })
  await rig.get(`/acme${PROJECTS}`)
  await rig.reload(settingsFor(rig.fake, { cache: { keep: [{ paths: ['/rest/**'], for: '30s' }] } }))
  t.match((await rig.get(`/acme${PROJECTS}`)).headers['cache-status'], /hit; ttl=(29|30)/)
  await rig.reload(settingsFor(rig.fake))
  t.equal((await rig.get(`/acme${PROJECTS}`)).headers['cache-status'], undefined)
  t.equal(calls(rig).length, 2)
})

t.test('a caller that leaves does not end it for the others; when all leave, the call ends', async (t) => {
  const rig = await startRig(t, { settings: { cache: { coalesce: true } } })
  rig.fake.faults.api = [{ delayMs: 400 }]
  const leave = async () => {
    const socket = connect(rig.port, '127.0.0.1')
    socket.write(`GET /acme${PROJECTS} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await sleep(100)
    return socket
  }
  const leader = await leave()
  const follower = rig.get(`/acme${PROJECTS}`)
  await sleep(100)
  leader.destroy()
  t.equal((await follower).json.length, 20)
  t.equal(calls(rig).length, 1)
  const alone = await leave()
  alone.destroy()
  await sleep(50)
  t.match((await rig.get(`/acme${PROJECTS}`)).headers['cache-status'], 'procore-proxy; fwd=miss')
  t.equal(calls(rig).length, 3, 'a call without callers was not joined')
})

t.test('a refresh of eight queries by Power Query makes at most a third of its calls', async (t) => {
  const refresh = async (rig: Rig) => {
    const query = async (path: string) => {
      for (let page = 1; page <= 3; page++) await rig.get(`/acme${path}&page=${page}`)
    }
    const queries = Array.from({ length: 8 }, (_, at) => `/rest/v1.0/projects?per_page=${15 + at}`)
    await Promise.all(
      queries.flatMap((path, at) => Array.from({ length: at === 0 ? 3 : 4 }, () => query(path))),
    )
    return calls(rig).length
  }
  const off = await refresh(await startRig(t))
  const on = await refresh(await startRig(t, { settings: { cache: { coalesce: true, keep } } }))
  t.equal(off, 93)
  t.equal(on, 24)
})
