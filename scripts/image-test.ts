// Builds the image and checks that it does what deploy/ and docs/sidecar.md say: `npm run image:test`. Needs Linux and root.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { type FakeProcore, startFakeProcore } from '../test/fixtures/procore.ts'
import { runCompose, runComposeOfPage, runJob, runPodOfPage } from './image-deployments.ts'
import { Podman, TIGHT } from './podman.ts'

const root = join(import.meta.dirname, '..')
export const IMAGE = 'localhost/procore-proxy:test'
const NONROOT = 65532
const NODE = '/nodejs/bin/node'
const PROGRAM = '/app/dist/bin/procore-proxy.cjs'
const MB = 1024 * 1024

let passed = 0
let failed = 0

async function check(name: string, prove: () => Promise<unknown> | unknown): Promise<void> {
  try {
    const said = await prove()
    passed++
    console.log(`ok      ${name}${typeof said === 'string' ? `: ${said}` : ''}`)
  } catch (error) {
    failed++
    console.log(`not ok  ${name}\n${(error as Error).stack}`)
  }
}

function build(): string {
  const started = performance.now()
  const { status, stdout } = spawnSync('bash', ['deploy/docker/build.sh', IMAGE], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`deploy/docker/build.sh ended with ${status}`)
  console.log(`# built in ${((performance.now() - started) / 1000).toFixed(0)} s`)
  return stdout.trim()
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Yields the files of a folder and of those below it, without following links. */
function* filesIn(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    yield path
    if (entry.isDirectory()) yield* filesIn(path)
  }
}

async function lookInside(podman: Podman): Promise<void> {
  const read = async (format: string) =>
    JSON.parse(await podman.inspect(IMAGE, `{{json ${format}}}`)) as unknown
  await check('it names a numeric user, an entry point, a health check and its version', async () => {
    assert.equal(await read('.Config.User'), `${NONROOT}:${NONROOT}`)
    assert.deepEqual(await read('.Config.Entrypoint'), [NODE, PROGRAM])
    assert.deepEqual(await read('.Config.Cmd'), ['start'])
    const { Test } = (await read('.HealthCheck')) as { Test: string[] }
    assert.deepEqual(Test, ['CMD', NODE, PROGRAM, 'wait', '--timeout', '4s'])
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    const labels = (await read('.Config.Labels')) as Record<string, string>
    assert.equal(labels['org.opencontainers.image.version'], version)
    assert.match(labels['org.opencontainers.image.revision'] ?? '', /^([0-9a-f]{40}|unknown)$/)
  })
  const folder = await podman.run('image', 'mount', IMAGE)
  try {
    await check(
      'one program in it, Node; no shell, no package manager, nothing setuid, nothing for all to write',
      () => {
        const programs: string[] = []
        for (const path of filesIn(folder)) {
          const stat = lstatSync(path)
          const name = path.slice(folder.length)
          if (stat.isSymbolicLink()) continue
          assert.equal(stat.mode & 0o6000, 0, `${name} is setuid or setgid`)
          if ((stat.mode & 0o002) !== 0) assert.ok(stat.mode & 0o1000, `${name} can be written by all`)
          if (!stat.isFile()) continue
          assert.doesNotMatch(
            basename(path),
            /^(sh|[abdkz]+sh|busybox|apt(-get)?|dpkg|npm|npx|perl|python[\d.]*)$/,
          )
          const isProgram = readFileSync(path).subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))
          if (isProgram && !/\.so(\.|$)/.test(name)) programs.push(name)
        }
        assert.deepEqual(programs, [NODE])
      },
    )
  } finally {
    await podman.run('image', 'unmount', IMAGE)
  }
  await check('size', async () => {
    const layers = JSON.parse(await podman.run('history', '--format', 'json', '--human=false', IMAGE)) as {
      size: number
    }[]
    const all = (await read('.Size')) as number
    const base = Math.max(...layers.map(({ size }) => size))
    const own = layers.reduce((sum, { size }) => sum + size, 0) - base
    assert.ok(own < 150 * MB)
    return `${(all / MB).toFixed(0)} MB in all, ${(own / MB).toFixed(1)} MB beyond the base (a stand-in for distroless)`
  })
}

