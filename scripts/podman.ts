// Runs podman on the images that deploy/docker/build.sh builds, and removes the containers that it started.
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

/** The strictest options of an engine: nothing can be written, not even to a temporary file system. */
export const TIGHT = [
  '--read-only',
  '--read-only-tmpfs=false',
  '--cap-drop=all',
  '--security-opt=no-new-privileges',
  '--pids-limit=64',
  '--memory=256m',
]

/** For machines without systemd and without the right to raise limits. Networks are separate, as are images and containers. */
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

  /** `storage` is the file that deploy/docker/build.sh printed; `folder` is for the files of this run. */
  constructor(storage: string, folder: string) {
    this.#folder = folder
    const conf = join(folder, 'containers.conf')
    writeFileSync(conf, settings(folder))
    this.#env = { ...process.env, CONTAINERS_STORAGE_CONF: storage, CONTAINERS_CONF: conf }
  }

  /** Runs a program with podman's settings, for a minute at most, and returns how it ended. */
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
        // podman complains about its timers where there is no systemd.
        const err = stderr.replaceAll(/^time=.*(systemd|healthcheck).*\n/gm, '').trim()
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
        resolve({ code, out: stdout.trim(), err: err || (code === -1 ? String(error) : '') })
      })
    })
  }

  /** Runs podman and returns how it ended. */
  try(...args: string[]): Promise<Ended> {
    return this.command('podman', args)
  }

  /** Runs podman and returns its standard output; throws if it fails. */
  async run(...args: string[]): Promise<string> {
    const { code, out, err } = await this.try(...args)
    if (code !== 0) throw new Error(`podman ${args.join(' ')}: ${code} ${err}`)
    return out
  }

  inspect(name: string, format: string): Promise<string> {
    return this.run('inspect', '--format', format, name)
  }

  /** Returns the process id of a container on this machine. */
  async pid(name: string): Promise<number> {
    return Number(await this.inspect(name, '{{.State.Pid}}'))
  }

  /** Resolves when the health check of the container passes. */
  async healthy(name: string): Promise<void> {
    for (let tries = 0; tries < 60; tries++) {
      if ((await this.try('healthcheck', 'run', name)).code === 0) return
      await sleep(100)
    }
    throw new Error(`${name} does not become healthy: ${await this.run('logs', name)}`)
  }

  /** Starts Docker's API on a socket, for clients such as Compose. */
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

  /** Runs the health checks of all containers until `work` is done, as systemd's timers would. */
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

  /** Removes everything except images. */
  async removeAll(): Promise<void> {
    const podman = (...args: string[]) => this.#execute('podman', args, this.#env)
    await this.#endService()
    await podman('pod', 'rm', '--all', '--force', '--time', '1')
    // Twice, because one container may use the network of another.
    for (let round = 0; round < 2; round++) await podman('rm', '--all', '--force', '--time', '1')
    await podman('network', 'prune', '--force')
    await podman('volume', 'prune', '--force')
  }

  /** Starts nothing more, waits for what is running, and removes everything. */
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
