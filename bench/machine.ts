// What this machine is and has: cores, versions of the contenders, memory.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { dirname, join } from 'node:path'

export const root = dirname(import.meta.dirname)

/** Which core does what. */
export interface Cores {
  readonly contender: number
  readonly upstream: number
  readonly load: number
  /** For tables. */
  readonly says: string
}

/** `0-1,4` → [0, 1, 4]. */
export function coreList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, nth) => first + nth)
    })
}

/** The contender has a core of its own wherever there are two; load and upstream share one where there is no third. */
export function shareCores(cores: readonly number[]): Cores {
  const [contender = 0, upstream = contender, load = upstream] = cores
  const says =
    cores.length < 2
      ? 'all on one core'
      : cores.length === 2
        ? `contender on core ${contender}, upstream and load on core ${upstream}`
        : `contender on core ${contender}, upstream on core ${upstream}, load on core ${load}`
  return { contender, upstream, load, says }
}

export function allowedCores(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8')
  return coreList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0')
}

/** First line that a program prints of itself, or undefined where it is not installed. */
export function versionOf(program: string, ...flags: string[]): string | undefined {
  const { error, stdout, stderr } = spawnSync(program, flags, { encoding: 'utf8', timeout: 10_000 })
  return error ? undefined : (stdout + stderr).trim().split('\n')[0]
}

/** A program of Debian's by its name, also where /usr/sbin is not searched. */
export function find(program: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']) {
    if (folder !== '' && existsSync(join(folder, program))) return join(folder, program)
  }
  return undefined
}

/** For the head of a result. */
export function machine(): Record<string, string> {
  const os = /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  return {
    cpu: `${allowedCores().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    system: `${os ?? 'Linux'}, Linux ${release()}`,
  }
}
