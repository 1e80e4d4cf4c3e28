// A rate budget that all replicas of one service account and company share through Redis.
import { hash } from 'node:crypto'
import type { RateLimitSettings, SharedSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import {
  type Budget,
  type BudgetRequest,
  type BudgetState,
  LocalBudget,
  type Reservation,
} from '../forward/budget.ts'
import { headerValue, type ResponseHead } from '../forward/call.ts'
import { HeldEndpoints, type RateReading, readingOf, wholeNumber } from '../forward/rate-windows.ts'
import { askedWaitMs } from '../forward/retry-policy.ts'
import {
  callerGone,
  rateLimited,
  refusalOf,
  TOO_LATE,
  type Waiter,
  WaitingLine,
} from '../forward/waiting-line.ts'
import { BUDGET_KEYS, RESERVE, SETTLE } from './budget-scripts.ts'
import type { Link } from './redis-link.ts'

export interface SharedBudgetOptions {
  readonly link: Link
  /** What the keys of this budget begin with; the part in braces keeps them in one slot of a cluster. */
  readonly prefix: string
  /** This process's name in Redis. */
  readonly replica: string
  readonly whenDown: SharedSettings['whenDown']
  /** A reservation ends by itself after this time, in case its replica dies. */
  readonly holdMs: number
}

/** The most requests that one script reserves at a time. */
const BATCH = 32
/** If other replicas go first, or responses are in flight, Redis is asked again after this time, which doubles. */
const POLL_MS = 25
/** Must be less than the time for which Redis keeps a replica's turn. */
const LONGEST_POLL_MS = 200
const LONGEST_SLEEP_MS = 1_000
const LONGEST_HOLD_MS = 3_600_000
/** Procore has no such limit, and Lua could not write it down. */
const HIGHEST_LIMIT = 1e9

let reservations = 0

export class SharedBudget implements Budget {
  readonly #options: SharedBudgetOptions
  readonly #keys: readonly string[]
  /** Knows the budget too, for the time when Redis does not answer. */
  readonly #local: LocalBudget
  readonly #endpoints = new HeldEndpoints()
  readonly #line = new WaitingLine()
  /** Callers that have used up their share: until when (monotonic). */
  readonly #heldCallers = new Map<string, number>()
  #settings: RateLimitSettings
  /** Reservations of this budget, as against those of the local one. */
  readonly #own = new WeakSet<Reservation>()
  #wasUp = false
  #isAsking = false
  /** Redis let some requests wait the last time. */
  #isShort = false
  /** Monotonic: the whole budget is used up until then. */
  #usedUpUntil = 0
  #pollMs = POLL_MS
  #wake: NodeJS.Timeout | undefined
  #replicas = 1
  /** Redis's clock minus the monotonic one; undefined before the first reply. */
  #redisAheadMs: number | undefined
  #inFlight = 0
  #shown: { limit: number; left: number; resetsAt: number | undefined } | undefined

  constructor(settings: RateLimitSettings, options: SharedBudgetOptions) {
    this.#settings = settings
    this.#options = options
    this.#keys = BUDGET_KEYS.map((name) => `${options.prefix}:${name}`)
    this.#local = new LocalBudget(settings)
  }

  /** Whether Redis can be used. The first check after a change also handles the change. */
  #checkLink(): boolean {
    const { isUp } = this.#options.link
    if (isUp !== this.#wasUp) {
      this.#wasUp = isUp
      if (isUp) this.#tellRedis()
      else this.#goAlone()
    }
    return isUp
  }

  configure(settings: RateLimitSettings): void {
    this.#settings = settings
    this.#local.configure(settings)
    if (settings.whenExhausted === 'pass') {
      for (const waiter of [...this.#line]) waiter.go(this.#reservation(waiter.request, ''))
    }
  }

  get waiting(): number {
    return this.#line.size + this.#local.waiting
  }

  get isExhausted(): boolean {
    return this.#options.link.isUp ? performance.now() < this.#usedUpUntil : this.#local.isExhausted
  }

  state(): BudgetState {
    const local = this.#local.state()
    const newest = this.#options.link.isUp ? this.#newest() : undefined
    return { ...local, ...newest, waiting: this.waiting, inFlight: this.#inFlight + local.inFlight }
  }

  /** Redis has to be asked, so nothing can be sent immediately, unless the budget does not apply or Redis is down. */
  tryReserve(request: BudgetRequest): Reservation | undefined {
    if (this.#settings.whenExhausted === 'pass') return this.#reservation(request, '')
    if (this.#checkLink() || this.#options.whenDown === 'reject') return undefined
    const reservation = this.#local.tryReserve(request)
    return reservation && this.#alsoTold(request, reservation)
  }

  reserve(request: BudgetRequest, signal: AbortSignal): Promise<Reservation> {
    if (signal.aborted) return Promise.reject(callerGone())
    if (this.#settings.whenExhausted === 'pass') return Promise.resolve(this.#reservation(request, ''))
    if (!this.#checkLink()) return this.#reserveAlone(request, signal)
    const waitMs = this.#knownWait(request)
    const waiting = waitMs > 0 || this.#isShort ? this.#line.size : 0
    const refusal = refusalOf(request, { waitMs, waiting, settings: this.#settings })
    if (refusal !== undefined) return Promise.reject(rateLimited(refusal, waitMs))
    const onTimeout = () => rateLimited(TOO_LATE, this.#knownWait(request))
    const reserved = this.#line.join(request, signal, onTimeout)
    void this.#pump()
    return reserved
  }

  /** Milliseconds that this request has to wait according to Redis's last reply; 0 if Redis has to be asked. */
  #knownWait({ endpoint, caller }: BudgetRequest): number {
    const now = performance.now()
    const until = Math.max(this.#usedUpUntil, this.#heldCallers.get(caller) ?? 0)
    return Math.max(0, until - now, this.#endpoints.waitFor(endpoint, now))
  }

  /** Asks Redis on behalf of the waiting requests, until it says when to ask again. */
  async #pump(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    clearTimeout(this.#wake)
    let pauseMs = 0
    try {
      while (this.#line.size > 0 && pauseMs === 0 && this.#checkLink()) {
        const wanted = this.#line.next(BATCH, (request) => this.#knownWait(request) === 0)
        pauseMs = wanted.length === 0 ? this.#shortestWait() : await this.#ask(wanted)
      }
    } catch {
      // The link has already counted and reported it.
      pauseMs = LONGEST_POLL_MS
    } finally {
      this.#isAsking = false
    }
    this.#wakeIn(this.#checkLink() ? pauseMs : LONGEST_SLEEP_MS)
  }

  /** While requests wait, checks from time to time whether Redis is down or back. */
  #wakeIn(ms: number): void {
    clearTimeout(this.#wake)
    if (this.waiting === 0) return
    this.#wake = setTimeout(() => void this.#pump(), Math.min(LONGEST_SLEEP_MS, Math.ceil(ms)))
    this.#wake.unref()
  }

  #shortestWait(): number {
    let soonest = Number.POSITIVE_INFINITY
    for (const { request } of this.#line) soonest = Math.min(soonest, this.#knownWait(request))
    return Math.min(soonest, LONGEST_HOLD_MS)
  }

  /** Reserves for these requests; returns the ms to wait before Redis is asked again. */
  async #ask(wanted: readonly Waiter[]): Promise<number> {
    const { link, replica, holdMs } = this.#options
    const batch = wanted.map((waiter) => ({ waiter, id: newId(replica) }))
    const items = batch.flatMap(({ waiter: { request }, id }) => [
      id,
      nameInRedis(request.caller),
      request.share ?? '',
    ])
    const reply = await link.run(RESERVE, this.#keys, [replica, holdMs, ...items])
    const [waitMs = 0, ...results] = this.#remember(reply as number[])
    for (const [nth, { waiter, id }] of batch.entries()) {
      const result = results[nth] ?? 0
      const { caller, queueKey } = waiter.request
      if (result < 0) this.#heldCallers.set(caller, performance.now() - result)
      if (result !== 1) continue
      this.#heldCallers.delete(caller)
      this.#line.yieldTurn(queueKey)
      if (waiter.isWaiting) waiter.go(this.#reservation(waiter.request, id))
      else this.#settle([id, '', '', '', '', 0])
    }
    this.#isShort = waitMs !== 0
    if (waitMs > 0) this.#useUp(waitMs)
    this.#pollMs = results.includes(1) || waitMs >= 0 ? POLL_MS : Math.min(LONGEST_POLL_MS, this.#pollMs * 2)
    return waitMs < 0 ? this.#pollMs * (0.75 + Math.random() / 4) : waitMs
  }

  /** The whole budget is used up, so requests that cannot wait that long are refused. */
  #useUp(waitMs: number): void {
    this.#usedUpUntil = performance.now() + waitMs
    for (const waiter of [...this.#line]) {
      const refusal = refusalOf(waiter.request, { waitMs, waiting: 0, settings: this.#settings })
      if (refusal !== undefined) waiter.fail(rateLimited(refusal, waitMs))
    }
  }

  /** Stores the common beginning of each reply and returns the rest. */
  #remember([now = 0, replicas = 1, limit = -1, left = 0, resetIn = -1, ...rest]: number[]): number[] {
    this.#redisAheadMs = now - performance.now()
    this.#replicas = Math.max(1, replicas)
    const resetsAt = resetIn < 0 ? undefined : performance.now() + resetIn
    this.#shown = limit < 0 ? undefined : { limit, left, resetsAt }
    return rest
  }

  /** Redis's last reply. */
  #newest(): RateReading | undefined {
    if (this.#shown === undefined) return undefined
    const { limit, left, resetsAt } = this.#shown
    const resetInMs = resetsAt === undefined ? undefined : Math.max(0, resetsAt - performance.now())
    return { limit, remaining: left, resetInMs }
  }

  #reservation(request: BudgetRequest, id: string): Reservation {
    this.#inFlight++
    const reservation: Reservation = {
      answered: (status, head) => {
        this.#inFlight--
        this.#local.observe(request.endpoint, status, head)
        this.#learn(request, { id, status, head })
      },
      left: () => {
        this.#inFlight--
        if (id !== '') this.#settle([id, '', '', '', '', 0])
      },
    }
    this.#own.add(reservation)
    return reservation
  }

  /** Reports a response to Redis, and holds its endpoint back if only that was used up. */
  #learn(
    { endpoint }: BudgetRequest,
    { id, status, head }: { id: string; status: number; head: ResponseHead },
  ): void {
    // This machine's clock is not used, because it may be wrong.
    const wallNow = this.#redisAheadMs === undefined ? Date.now() : performance.now() + this.#redisAheadMs
    const reading = readingOf(head, wallNow)
    const known = reading !== undefined && reading.limit < HIGHEST_LIMIT ? reading : undefined
    let asked = status === 429 ? askedWaitMs(status, head, wallNow) : undefined
    if (asked !== undefined) {
      asked = Math.min(asked, LONGEST_HOLD_MS)
      const remaining = wholeNumber(headerValue(head, 'x-rate-limit-remaining'))
      if (remaining !== undefined && remaining > 0) {
        this.#endpoints.hold(endpoint, performance.now() + asked)
        asked = undefined
      }
    }
    const { limit, remaining, resetInMs } = known ?? {}
    const values = [limit, remaining, resetInMs, this.#settings.whenExhausted === 'pass' ? undefined : asked]
    this.#settle([id, ...values.map((value) => (value === undefined ? '' : Math.ceil(value))), 1])
  }

  #settle(args: readonly (string | number)[]): void {
    const { link, replica } = this.#options
    if (!link.isUp) return
    link.run(SETTLE, this.#keys, [replica, ...args]).then(
      (reply) => {
        this.#remember(reply as number[])
        // A returned place or a new window may release other requests.
        if (this.#line.size > 0 && performance.now() >= this.#usedUpUntil) void this.#pump()
      },
      // The link has counted and reported it; the reservation ends by its deadline.
      () => {},
    )
  }

  /** Redis is down, so waiting requests continue with what this replica knows itself. */
  #goAlone(): void {
    const parts = this.#options.whenDown === 'split' ? this.#replicas : 1
    this.#local.split(parts, this.#newest())
    this.#usedUpUntil = 0
    this.#isShort = false
    this.#heldCallers.clear()
    clearTimeout(this.#wake)
    for (const waiter of [...this.#line]) waiter.go(this.#reserveAlone(waiter.request, waiter.signal))
  }

  async #reserveAlone(request: BudgetRequest, signal: AbortSignal): Promise<Reservation> {
    if (this.#options.whenDown === 'reject') {
      throw new ProxyError('overloaded', 'The rate budget that replicas share (Redis) cannot be reached.', {
        retryAfterSeconds: 1,
        help: 'Check the Redis server of `shared.url`, or let replicas go on without it (`shared.whenDown`).',
      })
    }
    const reserved = this.#local.reserve(request, signal)
    if (!this.#isAsking) this.#wakeIn(LONGEST_SLEEP_MS)
    const reservation = await reserved
    // Redis may be back by now.
    return this.#own.has(reservation) ? reservation : this.#alsoTold(request, reservation)
  }

  /** A reservation of the local budget. Its response is also reported to Redis if it is back by then. */
  #alsoTold(request: BudgetRequest, reservation: Reservation): Reservation {
    return {
      answered: (status, head) => {
        reservation.answered(status, head)
        this.#learn(request, { id: '', status, head })
      },
      left: () => reservation.left(),
    }
  }

  /** Redis is back, but may be empty or know less than this replica. */
  #tellRedis(): void {
    for (const { limit, remaining, resetInMs } of this.#local.readings()) {
      if (limit === 0 || limit >= HIGHEST_LIMIT || resetInMs === undefined) continue
      this.#settle(['', limit, Math.max(0, remaining), Math.ceil(resetInMs), '', 0])
    }
    this.#local.handOver(this)
  }
}

/** Distinguishes callers without revealing their names. */
function nameInRedis(caller: string): string {
  return caller === '' ? '' : hash('sha256', caller, 'base64url').slice(0, 16)
}

function newId(replica: string): string {
  reservations = (reservations + 1) % Number.MAX_SAFE_INTEGER
  return `${replica}.${reservations.toString(36)}`
}
