// The log: pino, JSON for machines and one readable line for people; one line a request.
import { type DestinationStream, type Logger, pino } from 'pino'
import type { LogSettings } from '../config/config.ts'
import type { Exchange } from './exchange.ts'
import { maskQuery } from './mask.ts'
import { readableStream } from './readable.ts'
import { RequestLine } from './request-line.ts'

export type { Logger } from 'pino'

type AsJson = (
  this: unknown,
  fields: object,
  message: string | undefined,
  level: number,
  time: string,
) => string

/** A logger to standard output; `auto` is readable on a terminal and JSON elsewhere. */
export function createLogger(
  settings: LogSettings,
  output: DestinationStream & { isTTY?: boolean } = process.stdout,
): Logger {
  const readable = settings.format === 'readable' || (settings.format === 'auto' && output.isTTY === true)
  const log = pino(
    {
      level: settings.level,
      base: null,
      timestamp: isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Error objects of Node and undici may carry requests and headers: only what they say and where goes out.
      serializers: { error: errorText },
    },
    readable ? readableStream(output) : output,
  )
  // pino's way in for those who make lines of their own.
  const lines = log as unknown as { [pino.symbols.asJsonSym]: AsJson }
  const asJson = lines[pino.symbols.asJsonSym]
  lines[pino.symbols.asJsonSym] = function (fields, message, level, time) {
    return fields instanceof RequestLine
      ? fields.text(time, message as string)
      : asJson.call(this, fields, message, level, time)
  }
  return log
}

let second = -1
let upToSecond = ''

/** pino's own `isoTime`, but a date is made of it once a second. */
function isoTime(): string {
  const now = Date.now()
  const current = Math.floor(now / 1000)
  if (current !== second) {
    second = current
    upToSecond = `,"time":"${new Date(current * 1000).toISOString().slice(0, 20)}`
  }
  return `${upToSecond}${String(now - current * 1000).padStart(3, '0')}Z"`
}

/** An error's chain of messages; never its other properties, which may hold headers. */
export function errorText(error: unknown): string {
  const messages: string[] = []
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 5; depth++) {
    if (!(at instanceof Error)) {
      messages.push(
        typeof at === 'object' || typeof at === 'function' ? `not an Error (${typeof at})` : String(at),
      )
      break
    }
    const code = (at as NodeJS.ErrnoException).code
    const text = at.message || at.name
    messages.push(typeof code === 'string' && !text.includes(code) ? `${text} (${code})` : text)
    at = at.cause
  }
  return messages.join(': ')
}

/** Writes the line of a request that has ended. Query values are masked. */
export function logExchange(log: Logger, exchange: Exchange): void {
  const level = exchange.cause === undefined || exchange.cause === 'caller_gone' ? 'info' : 'warn'
  if (!log.isLevelEnabled(level)) return
  // Nothing went wrong: the same line, at a third of the cost. Not for a child logger, which may say more or other things.
  if (
    exchange.cause === undefined &&
    exchange.trace === undefined &&
    Object.hasOwn(log, pino.symbols.asJsonSym)
  ) {
    log.info(new RequestLine(exchange), 'request')
    return
  }
  log[level](
    {
      reqId: exchange.reqId,
      method: exchange.method,
      path: maskQuery(exchange.target),
      company: exchange.company,
      status: exchange.status,
      durationMs: tenths(exchange.durationMs),
      upstreamMs: exchange.upstreamMs === undefined ? undefined : tenths(exchange.upstreamMs),
      bytesIn: exchange.bytesIn,
      bytesOut: exchange.bytesOut,
      retries: exchange.retries,
      traceId: exchange.trace?.server.traceId,
      cause: exchange.cause,
      error: exchange.error,
    },
    'request',
  )
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}
