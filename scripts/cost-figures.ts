// Measures what the cache saves, and what the cache, recordings, callers, audit and a shared budget cost:
// node scripts/node.mjs node --expose-gc scripts/cost-figures.ts
// The shared budget is left out unless REDIS_URL names a Redis that may be filled with test data.
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { ResponseCache } from '../src/cache/response-cache.ts'
import { BUILT_IN_ENVIRONMENTS, type CacheSettings, type Environment } from '../src/config/config.ts'
import { storedResponse } from '../src/forward/call.ts'
import { createLogger } from '../src/observe/log.ts'
import { appendEntries } from '../src/recordings/har-file.ts'
import { openSession, type RecordingMode } from '../src/recordings/replay.ts'
import { buildServer, loadConfig } from '../src/server.ts'
import { callOf, flat, textOf } from '../test/fixtures/calls.ts'
import { startFakeProcore } from '../test/fixtures/procore.ts'

interface Fake {
  readonly apiUrl: string
  readonly loginUrl: string
}

const folder = mkdtempSync(join(tmpdir(), 'cost-figures-'))

/** Sends a task to a child and resolves with its answer. */
function ask<T>(child: ChildProcess, task: unknown): Promise<T> {
  return new Promise((resolve) => {
    child.once('message', resolve as (answer: unknown) => void)
    child.send(task as object)
  })
}

async function startProxy(fake: Fake, settings: object, recordings?: RecordingMode) {
  const file = join(folder, 'procore-proxy.yaml')
  const document = {
    listen: '127.0.0.1:0',
    environments: { fake: { apiUrl: fake.apiUrl, loginUrl: fake.loginUrl } },
    companies: {
      acme: {
        id: '7656',
        serviceAccount: { environment: 'fake', clientId: 'demo-client', clientSecret: 'demo-secret' },
      },
    },
    log: { level: 'silent' },
    ...settings,
  }
  writeFileSync(file, JSON.stringify(document), { mode: 0o600 })
  const config = await loadConfig({ flags: { config: file }, env: {}, cwd: folder })
  const server = await buildServer(config, { log: createLogger(config.log, { write: () => {} }), recordings })
  await server.listen()
  return { url: server.addresses()[0]?.url ?? '', end: () => server.drain() }
}

interface Cost {
  /** CPU of this process, which is the proxy's, in µs for each request. */
  readonly cpuUs: number
  /** Median time of a request with one at a time, in ms. */
  readonly p50Ms: number
}

async function costOf(load: ChildProcess, task: Omit<Task, 'requests' | 'workers'>): Promise<Cost> {
  await ask(load, { ...task, requests: 500, workers: 16 })
  const before = process.cpuUsage()
  await ask(load, { ...task, requests: 6_000, workers: 16 })
  const { user, system } = process.cpuUsage(before)
  return { cpuUs: (user + system) / 6_000, p50Ms: await ask(load, { ...task, requests: 1_000, workers: 1 }) }
}

async function powerQuery(fake: ChildProcess & { origins: Fake }, settings: object) {
  const { url, end } = await startProxy(fake.origins, settings)
  const agent = new Agent()
  const get = async (path: string) => (await request(url + path, { dispatcher: agent })).body.dump()
  await ask(fake, { delayMs: 150 })
  const startedAt = performance.now()
  const queries = Array.from({ length: 8 }, (_, at) => `/rest/v1.0/projects?per_page=${15 + at}`)
  const evaluation = async (path: string) => {
    for (let page = 1; page <= 3; page++) await get(`${path}&page=${page}`)
  }
  await Promise.all(queries.flatMap((path) => Array.from({ length: 4 }, () => evaluation(path))))
  const ms = Math.round(performance.now() - startedAt)
  const calls = await ask<number>(fake, { count: true })
  await agent.close()
  await end()
  return { calls, ms }
}

const KEEP = { keep: [{ paths: ['/rest/**'], for: '10m' }] }
const SETTINGS: CacheSettings = {
  coalesce: false,
  keep: [{ patterns: ['/rest/**'], forMs: 600_000, whenExhaustedMs: 0 }],
  refusalsMs: 0,
  sizeBytes: 64_000_000,
}