/** Starts a container as in docs/sidecar.md, on this machine's network, in front of `fake`. */
async function startProxy(podman: Podman, fake: FakeProcore, folder: string) {
  const name = 'proxy'
  const port = await freePort()
  const secret = join(folder, 'client-secret')
  writeFileSync(secret, 'demo-secret\n', { mode: 0o400 })
  chownSync(secret, NONROOT, NONROOT)
  const config = join(folder, 'config.yaml')
  const settings = {
    listen: `127.0.0.1:${port}`,
    environment: 'fake',
    environments: { fake: { apiUrl: fake.apiUrl, loginUrl: fake.loginUrl } },
    companies: {
      acme: {
        id: '7656',
        serviceAccount: {
          clientId: 'demo-client',
          clientSecret: { file: '/run/secrets/procore/client-secret' },
        },
      },
    },
  }
  writeFileSync(config, JSON.stringify(settings), { mode: 0o644 })
  await podman.run(
    ...['run', '--detach', '--name', name, '--network=host', ...TIGHT],
    ...['--volume', `${config}:/etc/procore-proxy/config.yaml:ro`],
    ...['--volume', `${secret}:/run/secrets/procore/client-secret:ro`],
    IMAGE,
  )
  await podman.healthy(name)
  return { name, secret, url: `http://127.0.0.1:${port}` }
}

const WRITES = `
const { readdirSync, writeFileSync } = require('node:fs')
const folders = ['/', ...readdirSync('/', { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => '/' + e.name), '/app/dist', '/home/nonroot']
const written = folders.filter((f) => !['/proc', '/sys', '/dev'].includes(f)).filter((f) => {
  try { writeFileSync(f + '/written', ''); return true } catch { return false }
})
console.log(JSON.stringify({ written, tried: folders.length }))`

async function useIt(podman: Podman, fake: FakeProcore, folder: string): Promise<void> {
  const { name, secret, url } = await startProxy(podman, fake, folder)
  const get = async (path: string) => {
    const { statusCode, headers, body } = await request(url + path)
    return { status: statusCode, headers, text: await body.text() }
  }
  const pid = await podman.pid(name)
  const status = (field: string) =>
    new RegExp(`^${field}:\\s+(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''
  await check('a call through it arrives with a token and the company', async () => {
    assert.equal((await get('/_proxy/health/ready')).status, 200)
    assert.equal((await get('/rest/v1.0/me')).status, 200)
    const [entry] = fake.journal.api()
    assert.match(entry?.headers['authorization'] ?? '', /^Bearer .{20}/)
    assert.equal(entry?.headers['procore-company-id'], '7656')
  })
  await check('it is process 1, user 65532, without capabilities, with seccomp and no-new-privs', () => {
    assert.match(status('NSpid'), /\s1$/)
    for (const field of ['Uid', 'Gid']) assert.match(status(field), /^(65532\s*){4}$/)
    for (const field of ['CapEff', 'CapPrm', 'CapBnd']) assert.match(status(field), /^0+$/)
    assert.equal(status('NoNewPrivs'), '1')
    assert.equal(status('Seccomp'), '2')
  })
  await check('nothing can be written, and nothing was opened to be written', async () => {
    const { written, tried } = JSON.parse(await podman.run('exec', name, NODE, '-e', WRITES)) as {
      written: string[]
      tried: number
    }
    assert.deepEqual(written, [])
    for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
      const flags = Number.parseInt(
        /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '',
        8,
      )
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`)
      const isFile = target.startsWith('/') && !target.startsWith('/dev/')
      assert.ok(!isFile || (flags & 3) === 0, `${target} is open for writing`)
    }
    return `${tried} folders tried`
  })
  await check('the health check passes; where nothing answers, it fails', async () => {
    assert.equal((await podman.try('healthcheck', 'run', name)).code, 0)
    const down = await podman.try('run', '--rm', ...TIGHT, IMAGE, 'wait', '--timeout', '300ms')
    assert.equal(down.code, 1)
    assert.match(down.err, /ECONNREFUSED/)
  })
  await check('it starts from the compiled code in the image', async () => {
    const ask = `const { readFileSync } = require('node:fs')
const source = readFileSync('/app/dist/bin/program.cjs', 'latin1')
const cachedData = readFileSync('/app/dist/compiled/program.bin').subarray(8)
console.log(new (require('node:vm').Script)(source, { cachedData }).cachedDataRejected)`
    assert.equal((await podman.run('exec', name, NODE, '-e', ask)).trim(), 'false')
  })
  await check('there is no shell', async () => {
    const { code, err } = await podman.try('exec', name, 'sh', '-c', 'true')
    assert.equal(code, 127, err)
  })
  await check('without a configuration: status 2, and what to do', async () => {
    const { code, err } = await podman.try('run', '--rm', ...TIGHT, IMAGE)
    assert.equal(code, 2)
    assert.match(err, /^procore-proxy: there is no configuration/)
  })
  await check('a changed secret is applied', async () => {
    fake.resetSecret('demo-client', 'second-secret')
    const arrived = fake.journal.when(({ body }) => body?.includes('second-secret') === true)
    writeFileSync(secret, 'second-secret\n')
    assert.equal((await arrived).server, 'login')
    assert.equal((await get('/rest/v1.0/me')).status, 200)
  })
  await measure(pid, get)
  await check(
    'SIGTERM: the request under way ends, new ones are refused, status 0, far below 30 s',
    async () => {
      fake.faults.api.push({ match: '/rest/v1.0/projects', delayMs: 1500 })
      const arrived = fake.journal.when(({ url: target }) => target.startsWith('/rest/v1.0/projects'))
      const underWay = get('/rest/v1.0/projects')
      await arrived
      const started = performance.now()
      await podman.run('kill', '--signal=TERM', name)
      for (let refused = false; !refused; await sleep(20))
        refused = (await get('/rest/v1.0/me')).status === 503
      assert.equal((await podman.try('healthcheck', 'run', name)).code, 1, 'its health check fails meanwhile')
      assert.equal((await underWay).status, 200)
      assert.equal(await podman.run('wait', name), '0')
      const seconds = (performance.now() - started) / 1000
      assert.ok(seconds < 20)
      return `${seconds.toFixed(1)} s`
    },
  )
  await check('its log is JSON lines, without secret and token', async () => {
    const log = await podman.run('logs', name)
    const messages = log.split('\n').map((line) => (JSON.parse(line) as { msg: string }).msg)
    assert.equal(messages.at(-1), 'stopped')
    for (const secretText of ['demo-secret', 'second-secret', ...fake.issuedTokens()]) {
      assert.ok(!log.includes(secretText))
    }
  })
}

