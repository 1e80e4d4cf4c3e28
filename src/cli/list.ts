// The command `list`: writes a whole list of the API to a file or to standard output, without a running proxy.
import { constants, createWriteStream } from 'node:fs'
import { access, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { planBody } from '../forward/headers.ts'
import { transformed } from '../forward/response-body.ts'
import { PageRefusedError } from '../lists/pages.ts'
import { CAUSE, createLogger, errorText } from '../observe/log.ts'
import { KnownSecrets } from '../observe/mask.ts'
import type { ListWatcher } from '../server/lists.ts'
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
  // Two commands that write to the same file must not mix their lists.
  const part = output === undefined ? undefined : `${output}.${process.pid}.part`
  // A signal breaks the list off, so that no files are left behind. A second one ends the process at once.
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => stop.abort(new Error(`it was stopped by ${signal}`)))
  const progress = listProgress(process.stderr)
  const failure = await writeList(ownConfig(config), `${prefix}/_proxy/${format}${route}`, {
    stop,
    watcher: progress,
    output: () => (part === undefined ? progress.beside(process.stdout) : createWriteStream(part)),
  }).finally(progress.end)
  if (failure !== undefined) {
    // If it cannot be removed, the failure is what matters.
    if (part !== undefined) await rm(part, { force: true }).catch(() => {})
    throw new CommandError(failure)
  }
  if (part !== undefined && output !== undefined) {
    await rename(part, output).catch(({ code }: NodeJS.ErrnoException) => {
      throw new CommandError(`${output} cannot be written (${code}). The list is in ${part}.`)
    })
  }
  const missing = progress.missing()
  if (missing === 0) return
  throw new CommandError(
    `${missing} ${missing === 1 ? 'project is' : 'projects are'} not in the list: Procore or the rules refused them`,
  )
}

/** The configuration for this process itself: it needs no key, and its reads are not audited. */
function ownConfig(config: Config): Config {
  return {
    ...config,
    guard: { ...config.guard, requireHeader: false, clientKeys: [] },
    callers: [],
    audit: undefined,
  }
}

interface WriteOptions {
  /** Breaks the list off. */
  readonly stop: AbortController
  readonly watcher: ListWatcher
  /** Called once the list has begun. */
  readonly output: () => Writable
}

/** Writes the list at a URL of the proxy. Returns why it is missing or broke off; undefined if it is complete. */
async function writeList(config: Config, url: string, { stop, watcher, output }: WriteOptions) {
  const { signal } = stop
  const secrets = new KnownSecrets()
  const log = createLogger({ level: 'silent', format: 'json' })
  const server = await buildServer(config, { log, secrets })
  let text: Readable | undefined
  try {
    text = await server.readList(url, { signal, watcher })
    // What cannot be written is not waited for.
    const written = output().once('error', (error) => stop.abort(error))
    await pipeline(text, written, { signal })
    return undefined
  } catch (error) {
    if (text === undefined && !signal.aborted) return secrets.conceal(await refusalText(error as Error))
    return `The list is not complete: ${reasonOf(signal.aborted ? signal.reason : error)}`
  } finally {
    await server.drain()
  }
}

/** In a sentence. The causes behind that of a ProxyError are for logs. */
function reasonOf(error: Error): string {
  return error instanceof ProxyError ? errorText(error).split(CAUSE, 1)[0]! : `${error.message}.`
}

/** Enough of an error response. */
const MOST_ERROR_TEXT = 500

/** Why there is no list at all, and what to do about it. */
async function refusalText(error: Error): Promise<string> {
  if (error instanceof PageRefusedError) {
    const { response } = error
    const plan = planBody(response.status, response.head, { unpack: true, replace: undefined })
    const pieces: Buffer[] = []
    const source = plan === undefined ? response : transformed(response, plan)
    // The beginning of a body that breaks off says enough.
    await source.pipe((piece) => pieces.push(piece) > 0).catch(() => {})
    const body = Buffer.concat(pieces).toString()
    const isCut = body.length > MOST_ERROR_TEXT
    return `Procore answered ${response.status}: ${body.slice(0, MOST_ERROR_TEXT)}${isCut ? '…' : ''}`
  }
  const { help } = error as ProxyError
  // On a command line there is no header, and nothing keeps trying.
  const advice = help?.includes('Retry-After') ? 'Try again later.' : help
  return [error.message, advice].filter(Boolean).join(' ')
}

type PageProgress = Parameters<ListWatcher['page']>[0]

const BAR = 30

/** Shows the progress on a terminal, and the projects that are missing anywhere. */
export function listProgress(terminal: NodeJS.WriteStream) {
  let rows = 0
  let before = 0
  let current = 0
  let missing = 0
  let isShown = false
  /** Whether a row that is not at its end is where the bar would be. */
  let isMidLine = false
  /** Removes the progress bar. */
  const end = () => {
    if (isShown) terminal.write('\r\x1b[K')
    isShown = false
  }
  return {
    page({ received, total, project = { number: 1, of: 1 } }: PageProgress): void {
      if (project.number !== current) before = rows
      current = project.number
      rows = before + received
      if (!terminal.isTTY || isMidLine) return
      isShown = true
      const share = total ? Math.min(1, received / total) : 0
      const done = (project.number - 1 + share) / project.of
      const filled = Math.round(done * BAR)
      const bar = '█'.repeat(filled) + '░'.repeat(BAR - filled)
      const where = project.of > 1 ? `, project ${project.number} of ${project.of}` : ''
      const percent = `${Math.floor(done * 100)} %`
      terminal.write(`\r\x1b[K${bar} ${percent}  ${rows.toLocaleString('en')} rows${where}`)
    },
    passedOver(count: number, projects: readonly string[]): void {
      missing = count
      end()
      terminal.write(`projects were passed over in a list: ${projects.join(', ')}\n`)
    },
    /**
     * Standard output, whose rows and the bar take turns on one terminal. It is a stream of its own, because the list
     * destroys what it is written to if it breaks off.
     */
    beside(stdout: NodeJS.WriteStream): Writable {
      return new Writable({
        write(piece: Buffer, _encoding, done) {
          if (stdout.isTTY) {
            end()
            isMidLine = piece.at(-1) !== 0x0a
          }
          stdout.write(piece, done)
        },
      })
    },
    end,
    /** How many projects are missing. */
    missing: () => missing,
  }
}
