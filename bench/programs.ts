// Starts programs on a core of their own, reads their CPU time and memory from /proc, and stops them.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'

export const ROOT: string = dirname(import.meta.dirname)

/** A running program with its child processes. */
export interface Program {
  readonly pid: number
  /** The last 4 KB of its output. */
  output(): string
  hasEnded(): boolean
  /** User and system time so far, ms. */
  cpuMs(): number
  /** Resident memory, MB: now, or at its highest. */
  memoryMb(which: 'VmRSS' | 'VmHWM'): number
  openFiles(): number
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface StartOptions {
  readonly core: number
  readonly env?: Record<string, string>
  readonly cwd?: string
}

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) kill(child, 'SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

/** Finds a program in PATH or in the folders for administrators; undefined where it is not installed. */
export function find(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

const taskset = find('taskset')

export function start(command: readonly string[], { core, env, cwd }: StartOptions): Program {
  const [program = '', ...args] = taskset ? [taskset, '-c', String(core), ...command] : command
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.subarray(-4096).toString('latin1')).slice(-4096)
    })
  const ended = once(child, 'exit').then(
    () => running.delete(child),
    () => running.delete(child),
  )
  const pid = child.pid ?? 0
  return {
    pid,
    output: () => output,
    hasEnded: () => !running.has(child),
    cpuMs: () => sum(treeOf(pid), cpuMsOf),
    memoryMb: (which) => sum(treeOf(pid), (each) => memoryKbOf(each, which)) / 1024,
    openFiles: () => sum(treeOf(pid), (each) => readdirSync(`/proc/${each}/fd`).length),
    stop: async (signal = 'SIGTERM') => {
      kill(child, signal)
      const timer = setTimeout(() => kill(child, 'SIGKILL'), 5_000)
      await ended
      clearTimeout(timer)
    },
  }
}

/** Runs a script of this folder to its end and returns the JSON that it prints. */
export async function runScript<T>(script: string, order: unknown, core: number): Promise<T> {
  const path = join(import.meta.dirname, script)
  const command = [process.execPath, path, JSON.stringify(order)]
  const [program = '', ...args] = taskset ? [taskset, '-c', String(core), ...command] : command
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  running.add(child)
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [status] = await once(child, 'close')
  running.delete(child)
  if (status !== 0) throw new Error(`${script} ended with status ${status}: ${output}`)
  return JSON.parse(output) as T
}

/** The cores on which this process may run. */
export function allowedCores(): readonly number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return list.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/** Keeps this process on one core. */
export function pin(core: number): void {
  if (taskset !== undefined) spawnSync(taskset, ['-acp', String(core), String(process.pid)])
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // It has ended already.
  }
}

function treeOf(pid: number): readonly number[] {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`)
    const children = tasks.flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    )
    return [pid, ...children.flatMap(treeOf)]
  } catch {
    return []
  }
}

function sum(pids: readonly number[], read: (pid: number) => number): number {
  return pids.reduce((total, pid) => {
    try {
      return total + read(pid)
    } catch {
      return total
    }
  }, 0)
}

/** The kernel counts in hundredths of a second. */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return fields.slice(11, 15).reduce((total, ticks) => total + Number(ticks) * 10, 0)
}

function memoryKbOf(pid: number, which: string): number {
  return Number(
    new RegExp(`^${which}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
  )
}
