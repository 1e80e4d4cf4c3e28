// The command `list`: writes a whole list of the API to a file or to standard output, without a running proxy.
import { randomUUID } from 'node:crypto'
import { constants, createWriteStream } from 'node:fs'
import { access, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { Agent } from 'undici'
import { type Config, type ListenAddress, Secret } from '../config/config.ts'
import { type CollectRequest, collectList } from '../lists/collect.ts'
import { CAUSE, createLogger, type Logger } from '../observe/log.ts'
import { buildServer } from '../server.ts'
import type { Options } from './commands.ts'
import { readConfig } from './config.ts'
import { CommandError, usageError } from './exit.ts'

/** Writes the list at `path`, such as `/acme/rest/v1.0/rfis?project_id=*`; throws CommandError where anything is missing. */
export async function list(path: string, { format = 'csv', output, ...flags }: Options): Promise<void> {
  const [, prefix = '', route] = /^(\/[^/]+)??(\/(?:rest|vapid)\/.*)$/.exec(path) ?? []
  if (route === undefined) {
    throw usageError(`${path} is not an API path: write /rest/v1.0/projects or /COMPANY/rest/…`)
  }
  const config = await readConfig(flags)
  if (output !== undefined) {
    await access(dirname(output), constants.W_OK | constants.X_OK).catch(() => {
      const fix = 'Create it, or correct the path.'
      throw new CommandError(`the folder of ${output} does not exist or cannot be written to. ${fix}`)
    })
  }
  const progress = listProgress(process.stderr)
  // The progress bar is fed from the log.
  const log = createLogger({ level: 'debug', format: 'json' }, progress)
  const part = output === undefined ? undefined : `${output}.part`
  // A signal breaks the list off, so that no files are left behind. A second one ends the process at once.
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => stop.abort(new Error(`it was stopped by ${signal}`)))
  const { skipped, failure } = await withProxy(config, log, (proxy) =>
    collectList({
      ...proxy,
      url: `${proxy.url}${prefix}/_proxy/${format}${route}`,
      signal: stop.signal,
      output: () => (part === undefined ? standardOutput() : createWriteStream(part)),
    }),
  ).finally(progress.end)
  if (failure !== undefined) {
    if (part !== undefined) await rm(part, { force: true })
    throw new CommandError(progress.brokenBy() ?? failure)
  }
  if (part !== undefined && output !== undefined) {
    await rename(part, output).catch(({ code }: NodeJS.ErrnoException) => {
      throw new CommandError(`${output} cannot be written (${code}). The list is in ${part}.`)
    })
  }
  if (skipped === 0) return
  throw new CommandError(
    `${skipped} ${skipped === 1 ? 'project is' : 'projects are'} not in the list: Procore or the rules refused them`,
  )
}

/** Standard output behind a stream of its own, because the list destroys what it is written to if it breaks off. */
function standardOutput(): Writable {
  return new Writable({ write: (piece, _encoding, done) => void process.stdout.write(piece, done) })
}

/** Runs a proxy that only this process can call: it requires a random key and, where possible, listens on a Unix socket. */
async function withProxy<T>(
  config: Config,
  log: Logger,
  use: (proxy: Pick<CollectRequest, 'dispatcher' | 'url' | 'headers'>) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'procore-proxy-'))
  const path = join(folder, 'socket')
  const hasSockets = process.platform !== 'win32'
  const address: ListenAddress = hasSockets
    ? { kind: 'unix', path, mode: 0o600 }
    : { kind: 'tcp', host: '127.0.0.1', port: 0 }
  const key = randomUUID()
  const server = await buildServer(closedConfig(config, address, key), { log })
  const dispatcher = new Agent(hasSockets ? { connect: { socketPath: path } } : {})
  try {
    await server.listen()
    const url = hasSockets ? 'http://localhost' : (server.addresses()[0]?.url ?? '')
    return await use({ dispatcher, url, headers: { 'Procore-Proxy-Key': key } })
  } finally {
    await dispatcher.destroy()
    await server.drain()
    await rm(folder, { recursive: true, force: true })
  }
}

function closedConfig(config: Config, address: ListenAddress, key: string): Config {
  return {
    ...config,
    listen: [address],
    companies: config.companies.map((company) => ({ ...company, listen: undefined })),
    guard: { ...config.guard, requireHeader: false, clientKeys: [new Secret(key)] },
    callers: [],
    audit: undefined,
    metricsListen: undefined,
    lists: { ...config.lists, enabled: true },
  }
}

interface Line {
  readonly msg?: string
  readonly received?: number
  readonly total?: number
  readonly project?: { readonly number: number; readonly of: number }
  readonly projects?: readonly string[]
  readonly status?: number
  readonly pages?: number
  readonly error?: string
}

const BAR = 30

/**
 * A destination for the proxy's log that shows the progress on a terminal, the projects that are missing anywhere, and
 * why the list broke off.
 */
export function listProgress(terminal: NodeJS.WriteStream) {
  let rows = 0
  let before = 0
  let current = 0
  let reason: string | undefined
  const show = ({ received = 0, total, project = { number: 1, of: 1 } }: Line) => {
    if (project.number !== current) before = rows
    current = project.number
    rows = before + received
    if (!terminal.isTTY) return
    const share = total ? Math.min(1, received / total) : 0
    const done = (project.number - 1 + share) / project.of
    const filled = Math.round(done * BAR)
    const bar = '█'.repeat(filled) + '░'.repeat(BAR - filled)
    const where = project.of > 1 ? `, project ${project.number} of ${project.of}` : ''
    const percent = `${Math.floor(done * 100)} %`
    terminal.write(`\r\x1b[K${bar} ${percent}  ${rows.toLocaleString('en')} rows${where}`)
  }
  /** Removes the progress bar. */
  const end = () => {
    if (terminal.isTTY) terminal.write('\r\x1b[K')
  }
  /** Receives a line of the log, in JSON. */
  const write = (text: string) => {
    const line = JSON.parse(text) as Line
    if (line.msg === 'a page of a list') show(line)
    // The line of the list itself, which had begun with 200. The causes behind the sentence are for the log.
    else if (line.pages !== undefined && line.status === 200) reason = line.error?.split(CAUSE, 1)[0]
    else if (line.projects !== undefined) {
      end()
      terminal.write(`${line.msg}: ${line.projects.join(', ')}\n`)
    }
  }
  /** Why a list broke off, in a sentence; undefined unless one did. */
  const brokenBy = () => reason && `The list is not complete: ${reason}`
  return { write, end, brokenBy }
}
