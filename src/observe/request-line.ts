// The log line of a request that went well, as pino would write it: it looks up and escapes each key and value of each line.
import type { Exchange } from './exchange.ts'
import { maskQuery } from './mask.ts'

/** What a line holds that nothing has to be done for. */
const PLAIN = /^[ !#-[\]-~]*$/

export class RequestLine {
  readonly #exchange: Exchange

  /** Of an exchange without `cause`, `error` and `trace`, at level info. */
  constructor(exchange: Exchange) {
    this.#exchange = exchange
  }

  /** With its line end; `time` is pino's own piece of it, with its comma. */
  text(time: string, message: string): string {
    const { reqId, method, target, company, status, durationMs, upstreamMs, bytesIn, bytesOut, retries } =
      this.#exchange
    const named = company === undefined ? '' : `,"company":${quoted(company)}`
    const upstream = upstreamMs === undefined ? '' : `,"upstreamMs":${tenths(upstreamMs)}`
    return `{"level":"info"${time},"reqId":${quoted(reqId)},"method":${quoted(method)},"path":${quoted(maskQuery(target))}${named},"status":${status},"durationMs":${tenths(durationMs)}${upstream},"bytesIn":${bytesIn},"bytesOut":${bytesOut},"retries":${retries},"msg":"${message}"}\n`
  }
}

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}

/** Milliseconds, to a tenth; of whole numbers, which are written faster. */
function tenths(ms: number): string {
  const all = Math.round(ms * 10)
  const whole = Math.floor(all / 10)
  const rest = all - whole * 10
  return rest === 0 ? `${whole}` : `${whole}.${rest}`
}
