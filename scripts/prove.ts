// Shows, by running the built program as its users do, what tests are too short to show: `npm run prove`.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { type FakeOptions, type FakeProcore, startFakeProcore } from '../src/fake/procore.ts'

const MB = 1024 * 1024
const NO_LIMIT = { hourly: 1e9, spike: 1e9 }

interface Running {
  readonly url: string
  readonly pid: number
  readonly output: () => string
  stop(): Promise<number>
}

/** `node src/cli/main.ts start` in a process of its own, in front of `fake`. */
async function startProxy(fake: FakeProcore, ...flags: string[]): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-prove-'))
  const file = join(folder, 'config.yaml')
  const settings = {
    listen: '127.0.0.1:0',
    environment: 'fake',
    environments: { fake: { apiUrl: fake.apiUrl, loginUrl: fake.loginUrl } },
    companies: {
      acme: {
        id: '7656',
        serviceAccount: { clientId: 'demo-client', clientSecret: 'demo-secret' },
      },
    },
  }
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 })
  const child: ChildProcess = spawn(process.execPath, ['src/cli/main.ts', 'start', '-c', file, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      output += chunk
    })
  }
  const deadline = Date.now() + 10_000
  let url: string | undefined
  while (url === undefined) {
    if (Date.now() > deadline) throw new Error(`the proxy does not start:\n${output}`)
    url = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1]
    await sleep(10)
  }
  return {
    url,
    pid: child.pid ?? 0,
    output: () => output,
    stop: async () => {
      child.kill('SIGTERM')
      const [code] = (await once(child, 'exit')) as [number]
      rmSync(folder, { recursive: true })
      return code
    },
  }
}

