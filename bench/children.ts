// Starts programs on a core of their own, reads what they cost, and leaves none behind.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { find } from './machine.ts'

export interface StartOptions {
  /** As taskset wants them. */
  readonly core: number | string
  readonly env?: Record<string, string> | undefined
  readonly cwd?: string | undefined
}

/** A program that runs, with whatever it starts itself. */
export interface Child {
  readonly pid: number
  /** The end of what it printed. */
  output(): string
  exited(): boolean
  /** User and system time of the whole tree so far, in ms. */
  cpuMs(): number
  /** Memory of the whole tree, in MB. */
  memoryMb(key: 'VmRSS' | 'VmHWM'): number
  openFiles(): number
  stop(signal?: NodeJS.Signals): Promise<void>
}

const running = new Set<ChildProcess>()

/** Whatever still runs ends with this process, and with its whole group. */
process.on('exit', () => {
  for (const child of running) killGroup(child, 'SIGKILL')
})
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => process.exit(status))
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // It is gone already.
  }
}

const taskset = find('taskset')

/** Standard output and error are pipes that this process reads and forgets. */
export function start(command: readonly string[], { core, env, cwd }: StartOptions): Child {
  const [program = '', ...args] = taskset ? [taskset, '-c', String(core), ...command] : command
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString('latin1').slice(-4096)).slice(-4096)
    })
  }
  const gone = once(child, 'exit').catch(() => {})
  void gone.then(() => running.delete(child))
  const pid = child.pid ?? 0
  return {
    pid,
    output: () => output,
    exited: () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined,
    cpuMs: () => sum(tree(pid), cpuOf),
    memoryMb: (key) => sum(tree(pid), (each) => statusKb(each, key)) / 1024,
    openFiles: () => sum(tree(pid), (each) => readdirSync(`/proc/${each}/fd`).length),
    stop: async (signal = 'SIGTERM') => {
      killGroup(child, signal)
      const late = setTimeout(() => killGroup(child, 'SIGKILL'), 5_000)
      await gone
      clearTimeout(late)
      killGroup(child, 'SIGKILL')
    },
  }
}

/** Runs a program to its end and gives what it printed; throws with that where it failed. */
export async function run(command: readonly string[], options: StartOptions): Promise<string> {
  const [program = '', ...args] = taskset ? [taskset, '-c', String(options.core), ...command] : command
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  running.add(child)
  let output = ''
  let complaint = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    complaint += chunk
  })
  try {
    const [status] = (await once(child, 'close')) as [number | null]
    if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}:\n${output}${complaint}`)
  } finally {
    running.delete(child)
  }
  return output
}

/** A process and all below it. */
function tree(pid: number): number[] {
  const below: number[] = []
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim()
      if (children !== '') below.push(...children.split(' ').map(Number))
    }
  } catch {
    return []
  }
  return [pid, ...below.flatMap(tree)]
}

function sum(pids: readonly number[], read: (pid: number) => number): number {
  let total = 0
  for (const pid of pids) {
    try {
      total += read(pid)
    } catch {
      // It ended meanwhile; its time is in its parent's.
    }
  }
  return total
}

/** The kernel counts in hundredths of a second; time of children that ended is included. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return fields.slice(11, 15).reduce((total, ticks) => total + Number(ticks) * 10, 0)
}

function statusKb(pid: number, key: string): number {
  return Number(
    new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
  )
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
