// Measures what `upstream.compression` brings on lines of several speeds: `npm run compression`.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { type FakeProcore, startFakeProcore } from '../src/fake/procore.ts'

const NO_LIMIT = { hourly: 1e9, spike: 1e9 }
/** Items of one page: the usual one, a large one, and the most that Procore recommends. */
const PAGES = [20, 200, 2000]
/** Mbit/s; the last is loopback as it is. */
const LINES = [10, 50, Number.POSITIVE_INFINITY]
const PIECE = 8 * 1024

interface Relay {
  readonly port: number
  /** Bytes that came from Procore. */
  down: number
  close(): void
}

/** Passes bytes on as a line of so many Mbit/s would, in the direction that matters. */
async function startRelay(targetPort: number, mbit: number): Promise<Relay> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(targetPort, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
      })
    }
    near.pipe(far)
    carry(far, near).catch(() => near.destroy())
  })
  const carry = async (from: Socket, to: Socket) => {
    let free = 0
    for await (const chunk of from as AsyncIterable<Buffer>) {
      relay.down += chunk.length
      if (!Number.isFinite(mbit)) {
        to.write(chunk)
        continue
      }
      free = Math.max(free, performance.now())
      for (let at = 0; at < chunk.length; at += PIECE) {
        const piece = chunk.subarray(at, at + PIECE)
        free += (piece.length * 8) / (mbit * 1000)
        const wait = free - performance.now()
        if (wait > 1) await sleep(wait)
        to.write(piece)
      }
    }
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const relay: Relay = {
    port: (server.address() as AddressInfo).port,
    down: 0,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
  return relay
}

interface Proxy {
  readonly url: string
  /** User and system time so far, in ms. */
  cpuMs(): number
  stop(): Promise<void>
}

async function startProxy(fake: FakeProcore, apiPort: number, compression: string): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-compression-'))
  const file = join(folder, 'config.yaml')
  const settings = {
    listen: '127.0.0.1:0',
    environment: 'fake',
    environments: { fake: { apiUrl: `http://127.0.0.1:${apiPort}`, loginUrl: fake.loginUrl } },
    companies: {
      acme: { id: '7656', serviceAccount: { clientId: 'demo-client', clientSecret: 'demo-secret' } },
    },
    upstream: { compression },
    log: { level: 'warn' },
  }
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 })
  const child: ChildProcess = spawn(process.execPath, ['src/cli/main.ts', 'start', '-c', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      output += chunk
    })
  }
  let url: string | undefined
  for (const deadline = Date.now() + 10_000; url === undefined; await sleep(20)) {
    if (Date.now() > deadline) throw new Error(`the proxy does not start:\n${output}`)
    url = /(http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1]
  }
  return {
    url,
    cpuMs: () => {
      const [user = 0, system = 0] = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
        .split(') ')[1]!
        .split(' ')
        .slice(11, 13)
        .map(Number)
      // The kernel counts in hundredths of a second.
      return (user + system) * 10
    },
    stop: async () => {
      child.kill('SIGTERM')
      await once(child, 'exit')
      rmSync(folder, { recursive: true })
    },
  }
}

interface Row {
  readonly wireBytes: number
  readonly bodyBytes: number
  readonly medianMs: number
  readonly cpuMs: number
}

async function measure(fake: FakeProcore, compression: string, mbit: number, items: number): Promise<Row> {
  const relay = await startRelay(Number(new URL(fake.apiUrl).port), mbit)
  const proxy = await startProxy(fake, relay.port, compression)
  const agent = new Agent({ connections: 1 })
  let bodyBytes = 0
  const call = async () => {
    const { body } = await request(`${proxy.url}/acme/rest/v1.0/projects?per_page=${items}`, {
      dispatcher: agent,
    })
    bodyBytes = (await body.arrayBuffer()).byteLength
  }
  const calls = Number.isFinite(mbit) ? 15 : Math.min(2000, Math.ceil(400_000 / items))
  for (let nth = 0; nth < (Number.isFinite(mbit) ? 3 : calls / 4); nth++) await call()
  const wire = relay.down
  const cpu = proxy.cpuMs()
  const times: number[] = []
  for (let nth = 0; nth < calls; nth++) {
    const start = performance.now()
    await call()
    times.push(performance.now() - start)
  }
  const row = {
    wireBytes: (relay.down - wire) / calls,
    bodyBytes,
    medianMs: times.sort((a, b) => a - b)[Math.floor(calls / 2)]!,
    cpuMs: (proxy.cpuMs() - cpu) / calls,
  }
  await agent.destroy()
  await proxy.stop()
  relay.close()
  return row
}

const kib = (bytes: number) => (bytes / 1024).toFixed(1)
const companies = [{ id: '7656', name: 'Acme', projects: 2000 }]
const fake = await startFakeProcore({ rateLimit: NO_LIMIT, gzip: true, companies })
console.log(
  '| items | line | body KiB | wire KiB off | auto | time ms off | auto | CPU of the proxy ms off | auto |',
)
console.log('|---|---|---|---|---|---|---|---|---|')
for (const items of PAGES) {
  for (const mbit of LINES) {
    const off = await measure(fake, 'off', mbit, items)
    const auto = await measure(fake, 'auto', mbit, items)
    const line = Number.isFinite(mbit) ? `${mbit} Mbit/s` : 'loopback'
    // On a slow line there are too few calls for a clock that ticks a hundred times a second.
    const cpu = Number.isFinite(mbit) ? ['–', '–'] : [off.cpuMs.toFixed(2), auto.cpuMs.toFixed(2)]
    console.log(
      `| ${items} | ${line} | ${kib(off.bodyBytes)} | ${kib(off.wireBytes)} | ${kib(auto.wireBytes)} | ${off.medianMs.toFixed(1)} | ${auto.medianMs.toFixed(1)} | ${cpu.join(' | ')} |`,
    )
  }
}
await fake.close()
