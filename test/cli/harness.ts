// Runs the command line as a user does: a process of its own, real signals, real files; everything ends with the test.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { type FakeOptions, type FakeProcore, startFakeProcore } from '../../src/fake/procore.ts'
import { type Settings, settingsFor } from '../fixtures/proxy.ts'

export const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export type Line = Record<string, unknown>

export interface RunOptions {
  readonly cwd: string
  /** Added to an environment that holds no PROCORE_* variable and whose home is `cwd`. */
  readonly env?: Record<string, string>
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

/** A process under way. */
export class Run {
  readonly child: ChildProcess
  out = ''
  err = ''
  readonly #ended: Promise<Ended>
  #onOutput = new Set<() => void>()

  constructor(args: readonly string[], { cwd, env }: RunOptions) {
    this.child = spawn(process.execPath, [MAIN, ...args], { cwd, env: cleanEnv(cwd, env) })
    this.child.stdout!.on('data', (chunk) => {
      this.out += chunk
      for (const look of this.#onOutput) look()
    })
    this.child.stderr!.on('data', (chunk) => {
      this.err += chunk
    })
    // A test that runs out of time skips its teardowns.
    const kill = () => this.child.kill('SIGKILL')
    process.once('exit', kill)
    this.#ended = once(this.child, 'close').then(([code, signal]) => {
      process.off('exit', kill)
      for (const look of this.#onOutput) look()
      return { code, signal, out: this.out, err: this.err }
    })
  }

  get over(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** How it ended; rejects where it does not within `ms`. */
  async end(ms = 15_000): Promise<Ended> {
    return within(ms, this.#ended, () => `it still runs:\n${this.out}${this.err}`)
  }

  /** Standard output once it holds `text`. */
  async says(text: string | RegExp, ms = 15_000): Promise<string> {
    return this.#until(ms, String(text), () => {
      const found = typeof text === 'string' ? this.out.includes(text) : text.test(this.out)
      return found ? this.out : undefined
    })
  }

  /** The log's lines so far; what is no JSON is left out. */
  lines(): Line[] {
    return this.out.split('\n').flatMap((text) => {
      try {
        return [JSON.parse(text) as Line]
      } catch {
        return []
      }
    })
  }

  /** The first log line, from number `from`, whose message holds `text`. */
  async line(text: string, from = 0, ms = 15_000): Promise<Line> {
    return this.#until(ms, text, () =>
      this.lines()
        .slice(from)
        .find(({ msg }) => String(msg).includes(text)),
    )
  }

  /** The addresses it says it listens on, once it says the last of `count`. */
  async listening(count = 1): Promise<string[]> {
    const urls = () =>
      this.lines().flatMap(({ msg }) => /^listening on (.*)$/.exec(String(msg))?.slice(1) ?? [])
    return this.#until(15_000, `${count} addresses`, () => (urls().length >= count ? urls() : undefined))
  }

  /** Waits until every account has a token or was refused one. */
  async ready(): Promise<string> {
    const [url = ''] = await this.listening()
    await this.#until(15_000, 'a token', () =>
      this.lines().find(({ msg }) => String(msg).startsWith('token ')),
    )
    return url
  }

  async #until<T>(ms: number, what: string, look: () => T | undefined): Promise<T> {
    let stop = () => {}
    const found = new Promise<T>((resolve, reject) => {
      const check = () => {
        const value = look()
        if (value !== undefined) resolve(value)
        else if (this.over) reject(new Error(`it ended without saying ${what}:\n${this.out}${this.err}`))
      }
      this.#onOutput.add(check)
      stop = () => this.#onOutput.delete(check)
      check()
    })
    try {
      return await within(ms, found, () => `it never said ${what}:\n${this.out}${this.err}`)
    } finally {
      stop()
    }
  }
}

async function within<T>(ms: number, promise: Promise<T>, why: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(why())), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function cleanEnv(home: string, env: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PROCORE_'))
  return { ...Object.fromEntries(inherited), HOME: home, XDG_CONFIG_HOME: join(home, '.config'), ...env }
}

