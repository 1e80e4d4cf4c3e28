// Covers src/recordings/replay.ts: whole sessions through the proxy, recorded, and replayed with no network.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLogger } from '../../src/observe/log.ts'
import { readFolder } from '../../src/recordings/har-file.ts'
import { type RecordingMode, replayDocument } from '../../src/recordings/replay.ts'
import { buildServer, loadConfig } from '../../src/server.ts'
import { harSchema } from '../fixtures/har-schema.ts'
import { openSocket, settingsFor, startRig } from '../fixtures/proxy.ts'
import { logIn, type Project, readAll, type SdkAnswer } from '../fixtures/sdk.ts'

/** What an application's test suite does with Procore's own SDK. */
async function session(t: Test, url: string): Promise<void> {
  const base = `${url}/acme`
  const { client } = await logIn(base)
  t.equal((await readAll(t, base)).length, 45)
  const created: SdkAnswer<Project> = await client.post({ base: '/projects' }, { project: { name: 'Dépôt' } })
  t.equal(created.response.status, 201)
  const path = `/rest/v1.0/projects/${created.body.id}`
  const before: SdkAnswer<Project> = await client.get(path)
  t.equal(before.body.name, 'Dépôt')
  const patched: SdkAnswer<Project> = await client.patch(path, { project: { name: 'Depot' } })
  t.equal(patched.body.name, 'Depot')
  const after: SdkAnswer<Project> = await client.get(path)
  t.equal(after.body.name, 'Depot', 'the second answer to an equal request')
  const removed: SdkAnswer<unknown> = await client.delete(path)
  t.equal(removed.response.status, 204)
  const refusal = await client.get('/rest/v1.0/nothing').catch((answer: unknown) => answer)
  t.match(refusal, { response: { status: 404 }, body: { errors: /./ } })
}

/** A proxy that needs nothing but the folder. */
async function startReplay(t: Test, folder: string, mode: RecordingMode['mode'] = 'replay') {
  const file = join(t.testdirName, 'replay.yaml')
  const document = { listen: '127.0.0.1:0', ...replayDocument(await readFolder(folder)) }
  writeFileSync(file, JSON.stringify(document), { mode: 0o600 })
  const config = await loadConfig({ flags: { config: file }, env: {}, cwd: t.testdirName })
  const log = createLogger({ level: 'info', format: 'json' }, { write: () => {} })
  const server = await buildServer(config, { log, recordings: { mode, folder } })
  t.teardown(() => server.drain())
  await server.listen()
  return server.addresses()[0]?.url ?? ''
}

t.test("a recorded session of Procore's SDK is replayed with no network", async (t) => {
  const folder = join(t.testdir(), 'recordings')
  const rig = await startRig(t, { recordings: { mode: 'record', folder } })
  await session(t, rig.url)
  await rig.server.drain()
  await rig.fake.close()
  t.strictSame(readdirSync(folder), ['acme.har'])
  const text = readFileSync(join(folder, 'acme.har'), 'utf8')
  harSchema.parse(JSON.parse(text))
  for (const token of rig.fake.issuedTokens()) t.notOk(text.includes(token))
  t.notMatch(text, 'demo-secret')

  const sent: string[] = []
  const count = (message: unknown) => {
    const { origin } = (message as { request: { origin: unknown } }).request
    sent.push(String(origin))
  }
  subscribe('undici:request:create', count)
  t.teardown(() => unsubscribe('undici:request:create', count))
  const url = await startReplay(t, folder)
  await session(t, url)
  t.equal((await fetch(`${url}/rest/v1.0/projects?per_page=20`)).status, 200, 'the default company is known')
  const missing = await fetch(`${url}/acme/rest/v1.0/projects?per_page=21`)
  t.equal(missing.status, 404)
  t.match(await missing.json(), {
    code: 'recording_missing',
    help: /GET \/rest\/v1\.0\/projects\?per_page=20/,
  })
  t.equal(
    (await fetch(`${url}/_proxy/health/ready?strict=1`)).status,
    200,
    'it is ready without a login server',
  )
  t.strictSame(
    sent.filter((origin) => origin !== url),
    [],
  )
  t.ok(sent.length > 0, 'requests to the proxy itself are seen')
})

t.test('compressed answers and uploads are recorded and replayed', async (t) => {
  const folder = join(t.testdir(), 'recordings')
  const rig = await startRig(t, { fake: { gzip: true }, recordings: { mode: 'record', folder } })
  const upload = 'x'.repeat(300_000)
  const ask = async (url: string) => [
    await (await fetch(`${url}/acme/rest/v1.0/projects?per_page=100`)).json(),
    await (await fetch(`${url}/acme/rest/v1.0/files`, { method: 'POST', body: upload })).json(),
    (await fetch(`${url}/acme/rest/v1.0/me`, { method: 'HEAD' })).headers.get('content-length'),
  ]
  const recorded = await ask(rig.url)
  t.match(recorded[0], { length: 45 })
  await rig.server.drain()
  t.strictSame(await ask(await startReplay(t, folder)), recorded)
})

t.test(
  'a caller that expects 100 Continue gets it once, whether its request is recorded or missing',
  async (t) => {
    const folder = join(t.testdir(), 'recordings')
    const rig = await startRig(t, { recordings: { mode: 'replay-else-record', folder } })
    const post = async (port: number) => {
      const socket = await openSocket(port)
      const head = 'POST /acme/rest/v1.0/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
      socket.write(`${head}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`)
      let answer = String(await once(socket, 'data'))
      socket.write('hello')
      for await (const piece of socket) answer += piece
      return answer.match(/HTTP\/1\.1 \d+/g)
    }
    const expected = ['HTTP/1.1 100', 'HTTP/1.1 201']
    t.strictSame(await post(rig.port), expected, 'a missing one is sent to Procore')
    t.strictSame(await post(rig.port), expected, 'a recorded one')
    t.strictSame(
      rig.fake.journal.api().map(({ body }) => body),
      ['hello'],
    )
    await rig.server.drain()
    const { port } = new URL(await startReplay(t, folder))
    t.strictSame(await post(Number(port)), expected)
  },
)

t.test('a replay does not log in, not even after a reload with another secret', async (t) => {
  const recordings = { mode: 'replay', folder: t.testdir() } as const
  const { fake, reload, get } = await startRig(t, { recordings, cold: true })
  for (const clientSecret of ['demo-secret', 'another secret']) {
    const serviceAccounts = { app: { clientId: 'demo-client', clientSecret } }
    await reload(settingsFor(fake, { serviceAccounts, log: { level: 'debug' } }))
    t.equal((await get('/acme/rest/v1.0/me')).json.code, 'recording_missing')
  }
  t.strictSame(fake.journal.entries, [])
  t.strictSame((await get('/_proxy/status')).json.accounts, [], 'none that would wait for a token')
})

t.test('what is said about a missing recording is short, and holds no secret', async (t) => {
  const key = 'a-key-of-a-caller'
  const recordings = { mode: 'replay', folder: t.testdir() } as const
  const { get } = await startRig(t, { recordings, settings: { guard: { clientKeys: [key] } } })
  const path = `/acme/rest/v1.0/projects?name=${key}&filters=${'open-'.repeat(4_000)}`
  const { status, json, headers } = await get(path, { headers: { 'procore-proxy-key': key } })
  t.equal(status, 404)
  t.match(json, {
    code: 'recording_missing',
    detail: /projects\?name=\*&filters=[open-]+… has been recorded/,
  })
  t.notMatch(JSON.stringify([json, headers]), key)
})
