// Connections to Procore for commands that ask it a question or two: a token, and /rest/v1.0/me.
import { type IssuedToken, LOGIN_CONNECT_MS, requestToken } from '../auth/request-token.ts'
import type { Config, ServiceAccount } from '../config/config.ts'
import { OriginPools } from '../http1/origin-pools.ts'
import { connector } from '../network/connector.ts'

/** One request and its whole response. Headers are flat: name, value, name, value, … */
export type Ask = (question: {
  readonly origin: string
  readonly method: string
  readonly path: string
  readonly headers: readonly string[]
  readonly body?: string
  readonly signal: AbortSignal
  readonly mostBytes: number
}) => Promise<{ readonly status: number; readonly text?: string | undefined }>

export interface ProcoreConnections {
  readonly ask: Ask
  /** Throws TokenFailure. */
  readonly requestToken: (account: ServiceAccount) => Promise<IssuedToken>
  readonly close: () => Promise<void>
}

/** Opens connections as `network` and `upstream` of the configuration say. */
export function connectToProcore({ network, upstream }: Config): ProcoreConnections {
  const timeoutMs = Math.min(upstream.connectTimeoutMs, LOGIN_CONNECT_MS)
  const pools = new OriginPools(connector(network, timeoutMs), timeoutMs)
  return {
    ask: ({ headers, ...question }) => pools.ask({ ...question, headers: [...headers] }),
    requestToken: (account) => requestToken(account, pools, new AbortController().signal),
    close: () => pools.destroy(),
  }
}