/** Starts a command that the test's end kills, if nothing else ended it. */
export function run(t: Test, args: readonly string[], options: Partial<RunOptions> = {}): Run {
  const one = new Run(args, { cwd: options.cwd ?? t.testdirName, ...options })
  t.teardown(async () => {
    if (one.over) return
    // Only a process that ends by itself leaves its coverage behind.
    one.kill('SIGTERM')
    await one.end(2_000).catch(() => one.kill('SIGKILL'))
    await one.end()
  })
  return one
}

/** Runs a command to its end. */
export function runToEnd(
  t: Test,
  args: readonly string[],
  options: Partial<RunOptions> = {},
): Promise<Ended> {
  return run(t, args, options).end()
}

/** A folder with a configuration for a fake of its own. */
export interface Place {
  readonly fake: FakeProcore
  readonly folder: string
  readonly file: string
  /** The default settings, with `over` laid over. */
  settings(over?: Settings): Settings
  write(settings: Settings): void
}

export async function startPlace(
  t: Test,
  over: Settings = {},
  { fake: options, files = {} }: { fake?: FakeOptions; files?: Record<string, string> } = {},
): Promise<Place> {
  const fake = await startFakeProcore(options)
  t.teardown(() => fake.close())
  const folder = t.testdir(files)
  const file = join(folder, 'procore-proxy.yaml')
  const settings = (more: Settings = {}) => settingsFor(fake, { ...over, ...more })
  const write = (value: Settings) => writeFileSync(file, JSON.stringify(value), { mode: 0o600 })
  write(settings())
  return { fake, folder, file, settings, write }
}

export interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** A connection that is kept alive, over which requests go one after the other. */
export class KeptConnection {
  readonly socket: Socket
  #text = ''
  #closed = false
  #wake = () => {}

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.#text += chunk.toString('latin1')
      this.#wake()
    })
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#closed = true
      this.#wake()
    })
  }

  static async open(t: Test, url: string): Promise<KeptConnection> {
    const socket = url.startsWith('unix:')
      ? connect(url.slice(5))
      : connect(Number(new URL(url).port), new URL(url).hostname.replace(/^\[|\]$/g, ''))
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return new KeptConnection(socket)
  }

  send(path: string): void {
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  }

  /** The answer to a GET. */
  async get(path: string): Promise<Reply> {
    this.send(path)
    return this.reply()
  }

  /** The next answer, which has to have a length. */
  async reply(ms = 15_000): Promise<Reply> {
    const read = async () => {
      for (;;) {
        const end = this.#text.indexOf('\r\n\r\n')
        if (end !== -1) {
          const [first = '', ...lines] = this.#text.slice(0, end).split('\r\n')
          const headers = Object.fromEntries(
            lines.map((line) => [line.split(':')[0]!.toLowerCase(), line.replace(/^[^:]*:\s*/, '')]),
          )
          const bodyEnd = end + 4 + Number(headers['content-length'] ?? 0)
          if (this.#text.length >= bodyEnd) {
            const body = this.#text.slice(end + 4, bodyEnd)
            this.#text = this.#text.slice(bodyEnd)
            return { status: Number(first.split(' ')[1]), headers, body }
          }
        }
        if (this.#closed) throw new Error(`the connection ended: ${this.#text}`)
        await this.#woken()
      }
    }
    return within(ms, read(), () => `no answer: ${this.#text}`)
  }

  /** Resolves when the other side has closed it. */
  async closed(ms = 15_000): Promise<void> {
    const wait = async () => {
      while (!this.#closed) await this.#woken()
    }
    await within(ms, wait(), () => 'the connection is still open')
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

/** One GET on a connection of its own. */
export async function get(t: Test, url: string, path: string): Promise<Reply> {
  const connection = await KeptConnection.open(t, url)
  try {
    return await connection.get(path)
  } finally {
    connection.socket.destroy()
  }
}

/** A folder whose path is short enough for a unix socket, wherever the project lies. */
export function shortFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'pp-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A loopback port that nobody listens on right now; none of those that the system hands out for port 0. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}