async function lookup(): Promise<number> {
  const cache = new ResponseCache(SETTINGS, () => false)
  const headers = ['Host', 'localhost', 'Accept', '*/*', 'User-Agent', 'curl/8', 'Authorization', 'Bearer x']
  const answer = flat(
    'Content-Type: application/json | Date: x | ETag: x | Cache-Control: no-store | Link: x',
  )
  const send = async () => storedResponse(200, 'OK', answer, Buffer.alloc(5_000))
  const call = callOf('/rest/v1.0/projects?per_page=100', { headers })
  const loop = async (times: number) => {
    const before = process.cpuUsage()
    for (let at = 0; at < times; at++) await cache.send(call, send)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / times
  }
  await textOf(await cache.send(call, send))
  await new Promise(setImmediate)
  await loop(50_000)
  return loop(200_000)
}

async function memory(bodyBytes: number) {
  const cache = new ResponseCache(SETTINGS, () => false)
  const used = async () => {
    for (let times = 0; times < 3; times++) {
      globalThis.gc?.()
      await new Promise(setImmediate)
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return (heapUsed + arrayBuffers) / 1e6
  }
  const before = await used()
  const count = Math.ceil(128_000_000 / bodyBytes)
  for (let at = 0; at < count; at++) {
    const headers = ['Content-Type', 'application/json', 'ETag', `"${at}"`]
    const send = async () => storedResponse(200, 'OK', headers, Buffer.alloc(bodyBytes))
    await textOf(await cache.send(callOf(`/rest/v1.0/projects/${at}`), send))
  }
  await new Promise(setImmediate)
  return {
    bodyBytes,
    entries: cache.stats().entries,
    accountedMB: cache.stats().bytes / 1e6,
    usedMB: (await used()) - before,
  }
}

async function start10000(): Promise<{ ms: number; megabytes: number }> {
  const recordings = join(folder, 'ten-thousand')
  const company = {
    company: { name: 'acme', id: '7656' },
    environment: BUILT_IN_ENVIRONMENTS[0] as Environment,
  }
  const pair = (name: string) => ({ name, value: 'x'.repeat(30) })
  const lines = Array.from({ length: 10_000 }, (_, at) =>
    JSON.stringify({
      startedDateTime: new Date(0).toISOString(),
      time: 1,
      request: {
        method: 'GET',
        url: `https://api.procore.com/rest/v1.0/projects/${at}?a=1`,
        httpVersion: 'HTTP/1.1',
        cookies: [],
        headers: [pair('Accept')],
        queryString: [pair('a')],
        headersSize: -1,
        bodySize: 0,
      },
      response: {
        status: 200,
        statusText: 'OK',
        httpVersion: 'HTTP/1.1',
        cookies: [],
        headers: Array.from({ length: 15 }, (_, n) => pair(`Header-${n}`)),
        content: { size: 5000, mimeType: 'application/json', text: JSON.stringify('y"'.repeat(2000)) },
        redirectURL: '',
        headersSize: -1,
        bodySize: 5000,
      },
      cache: {},
      timings: { send: 0, wait: 1, receive: 0 },
      _procoreProxy: { bodySha256: '' },
    }),
  )
  await appendEntries(recordings, company, lines)
  const startedAt = performance.now()
  await openSession(
    { mode: 'replay', folder: recordings },
    { redact: [] },
    { send: () => Promise.reject(), holdsSecret: () => false, warn: () => {} },
  )
  return {
    ms: Math.round(performance.now() - startedAt),
    megabytes: statSync(join(recordings, 'acme.har')).size / 1e6,
  }
}

const KEY = 'a-key-for-measurements-only'
const CALLERS = { callers: { tool: { key: KEY }, other: { key: `${KEY}-2` } } }
const { REDIS_URL } = process.env

const variants = (
  round: number,
): (readonly [name: string, settings: object, recordings?: RecordingMode])[] => [
  ['forwarded', {}],
  ['coalesce, never equal', { cache: { coalesce: true } }],
  ['kept', { cache: KEEP }],
  ['recorded', {}, { mode: 'record', folder: join(folder, `recorded-${round}`) }],
  ['callers', CALLERS],
  ['callers and audit', { ...CALLERS, audit: { file: join(folder, 'audit.jsonl'), what: 'all' } }],
  ...(REDIS_URL === undefined ? [] : [['shared', { shared: { url: REDIS_URL } }] as const]),
]

async function main(): Promise<void> {
  const child = fork(import.meta.filename, ['fake'])
  const origins = await new Promise<Fake>((resolve) =>
    child.once('message', resolve as (message: unknown) => void),
  )
  const fake = Object.assign(child, { origins })
  const load = fork(import.meta.filename, ['load'])
  try {
    const off = await powerQuery(fake, {})
    const on = await powerQuery(fake, { cache: { coalesce: true, ...KEEP } })
    console.log(
      `Power Query, 8 queries of 3 pages, 4 times in parallel: off ${off.calls} calls in ${off.ms} ms, on ${on.calls} calls in ${on.ms} ms`,
    )

    await ask(fake, { delayMs: 0 })
    const path = '/rest/v1.0/projects?per_page=20'
    const cost: Record<string, Cost[]> = {}
    // In turns, and the least counts: the first proxies of a process run before their code is compiled.
    for (const [name, settings, recordings] of [1, 2, 3, 4].flatMap(variants)) {
      const proxy = await startProxy(origins, settings, recordings)
      cost[name] = [
        ...(cost[name] ?? []),
        await costOf(load, { url: proxy.url + path, hasKey: 'callers' in settings }),
      ]
      await proxy.end()
    }
    const perLookup = await lookup()
    const least = (name: string) => ({
      cpuUs: Math.min(...(cost[name] ?? []).map(({ cpuUs }) => cpuUs)),
      p50Ms: Math.min(...(cost[name] ?? []).map(({ p50Ms }) => p50Ms)),
    })
    const forwarded = least('forwarded')
    for (const [name] of variants(1)) {
      const { cpuUs, p50Ms } = least(name)
      console.log(
        `${name}: ${cpuUs.toFixed(0)} µs of CPU a request, ratio ${(cpuUs / forwarded.cpuUs).toFixed(2)}; p50 ${p50Ms.toFixed(2)} ms, ratio ${(p50Ms / forwarded.p50Ms).toFixed(2)}`,
      )
    }
    console.log(
      `a lookup: ${perLookup.toFixed(1)} µs of CPU, ${((perLookup / forwarded.cpuUs) * 100).toFixed(1)} % of a forwarded request`,
    )
    for (const bytes of [2_000, 20_000, 3_000_000]) {
      const { entries, accountedMB, usedMB } = await memory(bytes)
      console.log(
        `64 MB of answers of ${bytes} bytes: ${entries} entries, accounted ${accountedMB.toFixed(1)} MB, used ${usedMB.toFixed(1)} MB`,
      )
    }
    const { ms, megabytes } = await start10000()
    console.log(`10,000 entries (${megabytes.toFixed(0)} MB): ${ms} ms to start`)
  } finally {
    fake.kill()
    load.kill()
    rmSync(folder, { recursive: true })
  }
}

/** A fake Procore in a process of its own; tells how many calls came since it was last asked. */
async function runFake(): Promise<void> {
  const fake = await startFakeProcore({
    rateLimit: { hourly: Number.POSITIVE_INFINITY, spike: Number.POSITIVE_INFINITY },
  })
  let counted = 0
  process.on('message', ({ delayMs }: { delayMs?: number }) => {
    const calls = fake.journal.api().length
    if (delayMs !== undefined) fake.faults.api = delayMs === 0 ? [] : [{ delayMs }]
    process.send?.(calls - counted)
    counted = calls
  })
  process.send?.({ apiUrl: fake.apiUrl, loginUrl: fake.loginUrl })
}

interface Task {
  readonly url: string
  readonly requests: number
  /** Requests under way at a time. */
  readonly workers: number
  readonly hasKey: boolean
}

/** Sends requests, and answers with their median time in ms. */
function runLoad(): void {
  const agent = new Agent({ connections: 16 })
  process.on('message', async ({ url, requests, workers, hasKey }: Task) => {
    const headers = hasKey ? { authorization: `Bearer ${KEY}` } : {}
    const times: number[] = []
    let left = requests
    const worker = async (number: number) => {
      const unequal = `${url}&worker=${number}`
      while (left-- > 0) {
        const begun = performance.now()
        const { statusCode, body } = await request(unequal, { dispatcher: agent, headers })
        await body.dump()
        if (statusCode !== 200) throw new Error(`The proxy answered ${statusCode}.`)
        times.push(performance.now() - begun)
      }
    }
    await Promise.all(Array.from({ length: workers }, (_, number) => worker(number)))
    process.send?.(times.sort((a, b) => a - b)[Math.floor(times.length / 2)])
  })
}

const [role] = process.argv.slice(2)
if (role === 'fake') await runFake()
else if (role === 'load') runLoad()
else await main()
