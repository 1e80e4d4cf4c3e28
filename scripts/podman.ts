// Runs podman on the images that deploy/docker/build.sh keeps, and takes away what it started.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** As tight as an engine gets: no file system to write to, not even a temporary one. */
export const TIGHT = [
  '--read-only',
  '--read-only-tmpfs=false',
  '--cap-drop=all',
  '--security-opt=no-new-privileges',
  '--pids-limit=64',
  '--memory=256m',
]

/** No systemd here, and no right to raise limits. Networks are kept apart, as build.sh keeps images and containers apart. */
const settings = (folder: string) => `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_config_dir = "${folder}/networks"
`

export class Podman {
  readonly #env: NodeJS.ProcessEnv
  readonly #folder: string
  #service: ChildProcess | undefined
  #sockets = 0
  readonly #running = new Set<Promise<Ended>>()
  #over = false

  /** `storage`: what deploy/docker/build.sh printed; `folder`: for what is only of this run. */
  constructor(storage: string, folder: string) {
    this.#folder = folder
    const conf = join(folder, 'containers.conf')
    writeFileSync(conf, settings(folder))
    this.#env = { ...process.env, CONTAINERS_STORAGE_CONF: storage, CONTAINERS_CONF: conf }
  }

  /** Any program with podman's settings, whatever becomes of it; ended after a minute. */
  async command(program: string, args: readonly string[], env = {}, cwd?: string): Promise<Ended> {
    if (this.#over) throw new Error('interrupted')
    const running = this.#execute(program, args, { ...this.#env, ...env }, cwd)
    this.#running.add(running)
    return running.finally(() => this.#running.delete(running))
  }

  #execute(program: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd?: string): Promise<Ended> {
    const options = { env, timeout: 60_000, ...(cwd !== undefined && { cwd }) }
    return new Promise((resolve) => {
      execFile(program, args, options, (error, stdout, stderr) => {
        // What podman says of its own timers where there is no systemd.
        const err = stderr.replaceAll(/^time=.*(systemd|healthcheck).*\n/gm, '').trim()
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
        resolve({ code, out: stdout.trim(), err: err || (code === -1 ? String(error) : '') })
      })
    })
  }

  /** Runs podman, whatever becomes of it. */
  try(...args: string[]): Promise<Ended> {
    return this.command('podman', args)
  }

  /** Standard output of a podman that has to succeed. */
  async run(...args: string[]): Promise<string> {
    const { code, out, err } = await this.try(...args)
    if (code !== 0) throw new Error(`podman ${args.join(' ')}: ${code} ${err}`)
    return out
  }

  inspect(name: string, format: string): Promise<string> {
    return this.run('inspect', '--format', format, name)
  }

  /** The process of a container as this machine sees it. */
  async pid(name: string): Promise<number> {
    return Number(await this.inspect(name, '{{.State.Pid}}'))
  }

  /** Ends once the health check of the container passes. */
  async healthy(name: string): Promise<void> {
    for (let tries = 0; tries < 60; tries++) {
      if ((await this.try('healthcheck', 'run', name)).code === 0) return
      await sleep(100)
    }
    throw new Error(`${name} does not become healthy: ${await this.run('logs', name)}`)
  }

  /** A socket that speaks Docker's language, for clients such as Compose. */
  async docker(): Promise<string> {
    const socket = join(this.#folder, `docker-${++this.#sockets}.sock`)
    const url = `unix://${socket}`
    this.#service = spawn('podman', ['system', 'service', '--time', '120', url], {
      env: this.#env,
      stdio: 'ignore',
    })
    while (!existsSync(socket)) {
      if (this.#service.exitCode !== null) throw new Error('podman system service does not start')
      await sleep(50)
    }
    return url
  }

  /** Does what systemd's timers would: runs the health checks of all containers, until `work` is done. */
  async tended<T>(work: Promise<T>): Promise<T> {
    let done = false
    const tend = async () => {
      while (!done) {
        const { out } = await this.try('ps', '--quiet')
        for (const id of out.split('\n').filter(Boolean)) await this.try('healthcheck', 'run', id)
        await sleep(500)
      }
    }
    const tending = tend()
    try {
      return await work
    } finally {
      done = true
      await tending
    }
  }

  /** Takes everything away but images. */
  async removeAll(): Promise<void> {
    const podman = (...args: string[]) => this.#execute('podman', args, this.#env)
    await this.#endService()
    await podman('pod', 'rm', '--all', '--force', '--time', '1')
    // Twice: one may hold the network of another.
    for (let round = 0; round < 2; round++) await podman('rm', '--all', '--force', '--time', '1')
    await podman('network', 'prune', '--force')
    await podman('volume', 'prune', '--force')
  }

  /** Lets what runs come to its end, starts nothing more, and takes everything away. */
  async interrupt(): Promise<void> {
    this.#over = true
    await this.#endService()
    await Promise.allSettled(this.#running)
    await this.removeAll()
  }

  async #endService(): Promise<void> {
    const service = this.#service
    if (service === undefined || service.exitCode !== null || service.signalCode !== null) return
    service.kill()
    await once(service, 'exit')
  }
}
