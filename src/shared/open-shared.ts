// Sets up what replicas share; loaded only if `shared` is configured.
import { hash } from 'node:crypto'
import type { RequestToken } from '../auth/token-source.ts'
import type { Config, SharedSettings } from '../config/config.ts'
import type { OpenBudget } from '../forward/budgets.ts'
import { type Log, PATIENCE_MS, RedisLink } from './redis-link.ts'
import { SharedBudget } from './shared-budget.ts'
import { shareTokens } from './shared-tokens.ts'

/** A reservation outlives the longest wait for a response by this much. */
const HOLD_MARGIN_MS = 10_000
const RETRY_MS = 1_000

/** What replicas share. */
export type Shared = Awaited<ReturnType<typeof openShared>>

/**
 * Connects to Redis. Resolves when that has worked or failed, after about three seconds at the latest. Never rejects:
 * without Redis, each replica continues as `whenDown` says, and Redis is tried again in the background.
 */
export async function openShared(
  { upstream, network, shared: settings }: Pick<Config, 'upstream' | 'network'> & { shared: SharedSettings },
  log: Log,
) {
  const { certificates } = network
  const link = new RedisLink({ settings, certificates, log, retryMs: RETRY_MS })
  await link.connect(PATIENCE_MS)
  let longestWaitMs = upstream.responseTimeoutMs
  return {
    /** Creates budgets, for `new Budgets(config, shared.openBudget)`. */
    openBudget: ((key, limits) => {
      const name = hash('sha256', key, 'base64url').slice(0, 22)
      const holdMs = () => longestWaitMs + HOLD_MARGIN_MS
      return new SharedBudget(limits, { link, name, whenDown: settings.whenDown, holdMs })
    }) satisfies OpenBudget,
    /** Applies a reloaded configuration. `shared` itself does not change before a restart. */
    configure: (next: Pick<Config, 'upstream'>) => {
      longestWaitMs = next.upstream.responseTimeoutMs
    },
    /** Puts Redis before token requests, for `new Tokens(shared.shareTokens(request), …)`. */
    shareTokens: (request: RequestToken) => shareTokens(request, link),
    /** For metrics and status: whether Redis works, and how often each kind of error occurred. */
    state: () => ({ up: link.isUp, errors: Object.fromEntries(link.errors) }),
    /** Ends the connection, as the last thing of a drain. */
    close: () => link.close(),
  }
}
