// Connects to Procore for commands that make one or two requests: a token, and /rest/v1.0/me.
import { type IssuedToken, LOGIN_CONNECT_MS, requestToken } from '../auth/request-token.ts'
import type { Config, ServiceAccount } from '../config/config.ts'
import { type Ask, createAsker } from '../network/ask.ts'

export type { Ask }

export interface ProcoreConnections {
  readonly ask: Ask
  /** Throws TokenFailure. */
  readonly requestToken: (account: ServiceAccount) => Promise<IssuedToken>
  readonly close: () => Promise<void>
}

/** Opens connections as `network` and `upstream` of the configuration say. */
export function connectToProcore({ network, upstream }: Config): ProcoreConnections {
  const { ask, destroy } = createAsker(network, Math.min(upstream.connectTimeoutMs, LOGIN_CONNECT_MS))
  return {
    ask,
    requestToken: (account) => requestToken(account, ask, new AbortController().signal),
    close: destroy,
  }
}
