// Sends a call to Procore: takes a budget place, a token and a connection, judges the response, and sends again if
// that helps.
import { setTimeout as sleep } from 'node:timers/promises'
import type { LiveToken } from '../auth/token-source.ts'
import { ProxyError } from '../errors.ts'
import type { FileHostLimiter } from '../guards/file-hosts.ts'
import { errorCode, isConnectTimeout } from '../network/connection-error.ts'
import type { RetryReason } from '../observe/exchange.ts'
import { Attempt } from './attempt.ts'
import type { Budget, BudgetRequest, Reservation } from './budget.ts'
import { type Call, CallerGoneError, type UpstreamResponse } from './call.ts'
import { requestHeaders } from './headers.ts'
import { ResponseTimeoutError } from './problem.ts'
import { askedWaitMs, mayRetry, retryDelayMs } from './retry-policy.ts'
import type { Connection, Upstream } from './upstreams.ts'

const JITTER_MS = 250

const CONNECTION_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_SOCKET',
])

/** The state of one call between attempts. */
interface Progress {
  attempts: number
  /** The number of connections that failed before a response. */
  failures: number
  /** The token was renewed once because of a 401. */
  isRenewed: boolean
  /** Whether it has a place among the calls that an outage sends again; undefined until it needs one. */
  isToBeRetried?: boolean
}

/**
 * Sends a call until there is a response to return. Throws ProxyError, the connection's error, or CallerGoneError.
 * While a call waits for the budget or for a token, it holds no connection.
 */
export function send(call: Call): Promise<UpstreamResponse> {
  return call.upstream.lookUps === undefined ? sendNow(call) : sendToFileHost(call, call.upstream.lookUps)
}

/** Waits until the name of the file's host may be looked up. */
async function sendToFileHost(call: Call, lookUps: FileHostLimiter): Promise<UpstreamResponse> {
  const leave = await lookUps.enter(call.upstream.host, call.queueKey, call.departure)
  let hasAnswered = false
  try {
    const response = await sendNow(call)
    hasAnswered = true
    return response
  } finally {
    leave(hasAnswered)
  }
}

async function sendNow(call: Call): Promise<UpstreamResponse> {
  const { upstream, exchange, departure, queueKey } = call
  const { budget, tokens, pool } = upstream
  const progress: Progress = { attempts: 0, failures: 0, isRenewed: false }
  for (;;) {
    // A caller that has left must cause no look-up of a name, nor wait for a connection.
    if (departure.hasLeft) throw new CallerGoneError()
    progress.attempts++
    // Before the budget: a request that waits for a token holds no place in it.
    let token = tokens.current() ?? (await waitForToken(call))
    const request = budgetRequest(call)
    const reservation = budget && (budget.tryReserve(request) ?? (await waitForPlace(call, budget, request)))
    let attempt: Attempt | undefined
    try {
      if (!tokens.lives(token)) token = await waitForToken(call)
      const acquired = pool.acquire(queueKey, departure)
      attempt = begin(call, token, acquired instanceof Promise ? await acquired : acquired)
      await attempt.response
    } catch (error) {
      reservation?.left()
      if (attempt === undefined) throw error
      if (attempt.isSent) exchange.isInDoubt = true
      if (!(error instanceof TokenEndedError)) {
        await waitAfterFailure(call, progress, attempt, error as Error)
      }
      continue
    }
    exchange.upstreamMs = performance.now() - (exchange.sentAt ?? 0)
    if (attempt.status !== 503) upstream.retriedCalls = 0
    reservation?.answered(attempt.status, attempt.head)
    const isToBeSentAgain = sendsAgain(call, progress, attempt, token)
    if (isToBeSentAgain === false || !(await isToBeSentAgain)) return attempt
  }
}

/** What the call asks of its rate budget. */
function budgetRequest(call: Call): BudgetRequest {
  return {
    endpoint: endpointOf(call),
    queueKey: call.queueKey,
    caller: call.caller?.name ?? '',
    share: call.caller?.share,
    deadline: performance.now() + waitLeftMs(call),
  }
}

/** How long the call may still wait for the budget and as Procore asks, of `rateLimit.maxWait` in all. */
function waitLeftMs({ upstream, exchange }: Call): number {
  return upstream.rateLimit.maxWaitMs - exchange.queuedMs
}

async function waitForPlace(call: Call, budget: Budget, request: BudgetRequest): Promise<Reservation> {
  const since = performance.now()
  call.exchange.isQueued = true
  try {
    return await budget.reserve(request, call.departure.signal)
  } finally {
    call.exchange.isQueued = false
    call.exchange.queuedMs += performance.now() - since
  }
}

/** Identifies an endpoint that a 429 may hold back: method and path without query. */
function endpointOf({ method, path }: Call): string {
  const mark = path.indexOf('?')
  return `${method} ${mark === -1 ? path : path.slice(0, mark)}`
}

async function waitForToken(call: Call): Promise<LiveToken> {
  const since = performance.now()
  try {
    return await call.upstream.tokens.get(call.departure.signal)
  } finally {
    call.exchange.tokenMs += performance.now() - since
  }
}

