// What each command works with: the upstream, programs started in front of it, and load on them.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CALLER_HEADERS, type Launch, type Setting } from './contenders.ts'
import { freePort, type Program, runScript, start } from './programs.ts'

/** A list of 1 KB; below a company's project, so that rules have something to judge. */
export const SMALL = '/rest/v1.0/projects/123456/rfis?page=2&per_page=20'

interface Cores {
  /** For the measured program alone. */
  readonly contender: number
  /** For the upstream and for what sends requests. */
  readonly load: number
}

export interface Running {
  readonly program: Program
  readonly port: number
  /** From the start of its process to its first answer of the API, ms. */
  readonly startMs: number
}

export interface LoadReport {
  readonly requests: number
  readonly failed: number
  readonly p50Us: number
  readonly p99Us: number
}

export interface LoadOptions {
  readonly seconds: number
  readonly connections?: number
  /** Requests a second; as many as possible where left out. */
  readonly rate?: number
  readonly companies?: readonly string[]
}

export interface Stage {
  readonly quick: boolean
  /** Origins of the API. */
  readonly plain: string
  readonly tls: string
  readonly folder: string
  /** Starts a program in front of an API and waits for its first answer. */
  launch(make: (setting: Setting) => Launch, api: string): Promise<Running>
  /** Sends small requests; throws where all of them failed. */
  load(running: Running, options: LoadOptions): Promise<LoadReport & { cpuUs: number }>
  /** Moves a body; returns the time in ms. */
  transfer(
    running: Running,
    direction: 'download' | 'upload',
    bytes: number,
    leave?: boolean,
  ): Promise<number>
  stop(): Promise<void>
}

export async function startStage({ quick, cores }: { quick: boolean; cores: Cores }): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const { certificate, key } = makeCertificate(folder)
  const ports = { plain: await freePort(), tls: await freePort() }
  const order = JSON.stringify({ ...ports, certificate, key })
  const script = join(import.meta.dirname, 'upstream.mjs')
  const upstream = start([process.execPath, script, order], { core: cores.load })
  await answerOf(ports.plain, upstream)
  const plain = `http://127.0.0.1:${ports.plain}`
  let count = 0
  return {
    quick,
    plain,
    tls: `https://localhost:${ports.tls}`,
    folder,
    launch: async (make, api) => {
      const port = await freePort()
      const own = join(folder, `program-${++count}`)
      mkdirSync(own)
      const { command, env = {} } = make({ port, api, login: plain, caFile: certificate, folder: own })
      const began = performance.now()
      const program = start(command, { core: cores.contender, env, cwd: own })
      await answerOf(port, program)
      return { program, port, startMs: performance.now() - began }
    },
    load: async ({ program, port }, { connections = 32, ...options }) => {
      const before = program.cpuMs()
      const asked = { port, path: SMALL, headers: CALLER_HEADERS, connections, ...options }
      const report = await runScript<LoadReport>('load.mjs', asked, cores.load)
      if (report.requests === 0) throw new Error(`every request failed: ${program.output()}`)
      return { ...report, cpuUs: ((program.cpuMs() - before) * 1000) / report.requests }
    },
    transfer: async ({ port }, direction, bytes, leave = false) => {
      const path = direction === 'download' ? `/rest/v1.0/bytes/${bytes}` : '/rest/v1.0/uploads'
      const asked = { port, path, headers: CALLER_HEADERS, direction, bytes, leave }
      return (await runScript<{ ms: number }>('transfer.mjs', asked, cores.load)).ms
    },
    stop: () => upstream.stop('SIGKILL'),
  }
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Asks for the small list until it comes; throws with the program's output after 15 s. */
async function answerOf(port: number, program: Program): Promise<void> {
  for (const deadline = performance.now() + 15_000; performance.now() < deadline && !program.hasEnded(); ) {
    const status = await new Promise((resolve) => {
      const options = { host: '127.0.0.1', port, path: SMALL, headers: CALLER_HEADERS, agent: false }
      const request = get(options, (response) => {
        response.resume().on('end', () => resolve(response.statusCode))
      })
      request.on('error', resolve)
    })
    if (status === 200) return
    await sleep(2)
  }
  const output = program.output()
  await program.stop('SIGKILL')
  throw new Error(`no answer on port ${port}:\n${output}`)
}

/** A certificate for localhost that is its own authority. */
function makeCertificate(folder: string): { certificate: string; key: string } {
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const out = ['-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=localhost', '-addext', names]
  execFileSync('openssl', ['req', '-x509', ...curve, ...out], { stdio: 'pipe' })
  return { certificate, key }
}
