// The log: pino's JSON for machines, readable lines for people, and one line for each request.
import type { Writable } from 'node:stream'
import { type DestinationStream, type Logger, type LoggerOptions, pino, stdTimeFunctions } from 'pino'
import { listenText } from '../config/addresses.ts'
import type { LogSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { maskQuery, printable, printableLines } from './mask.ts'

export type { Logger } from 'pino'

/** The longest that a line waits for others. */
const LONGEST_WAIT_MS = 100
/** A batch is written once it has this many characters. */
const BATCH_CHARACTERS = 64 * 1024
/** How many bytes may wait for a slow reader. Further lines are lost. */
const MOST_WAITING_BYTES = 1024 * 1024

/** The part of `process.stdout` that is used. */
export type LogStream = Pick<Writable, 'write' | 'writableLength' | 'on'> & { readonly isTTY?: boolean }

/** Those with lines that wait. One listener for all, because a program may make many logs. */
const unwritten = new Set<LogOutput>()
process.on('exit', () => {
  for (const output of unwritten) output.flushSync()
})

/**
 * A destination for pino that never ends the process and never fills its memory. pino's own destination waits forever
 * at exit if a pipe is not read or the disk is full.
 */
export class LogOutput {
  readonly #stream: LogStream
  #lines: string[] = []
  #characters = 0
  #timer: NodeJS.Timeout | undefined
  readonly isTTY: boolean
  /** Lines that could not be written since the start. */
  lost = 0
  /** How many of the lost lines have been reported. */
  #reported = 0
  /** The last write failed, so that the output may end in the middle of a line. */
  #isTorn = false
  /** Called with the number of lines that were lost, once lines can be written again. */
  onLost: (lines: number) => void = () => {}

  constructor(stream: LogStream) {
    this.#stream = stream
    this.isTTY = stream.isTTY === true
    // Without a listener, the error of a closed pipe or a full disk would end the process.
    stream.on('error', () => {})
  }

  write(line: string): void {
    this.#lines.push(line)
    this.#characters += line.length
    if (this.isTTY || this.#characters >= BATCH_CHARACTERS) this.flushSync()
    else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.flushSync(), LONGEST_WAIT_MS)
      this.#timer.unref()
      unwritten.add(this)
    }
  }

  /** Writes everything that waits. pino also calls this for a fatal line. */
  flushSync(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const lines = this.#lines
    if (lines.length === 0) return
    this.#lines = []
    unwritten.delete(this)
    this.#characters = 0
    if (this.#stream.writableLength > MOST_WAITING_BYTES) {
      this.lost += lines.length
      return
    }
    const text = (this.#isTorn ? '\n' : '') + lines.join('')
    this.#stream.write(text, (error) => {
      this.#isTorn = error != null
      if (error) this.lost += lines.length
      else if (this.lost > this.#reported) {
        const lines = this.lost - this.#reported
        this.#reported = this.lost
        this.onLost(lines)
      }
    })
  }

  /** Resolves once the reader has taken everything, or after `ms`. */
  async finish(ms: number): Promise<void> {
    this.flushSync()
    const end = performance.now() + ms
    while (this.#stream.writableLength > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/**
 * Creates the log, on standard output by default. `format: auto` is readable on a terminal and JSON elsewhere.
 * `conceal` hides known secrets in each line.
 */
export function createLogger(
  settings: LogSettings,
  output: DestinationStream & { isTTY?: boolean; flushSync?: () => void } = new LogOutput(process.stdout),
  conceal: (text: string) => string = (text) => text,
): Logger {
  const isReadable = settings.format === 'readable' || (settings.format === 'auto' && output.isTTY === true)
  const destination = {
    write: (line: string) =>
      output.write(isReadable ? conceal(readableLine(line)) : printableLines(conceal(line))),
    flushSync: () => output.flushSync?.(),
  }
  const options: LoggerOptions = {
    level: settings.level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // Errors of Node and undici may contain requests and headers, so only their messages and codes are logged.
    serializers: { error: errorText },
  }
  const log = pino(options, destination)
  if (output instanceof LogOutput) {
    output.onLost = (lines) =>
      log.warn({ lines }, 'log lines were lost: the output was not read in time, was closed, or was full')
  }
  return log
}

/** What precedes the cause of an error whose message is a sentence. */
export const CAUSE = ' Cause: '

/**
 * The messages and codes of an error and its causes, each once; never its other properties, which may contain headers. The
 * message of a ProxyError explains its code.
 */
export function errorText(error: unknown): string {
  let all = ''
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 5; depth++) {
    const message = messageOf(at)
    if (all === '') all = message
    else if (!all.includes(message)) all += `${all.endsWith('.') ? CAUSE : ': '}${message}`
    if (!(at instanceof Error)) break
    const { code } = at as NodeJS.ErrnoException
    const isExplained = at instanceof ProxyError || typeof code !== 'string' || all.includes(code)
    if (!isExplained) all += ` (${code})`
    at = at.cause
  }
  return all
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name
  return /object|function/.test(typeof error) ? `not an Error (${typeof error})` : String(error)
}

/** Machines request these every few seconds. */
const PROBE = /\/_proxy\/(?:health\/(?:live|ready)|metrics)(?:\?|$)/

/**
 * Writes the line of a request that has ended: as a warning if the proxy refused the request or broke it off. Query
 * values are masked. Level `debug` adds how it was treated.
 */
export function logExchange(log: Logger, exchange: Exchange): void {
  const { cause, own } = exchange
  const isFailure = cause !== undefined && cause !== 'caller_gone'
  const level = isFailure ? 'warn' : own && PROBE.test(exchange.target) ? 'debug' : 'info'
  if (!log.isLevelEnabled(level)) return
  const { upstreamMs, pages } = exchange
  log[level](
    {
      reqId: exchange.reqId,
      method: exchange.method,
      path: maskQuery(exchange.target),
      company: exchange.company,
      caller: exchange.caller,
      status: exchange.status,
      durationMs: tenths(exchange.durationMs),
      upstreamMs: upstreamMs === undefined ? undefined : tenths(upstreamMs),
      bytesIn: exchange.bytesIn,
      bytesOut: exchange.bytesOut,
      retries: exchange.retries,
      pages: pages === 0 ? undefined : pages,
      cache: exchange.cacheStatus,
      cause,
      error: exchange.error,
      procoreCause: exchange.refusal?.cause,
      ...(log.isLevelEnabled('debug') && treatment(exchange)),
    },
    'request',
  )
}

function treatment({ listener, why, queuedMs, tokenMs, retryReasons, upstreamUrl }: Exchange): object {
  return {
    listener: listener && listenText(listener),
    companyChosenBy: why,
    queuedMs: queuedMs === 0 ? undefined : tenths(queuedMs),
    tokenMs: tokenMs === 0 ? undefined : tenths(tokenMs),
    retryReasons,
    upstreamUrl: upstreamUrl && maskQuery(upstreamUrl),
  }
}

/** Milliseconds to a tenth. */
export function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** One JSON line as `HH:MM:SS LEVEL message key=value …`. A line that is not JSON is returned unchanged. */
export function readableLine(line: string): string {
  let record: Record<string, unknown>
  try {
    record = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line
  }
  const { time, level, msg, ...fields } = record
  const clock = typeof time === 'string' ? time.slice(11, 19) : ''
  const message = msg === 'request' ? requestText(fields) : String(msg ?? '')
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${fieldText(value)}`)
  return `${printable([clock, String(level).toUpperCase().padEnd(5), message, ...rest].join(' '))}\n`
}

/** `GET /rest/v1.0/me 200 12ms`; removes from `fields` what it says. */
function requestText(fields: Record<string, unknown>): string {
  const { method, path, status, durationMs } = fields
  for (const key of ['method', 'path', 'status', 'durationMs', 'reqId']) delete fields[key]
  for (const key of ['retries', 'bytesIn', 'bytesOut']) if (fields[key] === 0) delete fields[key]
  return `${method} ${path} ${status} ${durationMs}ms`
}

function fieldText(value: unknown): string {
  const plain = typeof value === 'string' ? value : JSON.stringify(value)
  return /^[^\s"]+$/.test(plain) ? plain : JSON.stringify(value)
}
