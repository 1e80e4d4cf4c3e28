// What this machine is and has: cores, versions of the contenders, memory.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { coreList } from './cores.ts'

export const root = dirname(import.meta.dirname)

export function allowedCores(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8')
  return coreList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0')
}

/** What a program of Debian's says is its version, or undefined where it is not installed. */
function versionOf(program: string, ...flags: string[]): string | undefined {
  const path = find(program)
  if (path === undefined) return undefined
  const { stdout, stderr } = spawnSync(path, flags, { encoding: 'utf8', timeout: 10_000 })
  return /\d+\.\d+[\w.+~-]*/.exec(stdout + stderr)?.[0]
}

/** A program of Debian's by its name, also where /usr/sbin is not searched. */
export function find(program: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']) {
    if (folder !== '' && existsSync(join(folder, program))) return join(folder, program)
  }
  return undefined
}

/** All threads of this process, and whatever it starts without saying where. */
export function pinSelf(core: number): void {
  const taskset = find('taskset')
  if (taskset !== undefined) spawnSync(taskset, ['-acp', String(core), String(process.pid)])
}

/** For the head of a result. */
export function machine(): Record<string, string> {
  const os = /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  return {
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    system: `${os ?? 'Linux'}, Linux ${release()}`,
  }
}

/** Of an installed package. */
export function versionIn(folder: string): string {
  return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version
}

/** Of everything that has a part in a result; what is not installed has none. */
export function versions(): Record<string, string> {
  const bench = (name: string) => versionIn(join(import.meta.dirname, 'node_modules', name))
  const git = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' })
  const found: Record<string, string | undefined> = {
    'procore-proxy': `${versionIn(root)}${git.status === 0 ? ` (${git.stdout.trim()})` : ''}`,
    node: process.versions.node,
    nginx: versionOf('nginx', '-v'),
    haproxy: versionOf('haproxy', '-v'),
    caddy: versionOf('caddy', 'version'),
    wrk: versionOf('wrk', '-v'),
    '@fastify/http-proxy': bench('@fastify/http-proxy'),
    fastify: bench('fastify'),
    'http-proxy-middleware': bench('http-proxy-middleware'),
  }
  return Object.fromEntries(
    Object.entries(found).flatMap(([name, version]) => (version === undefined ? [] : [[name, version]])),
  )
}
