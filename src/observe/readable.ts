// Turns the log's JSON lines into lines for a person at a terminal.

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

/** Control characters, including those of Latin-1, and characters that change the writing direction. */
const STEERS_A_TERMINAL = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g

/** The text with an escape for each character that could affect a terminal. */
export function printable(text: string): string {
  return text.replace(STEERS_A_TERMINAL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
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
