// Sets up what replicas share; loaded only if `shared` is configured.
import { hash, randomBytes } from 'node:crypto'
import type { RequestToken } from '../auth/tokens.ts'
import type { Config, SharedSettings } from '../config/config.ts'
import type { OpenBudget } from '../forward/budgets.ts'
import { type LinkEvent, RedisLink } from './redis-link.ts'
import { SharedBudget } from './shared-budget.ts'
import { shareTokens } from './shared-tokens.ts'

/** A reservation outlives the longest wait for a response by this much. */
const HOLD_MARGIN_MS = 10_000

/** The part of a logger that is used. */
type Log = Record<'info' | 'warn', (fields: object, message: string) => void>

/** What replicas share. */
export type Shared = Awaited<ReturnType<typeof openShared>>

/**
 * Connects to Redis. Resolves when that has worked or failed, after about two seconds at the latest. Never rejects:
 * without Redis, each replica continues as `whenDown` says, and Redis is tried again in the background.
 */
export async function openShared(
  config: Pick<Config, 'upstream' | 'network'> & { readonly shared: SharedSettings },
  log: Log,
) {
  const { shared: settings, network, upstream } = config
  const { host } = new URL(settings.url.reveal())
  const replica = randomBytes(6).toString('base64url')
  const report = (event: LinkEvent) => reportTo(log, { ...settings, host }, event)
  const link = new RedisLink({ settings, certificates: network.certificates, replica, report })
  await link.start()
  return {
    /** Creates budgets, for `new Budgets(config, shared.openBudget)`. */
    openBudget: ((key, limits) => {
      const name = hash('sha256', key, 'base64url').slice(0, 22)
      const prefix = `${settings.prefix}:v1:{${name}}`
      const holdMs = upstream.responseTimeoutMs + HOLD_MARGIN_MS
      return new SharedBudget(limits, { link, prefix, replica, whenDown: settings.whenDown, holdMs })
    }) satisfies OpenBudget,
    /** Puts Redis before token requests, for `new Tokens(shared.shareTokens(request), …)`. */
    shareTokens: (request: RequestToken) => shareTokens(request, { link, prefix: settings.prefix, replica }),
    /** For metrics and status: whether Redis works, and how often each kind of error occurred. */
    state: () => ({ isUp: link.isUp, errors: link.errors }),
    /** Ends the connection, as the last thing of a drain. */
    close: () => link.close(),
  }
}

const GOES_ON = {
  split: 'each replica uses its part of the last known rate budget',
  local: 'each replica uses the rate budget as if it were alone',
  reject: 'requests are refused',
} as const

function reportTo(log: Log, { host, whenDown }: SharedSettings & { host: string }, event: LinkEvent): void {
  if (event.type === 'up') {
    log.info(
      { host, downMs: Math.round(event.downMs) },
      'Redis is back: replicas share the rate budget again',
    )
    return
  }
  const { reason, cause } = event.error
  const detail = cause instanceof Error ? cause.message : undefined
  log.warn(
    { host, reason, detail },
    `Redis cannot be used (${reason}): ${GOES_ON[whenDown]} until it is back`,
  )
}
