// Turns the log's JSON lines into lines for a person at a terminal.
import type { DestinationStream } from 'pino'

/** Wraps an output: takes pino's JSON lines, writes `HH:MM:SS LEVEL message key=value …`. */
export function readableStream(output: DestinationStream): DestinationStream {
  return { write: (line) => output.write(readableLine(line)) }
}

/** One JSON line as a readable one; a line that is no JSON comes back as it is. */
export function readableLine(line: string): string {
  let record: Record<string, unknown>
  try {
    record = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line
  }
  const { time, level, msg, ...fields } = record
  const clock = typeof time === 'string' ? time.slice(11, 19) : ''
  const said = msg === 'request' ? requestText(fields) : String(msg ?? '')
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${text(value)}`)
  const words = [clock, String(level).toUpperCase().padEnd(5), said, ...rest].join(' ')
  return `${printable(words)}\n`
}

/** Control characters (also those of Latin-1) and what turns the direction of writing: a path may hold them. */
const STEERS_A_TERMINAL = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g

/** The text with nothing in it that could steer a terminal. */
export function printable(text: string): string {
  return text.replace(STEERS_A_TERMINAL, escaped)
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** `GET /rest/v1.0/me 200 12ms`; takes what it says out of `fields`. */
function requestText(fields: Record<string, unknown>): string {
  const { method, path, status, durationMs } = fields
  for (const key of ['method', 'path', 'status', 'durationMs', 'reqId']) delete fields[key]
  for (const key of ['retries', 'bytesIn', 'bytesOut']) if (fields[key] === 0) delete fields[key]
  return `${method} ${path} ${status} ${durationMs}ms`
}

function text(value: unknown): string {
  const plain = typeof value === 'string' ? value : JSON.stringify(value)
  return /^[^\s"]+$/.test(plain) ? plain : JSON.stringify(value)
}