/** Measures memory and CPU, which have to fit the resource requests in deploy/kubernetes. */
async function measure(pid: number, get: (path: string) => Promise<{ status: number }>): Promise<void> {
  const memory = (field: 'VmRSS' | 'VmHWM') =>
    Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  const cpuMs = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  }
  const manifest = readFileSync(join(root, 'deploy/kubernetes/base/deployment.yaml'), 'utf8')
  const [, requested, limit] = /memory: (\d+)Mi }\n\s+limits: { memory: (\d+)Mi/.exec(manifest) ?? []
  await check('memory and CPU are as deploy/kubernetes says', async () => {
    const before = cpuMs()
    await sleep(5000)
    const idleCpu = (cpuMs() - before) / 5000
    const idle = memory('VmRSS')
    const busyBefore = cpuMs()
    const COUNT = 3000
    let sent = 0
    const caller = async () => {
      while (sent++ < COUNT) assert.equal((await get('/rest/v1.0/me')).status, 200)
    }
    await Promise.all(Array.from({ length: 16 }, caller))
    const each = (cpuMs() - busyBefore) / COUNT
    const busy = memory('VmHWM')
    assert.ok(idle < Number(requested), `idle: ${idle} MB`)
    assert.ok(busy < Number(limit) * 0.75, `busy: ${busy} MB`)
    return `idle ${idle.toFixed(0)} MB and ${(idleCpu * 1000).toFixed(0)}m CPU; under load at most ${busy.toFixed(0)} MB, ${each.toFixed(2)} ms of CPU a request`
  })
}

const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-image-'))
const podman = new Podman(build(), folder)
const fake = await startFakeProcore({ rateLimit: { hourly: 1e9, spike: 1e9 } })
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    await podman.interrupt()
    rmSync(folder, { recursive: true, force: true })
    process.exit(1)
  })
}
try {
  // Containers of a run that was interrupted.
  await podman.removeAll()
  await lookInside(podman)
  await useIt(podman, fake, folder)
  await podman.removeAll()
  await check('deploy/compose: the app gets its answer', () => runCompose(podman, IMAGE))
  await check('deploy/kubernetes: the Job as a pod', () => runJob(podman, IMAGE, folder))
  await check('docs/sidecar.md: its compose file', () => runComposeOfPage(podman, IMAGE, folder))
  await check('docs/sidecar.md: its pod', () => runPodOfPage(podman, IMAGE, folder))
} finally {
  await podman.removeAll()
  await fake.close()
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
