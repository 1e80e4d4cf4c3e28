// A rate budget that all replicas of one service account and company share through Redis.
import { hash } from 'node:crypto'
import type { RateLimitSettings, SharedSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { Budget, type BudgetRequest, type Reservation } from '../forward/budget.ts'
import type { RateReading } from '../forward/rate-windows.ts'
import { rateLimited, refusalOf, type Waiter } from '../forward/waiting-line.ts'
import { RESERVE, SETTLE } from './budget-scripts.ts'
import type { Link } from './redis-link.ts'

interface SharedBudgetOptions {
  readonly link: Link
  /** The budget's name in Redis. */
  readonly name: string
  readonly whenDown: SharedSettings['whenDown']
  /** A reservation ends by itself after this time, in case its replica dies. */
  readonly holdMs: () => number
}

/** The most requests that one script reserves at a time. */
const BATCH = 32
/** If other replicas go first, or responses are in flight, Redis is asked again after this time, which doubles. */
const POLL_MS = 25
/** Must be less than the time for which Redis keeps a replica's turn. */
const LONGEST_POLL_MS = 200
/** While requests wait, this is how often we check whether Redis is down or back. */
const LONGEST_SLEEP_MS = 1_000
/** Procore has no such limit, and Lua could not write it down. */
const HIGHEST_LIMIT = 1e9

let reservations = 0

/**
 * While Redis works, it decides which requests may be sent. What this replica learns from responses itself is for the
 * time when Redis does not answer: it is then a budget of its own.
 */
export class SharedBudget extends Budget {
  readonly #options: SharedBudgetOptions
  /** Callers that have used up their share: until when. */
  readonly #heldCallers = new Map<string, number>()
  /** Reservations that Redis may still hold, although they have ended. */
  readonly #owed = new Set<string>()
  #wasUp = false
  #isAsking = false
  /** Redis let some requests wait the last time. */
  #isShort = false
  /** Redis lets no request go until then, because the whole budget is used up. */
  #usedUpUntil = 0
  /** The same, also if no request has asked since. */
  #exhaustedUntil = 0
  #pollMs = POLL_MS
  #replicas = 1
  /** Redis's clock minus the monotonic one; undefined before the first reply. */
  #redisAheadMs: number | undefined
  /** The window that Redis shows, and when it resets. */
  #shown: { limit: number; remaining: number; resetsAt: number | undefined } | undefined

  constructor(settings: RateLimitSettings, options: SharedBudgetOptions) {
    super(settings)
    this.#options = options
  }

  /** Whether Redis decides. The first check after it went or came back also handles the change. */
  #isShared(): boolean {
    const { isUp } = this.#options.link
    if (isUp !== this.#wasUp) {
      this.#wasUp = isUp
      if (isUp) this.#tellRedis()
      else this.#goAlone()
    }
    return isUp && this.settings.whenExhausted !== 'pass'
  }

  #isRefusing(): boolean {
    const { whenExhausted } = this.settings
    return !this.#isShared() && this.#options.whenDown === 'reject' && whenExhausted !== 'pass'
  }

  override get isExhausted(): boolean {
    return this.#options.link.isUp ? this.now() < this.#exhaustedUntil : super.isExhausted
  }

  override state() {
    return { ...super.state(), ...(this.#options.link.isUp && this.#newest()) }
  }

  /** Redis has to be asked, so nothing can be sent immediately, unless the budget does not apply or Redis is down. */
  override tryReserve(request: BudgetRequest): Reservation | undefined {
    return this.#isShared() || this.#isRefusing() ? undefined : super.tryReserve(request)
  }

  override reserve(request: BudgetRequest, signal: AbortSignal): Promise<Reservation> {
    return this.#isRefusing() ? Promise.reject(unreachable()) : super.reserve(request, signal)
  }

  protected override joined(waitMs: number): void {
    super.joined(waitMs)
    if (this.#isShared()) void this.#askRedis()
    else this.wakeIn(LONGEST_SLEEP_MS)
  }

  /** Every request waits for Redis; that counts only once Redis lets some of them wait. */
  protected override queuedFor(waitMs: number): number {
    return waitMs > 0 || this.#isShort || !this.#options.link.isUp ? this.line.size : 0
  }

  /** According to Redis's last reply, if Redis works; 0 if it has to be asked. */
  protected override waitFor(request: BudgetRequest, now = this.now()): number {
    if (!this.#isShared()) return super.waitFor(request, now)
    const until = Math.max(this.#usedUpUntil, this.#heldCallers.get(request.caller) ?? 0)
    return Math.max(0, until - now, this.endpoints.waitFor(request.endpoint, now))
  }

  protected override pump(): void {
    if (this.#isShared()) void this.#askRedis()
    else {
      super.pump()
      if (this.line.size > 0 || this.#owed.size > 0) this.wakeIn(LONGEST_SLEEP_MS)
    }
  }

  /** Asks Redis on behalf of the waiting requests, until it says when to ask again. */
  async #askRedis(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    let pauseMs = 0
    try {
      while (this.line.size > 0 && pauseMs === 0 && this.#isShared()) {
        const now = this.now()
        const wanted = this.line.next(BATCH, ({ request }) => this.waitFor(request, now) === 0)
        if (wanted.length > 0) pauseMs = await this.#ask(wanted)
        else {
          pauseMs = Number.POSITIVE_INFINITY
          for (const { request } of this.line) pauseMs = Math.min(pauseMs, this.waitFor(request, now))
        }
      }
    } catch {
      // The link has already counted and reported it.
      pauseMs = LONGEST_POLL_MS
    } finally {
      this.#isAsking = false
    }
    this.stopWake()
    if (!this.#isShared()) this.pump()
    else if (this.line.size > 0) this.wakeIn(Math.min(LONGEST_SLEEP_MS, pauseMs))
  }

  /** Reserves for these requests; returns the ms to wait before Redis is asked again. */
  async #ask(wanted: readonly Waiter[]): Promise<number> {
    const { link, name, holdMs } = this.#options
    const batch = wanted.map((waiter) => ({ waiter, id: `${++reservations}.${nameInRedis(waiter.request)}` }))
    const items = batch.flatMap(({ waiter: { request }, id }) => [id, request.share ?? ''])
    const reply = await link.run<number[]>(RESERVE, name, [holdMs(), ...items]).catch((error: unknown) => {
      for (const { id } of batch) this.#owed.add(id)
      throw error
    })
    const [waitMs = 0, ...results] = this.#remember(reply)
    for (const [nth, { waiter, id }] of batch.entries()) {
      const result = results[nth] ?? 0
      const { caller, queueKey } = waiter.request
      if (result < 0) this.#heldCallers.set(caller, this.now() - result)
      if (result !== 1) continue
      this.#heldCallers.delete(caller)
      this.line.yieldTurn(queueKey)
      if (waiter.isWaiting) waiter.go(this.reserved(waiter.request, id))
      else this.#settle([id])
    }
    this.#isShort = waitMs !== 0
    if (waitMs > 0) {
      this.#usedUpUntil = this.now() + waitMs
      this.#refuseHopeless()
    }
    this.#pollMs = results.includes(1) || waitMs >= 0 ? POLL_MS : Math.min(LONGEST_POLL_MS, this.#pollMs * 2)
    return waitMs < 0 ? this.#pollMs * (0.75 + Math.random() / 4) : waitMs
  }

  /** The whole budget is used up, so requests that cannot wait that long are refused. */
  #refuseHopeless(): void {
    for (const waiter of [...this.line]) {
      const waitMs = this.waitFor(waiter.request)
      const refusal = refusalOf(waiter.request, { waitMs, waiting: 0, settings: this.settings })
      // The first look at the link may have released it.
      if (refusal !== undefined && waiter.isWaiting) waiter.fail(rateLimited(refusal, waitMs))
    }
  }

  /** Stores the common beginning of each reply and returns the rest. */
  #remember(reply: number[]): number[] {
    const [redisNow = 0, replicas = 1, usedUpMs = 0, limit = -1, remaining = 0, resetIn = -1, ...rest] = reply
    this.#redisAheadMs = redisNow - performance.now()
    this.#exhaustedUntil = this.now() + usedUpMs
    this.#replicas = Math.max(1, replicas)
    const resetsAt = resetIn < 0 ? undefined : this.now() + resetIn
    this.#shown = limit < 0 ? undefined : { limit, remaining, resetsAt }
    return rest
  }

  /** Redis's last reply. */
  #newest(): RateReading | undefined {
    if (this.#shown === undefined) return undefined
    const { limit, remaining, resetsAt } = this.#shown
    return { limit, remaining, resetInMs: resetsAt && Math.max(0, resetsAt - this.now()) }
  }

  /** Redis may know more than this replica, from the responses to others. */
  override readings(): RateReading[] {
    const newest = this.#options.link.isUp ? this.#newest() : undefined
    return newest === undefined ? super.readings() : [...super.readings(), newest]
  }

  /** `id`: what Redis calls the reservation, with its caller; undefined if it was not asked. */
  protected override reserved(request: BudgetRequest, id?: string): Reservation {
    const { endpoint } = request
    const ids = id === undefined ? [] : [id]
    const flight = this.windows.take(request, this.now())
    return {
      answered: (status, head) => {
        // This machine's clock is not used, because it may be wrong.
        const redisNow = this.#redisAheadMs && performance.now() + this.#redisAheadMs
        const { reading, usedUpMs } = this.learn(endpoint, status, head, flight.at, redisNow)
        this.windows.release(flight)
        const known = reading !== undefined && reading.limit < HIGHEST_LIMIT ? reading : undefined
        const values = [known?.limit, known?.remaining, known?.resetInMs, usedUpMs]
        this.#settle(ids, [...values.map((value) => (value === undefined ? '' : Math.ceil(value))), 1])
      },
      left: () => {
        this.windows.release(flight)
        this.#settle(ids)
      },
    }
  }

  /** Ends reservations, with the response to the first one if there is one. `learned`: see the script. */
  #settle(ids: readonly string[], learned: readonly (string | number)[] = ['', '', '', '', 0]): void {
    const { link, name, holdMs } = this.#options
    const [id = '', ...others] = ids
    for (const each of ids) this.#owed.add(each)
    if (!link.isUp) {
      this.pump()
      return
    }
    link.run<number[]>(SETTLE, name, [holdMs(), id, ...learned, ...others]).then(
      (reply) => {
        for (const each of ids) this.#owed.delete(each)
        this.#remember(reply)
        // A returned place or a new window may release other requests.
        if (this.line.size > 0 && this.now() >= this.#usedUpUntil) this.pump()
      },
      // The link has counted and reported it.
      () => this.pump(),
    )
  }

  /** Redis is down, so waiting requests continue with what this replica knows itself. */
  #goAlone(): void {
    const { whenDown } = this.#options
    const parts = whenDown === 'split' ? this.#replicas : 1
    this.#usedUpUntil = 0
    this.#isShort = false
    this.#heldCallers.clear()
    if (whenDown === 'reject') for (const waiter of [...this.line]) waiter.fail(unreachable())
    this.split(parts, this.#newest())
    this.#refuseHopeless()
  }

  /** Redis is back, but may be empty or know less than this replica. */
  #tellRedis(): void {
    for (const { limit, remaining, resetInMs } of super.readings()) {
      if (limit === 0 || limit >= HIGHEST_LIMIT || resetInMs === undefined) continue
      this.#settle([], [limit, Math.max(0, remaining), Math.ceil(resetInMs), '', 0])
    }
    // In one command: a flood of them would take Redis longer than it may.
    if (this.#owed.size > 0) this.#settle([...this.#owed])
    void this.#askRedis()
  }
}

function unreachable(): ProxyError {
  return new ProxyError('overloaded', 'The rate budget that replicas share (Redis) cannot be reached.', {
    retryAfterSeconds: 1,
    help: 'Check the Redis server of `shared.url`, or let replicas go on without it (`shared.whenDown`).',
  })
}

/**
 * Distinguishes the callers that are limited to a share, without revealing their names. All others count together, because
 * Redis spends time on each name.
 */
function nameInRedis({ caller, share }: BudgetRequest): string {
  return share === undefined ? 'others' : hash('sha256', caller, 'base64url').slice(0, 16)
}