/** Sends the request on this connection, which is released when the attempt is over. */
function begin(call: Call, token: LiveToken, connection: Connection): Attempt {
  const { upstream, departure, exchange, queueKey } = call
  const { pool, tokens } = upstream
  const body = call.body === null ? null : call.body.replay()
  if (body === undefined) {
    // It broke off while the request waited. Without it, another request would go up than the caller meant.
    pool.release(connection, queueKey)
    throw call.body?.errored ?? new CallerGoneError()
  }
  const attempt = new Attempt({
    responseTimeoutMs: upstream.settings.responseTimeoutMs,
    body,
    onSending: () => {
      // Invariant: when the first byte leaves, the caller is still connected and the token is valid.
      if (departure.hasLeft) throw new CallerGoneError()
      if (!tokens.lives(token)) throw new TokenEndedError()
      exchange.sentAt = performance.now()
      exchange.upstreamUrl = upstream.origin + call.path
      exchange.askedGzip = call.gzip
      call.onSending?.()
    },
    onInformation: call.onInformation,
    onDone: () => pool.release(connection, queueKey),
  })
  connection.attempt = attempt
  departure.whenLeft(() => attempt.abort(new CallerGoneError()))
  try {
    const headers = requestHeaders(call, token)
    connection.client.dispatch({ method: call.method as 'GET', path: call.path, headers, body }, attempt)
  } catch (error) {
    attempt.abort(error as Error)
  }
  return attempt
}

/** The token expired while the request waited for a connection. */
class TokenEndedError extends Error {}

/**
 * After a failed connection: waits before the next attempt if the request cannot be carried out twice; otherwise
 * throws.
 */
async function waitAfterFailure(
  call: Call,
  progress: Progress,
  attempt: Attempt,
  error: Error,
): Promise<void> {
  const { upstream, departure, method } = call
  if (departure.hasLeft || progress.failures >= upstream.settings.retries) throw error
  const timedOut = isConnectTimeout(error) || error instanceof ResponseTimeoutError
  const connection = CONNECTION_CODES.has(errorCode(error) ?? '')
  if (!mayRetry({ method, sent: attempt.isSent, timedOut, connection })) throw error
  if (!canReplay(call) || !hasRetries(upstream, progress)) throw error
  progress.failures++
  retried(call, 'connection')
  await sleep(retryDelayMs(progress.failures, Math.random()), undefined, { signal: departure.signal })
}

/** Waits as needed; true if the response was discarded and the call has to be sent again. */
function sendsAgain(
  call: Call,
  progress: Progress,
  response: Attempt,
  token: LiveToken,
): false | Promise<boolean> {
  switch (response.status) {
    case 401:
      return renewToken(call, progress, response, token)
    case 429:
    case 503:
      return waitAsAsked(call, progress, response)
    case 508:
      refuseLoop(response)
      return false
    default:
      return false
  }
}

/** Throws if the response is this proxy's own, whose headers are never passed on as if they were Procore's. */
function refuseLoop(response: Attempt): void {
  if (response.head['procore-proxy-error'] !== 'loop_detected') return
  response.discard()
  throw new ProxyError('loop_detected', 'The address of the API leads back to this proxy.')
}

/** After a 401: gets another token, once per call. False if there is none; the 401 is then passed to the caller. */
async function renewToken(
  call: Call,
  progress: Progress,
  response: Attempt,
  token: LiveToken,
): Promise<boolean> {
  if (progress.isRenewed) return false
  progress.isRenewed = true
  // Requested in any case, because the next call needs another token too.
  const replacement = call.upstream.tokens.replacement(token, call.departure.signal)
  if (replacement === undefined || !canReplay(call)) return false
  const since = performance.now()
  try {
    await replacement
  } catch {
    return false
  } finally {
    call.exchange.tokenMs += performance.now() - since
  }
  response.discard()
  retried(call, '401')
  return true
}

/** After a 429 or 503: waits as long as Procore asks. False if that takes too long or the call cannot be sent again. */
async function waitAsAsked(call: Call, progress: Progress, response: Attempt): Promise<boolean> {
  const { status, head } = response
  const { upstream, departure, exchange } = call
  if (upstream.budget === undefined || departure.hasLeft) return false
  if (status === 429 && upstream.rateLimit.whenExhausted !== 'wait') return false
  const asked = askedWaitMs(status, head, Date.now())
  // Never immediately, even if Procore asks for 0 s or names a reset in the past.
  const least = retryDelayMs(progress.attempts, Math.random())
  if (asked === undefined || Math.max(asked, least) + JITTER_MS > waitLeftMs(call)) return false
  // A 429 costs Procore nothing; a 503 is an outage, in which only so many calls are sent again.
  if (!canReplay(call) || (status === 503 && !hasRetries(upstream, progress))) return false
  response.discard()
  retried(call, status === 429 ? '429' : '503')
  // After a 429 the budget itself holds the call back for as long, and the call keeps its turn.
  const waitMs =
    status === 503 ? Math.max(asked, least) + Math.random() * JITTER_MS : asked < least ? least : 0
  const since = performance.now()
  if (waitMs > 0) await sleep(waitMs, undefined, { signal: departure.signal })
  exchange.queuedMs += performance.now() - since
  return true
}

/**
 * False if an outage has had so many calls sent again that more would only multiply it: more than have or await a connection
 * at once, so that a burst costs none its retries. A call that has any has all of them.
 */
function hasRetries(upstream: Upstream, progress: Progress): boolean {
  const { connections, maxQueued } = upstream.settings
  progress.isToBeRetried ??= upstream.retriedCalls++ < 100 + connections + maxQueued
  return progress.isToBeRetried
}

function canReplay({ body }: Call): boolean {
  return body === null || body.replay() !== undefined
}

function retried({ exchange }: Call, reason: RetryReason): void {
  exchange.retries++
  exchange.retryReasons ??= []
  exchange.retryReasons.push(reason)
}
