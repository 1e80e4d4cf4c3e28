// What befell requests and tokens, as plain numbers: the request path adds, the metrics page reads.
import type { TokenFailureReason } from '../auth/token-failure.ts'
import type { TokenEvent } from '../auth/token-source.ts'
import { ERROR_KINDS, ProxyError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { Tally } from './tally.ts'

/** What requests without a company count under: refused ones, and those for the proxy's own pages. Never a company's name. */
export const NO_COMPANY = '_proxy'

/** What befell the tokens of one account. */
export interface TokenTally {
  readonly account: string
  readonly environment: string
  issued: number
  readonly failed: Map<TokenFailureReason, number>
}

export class Counts {
  /** By the name that requests count under. */
  readonly tallies = new Map<string, Tally>()
  /** The proxy's own answers, by error code. */
  readonly refusals = new Map<string, number>(Object.keys(ERROR_KINDS).map((code) => [code, 0]))
  readonly tokens = new Map<string, TokenTally>()

  /** A request has ended. */
  add(exchange: Exchange): void {
    this.tally(exchange.group).add(exchange)
    const { error } = exchange
    if (error instanceof ProxyError)
      this.refusals.set(error.code, (this.refusals.get(error.code) as number) + 1)
  }

  /** What was counted of a company, by the name it counts under. */
  tally(group: string = NO_COMPANY): Tally {
    let tally = this.tallies.get(group)
    if (tally === undefined) {
      tally = new Tally()
      this.tallies.set(group, tally)
    }
    return tally
  }

  addToken(event: TokenEvent): void {
    const { name, environment } = event.account
    const key = `${name} ${environment.name}`
    let tally = this.tokens.get(key)
    if (tally === undefined) {
      tally = { account: name, environment: environment.name, issued: 0, failed: new Map() }
      this.tokens.set(key, tally)
    }
    if (event.type === 'issued') tally.issued++
    else tally.failed.set(event.failure.reason, (tally.failed.get(event.failure.reason) ?? 0) + 1)
  }
}