function memoryMb(pid: number, key: 'VmRSS' | 'VmHWM'): number {
  const line = new RegExp(`${key}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1]) / 1024
}

async function withFake<T>(options: FakeOptions, run: (fake: FakeProcore) => Promise<T>): Promise<T> {
  const fake = await startFakeProcore({ rateLimit: NO_LIMIT, ...options })
  try {
    return await run(fake)
  } finally {
    await fake.close()
  }
}

/** 200 concurrent first requests → exactly one token POST. */
function oneTokenForAll(): Promise<boolean> {
  return withFake({ tokenDelayMs: 500 }, async (fake) => {
    const proxy = await startProxy(fake)
    const answers = await Promise.all(
      Array.from({ length: 200 }, () =>
        request(`${proxy.url}/rest/v1.0/me`).then(({ statusCode, body }) =>
          body.dump().then(() => statusCode),
        ),
      ),
    )
    const posts = fake.journal.tokenRequests().length
    const fine = answers.filter((status) => status === 200).length
    await proxy.stop()
    console.log(`200 concurrent first requests: ${fine} answered 200, ${posts} token POST`)
    return fine === 200 && posts === 1
  })
}

/** A lifetime of 8 s and a login server that takes 1 s, under load for a minute: nobody notices. */
function renewalUnnoticed(seconds: number): Promise<boolean> {
  return withFake({ tokenDelayMs: 1_000, tokenLifetimeSeconds: 8 }, async (fake) => {
    const proxy = await startProxy(fake, '--log-level', 'warn', '--log-level', 'info')
    await waitReady(proxy.url)
    const agent = new Agent({ connections: 16 })
    const end = Date.now() + seconds * 1000
    const times: number[] = []
    let failed = 0
    const load = async () => {
      while (Date.now() < end) {
        const began = performance.now()
        const { statusCode, body } = await request(`${proxy.url}/rest/v1.0/me`, { dispatcher: agent })
        await body.dump()
        times.push(performance.now() - began)
        if (statusCode !== 200) failed++
        await sleep(5)
      }
    }
    // The journal keeps the newest entries only, so it is read as it goes.
    let refused = 0
    const read = () => {
      refused += fake.journal.api().filter(({ status }) => status === 401).length
      fake.journal.clear()
    }
    const reader = setInterval(read, 500)
    await Promise.all(Array.from({ length: 8 }, load))
    clearInterval(reader)
    read()
    await agent.destroy()
    const posts = fake.issuedTokens().length
    await proxy.stop()
    times.sort((a, b) => a - b)
    const slowest = times.at(-1) ?? 0
    console.log(
      `8 s tokens for ${seconds} s: ${times.length} requests, ${failed} failed, ${refused} answered 401, ${posts} tokens, p50 ${at(times, 0.5)} ms, p99.9 ${at(times, 0.999)} ms, slowest ${slowest.toFixed(0)} ms (a wait for the login server would be ~1000)`,
    )
    return failed === 0 && refused === 0 && slowest < 900 && posts >= seconds / 8
  })
}

function at(sorted: readonly number[], quantile: number): string {
  return (sorted[Math.floor(sorted.length * quantile)] ?? 0).toFixed(1)
}

async function waitReady(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { statusCode, body } = await request(`${url}/_proxy/health/ready`)
    await body.dump()
    if (statusCode === 200) return
    await sleep(50)
  }
  throw new Error('never ready')
}

/** A 200 MB body each way: memory grows by less than 60 MB, also when the far side is slow. */
function memoryStaysFlat(): Promise<boolean> {
  return withFake({}, async (fake) => {
    const proxy = await startProxy(fake)
    await waitReady(proxy.url)
    for (let i = 0; i < 50; i++) await (await request(`${proxy.url}/rest/v1.0/me`)).body.dump()
    const before = memoryMb(proxy.pid, 'VmRSS')
    const bytes = 200 * MB
    const up = httpRequest(`${proxy.url}/rest/v1.0/files`, {
      method: 'POST',
      headers: { 'content-length': bytes },
    })
    const answered = once(up, 'response')
    await pipeline(Readable.from(chunks(bytes)), up)
    const [response] = (await answered) as [Readable & { statusCode: number }]
    response.resume()
    await once(response, 'end')
    const afterUpload = memoryMb(proxy.pid, 'VmHWM')
    let got = 0
    const down = await request(`${proxy.url}/rest/v1.0/large?bytes=${bytes}`)
    for await (const chunk of down.body) {
      got += (chunk as Buffer).length
      // A slow reader: back-pressure has to reach the API, or the proxy fills up.
      if (got % (8 * MB) < 65_536) await sleep(20)
    }
    const peak = memoryMb(proxy.pid, 'VmHWM')
    await proxy.stop()
    const grown = peak - before
    console.log(
      `200 MB each way: status ${response.statusCode}, ${got === bytes ? 'whole' : `${got} bytes`}; ${before.toFixed(0)} MB before, peak ${afterUpload.toFixed(0)} MB after the upload, ${peak.toFixed(0)} MB after the slow download: grown by ${grown.toFixed(0)} MB`,
    )
    return grown < 60 && got === bytes && response.statusCode === 201
  })
}

function* chunks(bytes: number): Iterable<Buffer> {
  const chunk = Buffer.alloc(64 * 1024, 'x')
  for (let sent = 0; sent < bytes; sent += chunk.length)
    yield chunk.subarray(0, Math.min(chunk.length, bytes - sent))
}

/** Nothing secret in what a run at trace level prints, whatever goes wrong. */
function nothingSecretPrinted(): Promise<boolean> {
  return withFake({}, async (fake) => {
    const proxy = await startProxy(fake, '--log-level', 'trace')
    await waitReady(proxy.url)
    const call = async (path: string, options: Parameters<typeof request>[1] = {}) => {
      const answer = await request(proxy.url + path, options).catch(() => undefined)
      return answer ? `${JSON.stringify(answer.headers)}${await answer.body.text().catch(() => '')}` : ''
    }
    let answers = await call('/rest/v1.0/me?api_key=query-secret', {
      headers: { authorization: 'Bearer caller-secret' },
    })
    fake.revokeTokens()
    answers += await call('/rest/v1.0/me')
    fake.resetSecret('demo-client', 'new-secret')
    answers += await call('/rest/v1.0/me')
    fake.faults.token = { status: 500, body: 'oops demo-secret' }
    answers += await call('/rest/v1.0/me')
    for (const rule of [
      fake.faults.reset('before'),
      fake.faults.reset('mid-body'),
      fake.faults.unavailable(),
    ]) {
      fake.faults.api = [rule]
      answers += await call('/rest/v1.0/me')
    }
    answers += await call('/acme/rest/v1.0/me', { headers: { host: 'evil.example' } })
    await proxy.stop()
    const all = proxy.output() + answers
    const secrets = ['demo-secret', 'new-secret', 'query-secret', 'caller-secret', ...fake.issuedTokens()]
    const found = secrets.filter((secret) => all.includes(secret))
    console.log(
      `trace level: ${all.length} characters printed and answered, ${fake.issuedTokens().length} tokens; secrets found in them: ${found.length}`,
    )
    return found.length === 0 && fake.issuedTokens().length >= 2
  })
}

const seconds = Number(process.env['PROVE_SECONDS'] ?? 60)
const proofs: [string, () => Promise<boolean>][] = [
  ['one token POST', oneTokenForAll],
  ['renewal unnoticed', () => renewalUnnoticed(seconds)],
  ['memory flat', memoryStaysFlat],
  ['nothing secret printed', nothingSecretPrinted],
]
const wanted = process.argv.slice(2).join(' ')
let failed = 0
for (const [name, prove] of proofs) {
  if (!name.includes(wanted)) continue
  const ok = await prove()
  console.log(`${ok ? 'shown' : 'NOT SHOWN'}: ${name}\n`)
  if (!ok) failed++
}
process.exitCode = failed === 0 ? 0 : 1
