// Queues in which callers take turns.
import type { RateLimitSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { BudgetRequest, Reservation } from './budget.ts'

/**
 * A round-robin queue. None of the libraries we looked at (p-queue, bottleneck, rate-limiter-flexible) alternates
 * between callers or can skip an item that is not ready yet.
 */
export class FairQueue<T> implements Iterable<T> {
  /** Items by caller; the callers are in the order in which they are served next. */
  readonly #byCaller = new Map<string, T[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The number of waiting items of this caller. */
  sizeOf(caller: string): number {
    return this.#byCaller.get(caller)?.length ?? 0
  }

  add(caller: string, item: T): void {
    const items = this.#byCaller.get(caller)
    if (items === undefined) this.#byCaller.set(caller, [item])
    else items.push(item)
    this.#size++
  }

  remove(caller: string, item: T): void {
    const items = this.#byCaller.get(caller)
    const at = items?.indexOf(item) ?? -1
    if (items !== undefined && at !== -1) this.#cut(caller, items, at)
  }

  /** Takes the first ready item of the next caller in turn; that caller then moves to the end of the line. */
  take(mayGo: (item: T) => boolean): T | undefined {
    for (const [caller, items] of this.#byCaller) {
      const at = items.findIndex(mayGo)
      if (at === -1) continue
      const item = items[at] as T
      this.yieldTurn(caller)
      this.#cut(caller, items, at)
      return item
    }
    return undefined
  }

  /** Up to `count` ready items, in the order in which `take` would return them. */
  next(count: number, mayGo: (item: T) => boolean): T[] {
    const lists = [...this.#byCaller.values()].map((items) => items.filter(mayGo).slice(0, count))
    const found: T[] = []
    for (let nth = 0; found.length < count && lists.some((items) => items.length > nth); nth++) {
      for (const items of lists) {
        const item = items[nth]
        if (item !== undefined && found.length < count) found.push(item)
      }
    }
    return found
  }

  /** Moves a caller that was served to the end of the line. */
  yieldTurn(caller: string): void {
    const items = this.#byCaller.get(caller)
    if (items === undefined) return
    this.#byCaller.delete(caller)
    this.#byCaller.set(caller, items)
  }

  #cut(caller: string, items: T[], at: number): void {
    items.splice(at, 1)
    this.#size--
    if (items.length === 0) this.#byCaller.delete(caller)
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const items of this.#byCaller.values()) yield* items
  }
}

/** What every line has to know of a request. */
type Waiting = Pick<BudgetRequest, 'queueKey' | 'caller' | 'deadline'>

/** A waiting request. */
export interface Waiter<Request = BudgetRequest, Place = Reservation> {
  readonly request: Request
  /** False once it has left the line. */
  isWaiting: boolean
  /** Called when its turn has come. */
  go(place: Place): void
  fail(error: Error): void
}

/** The requests that wait for a place, by queue key. Who takes one must call its `go` or `fail`. */
export class WaitingLine<Request extends Waiting = BudgetRequest, Place = Reservation> extends FairQueue<
  Waiter<Request, Place>
> {
  /** The number of waiting requests, by the name of their caller. */
  readonly #callers = new Map<string, number>()

  /** Waits for `go`; `onTimeout` creates the error for a request whose deadline has passed. */
  join(request: Request, signal: AbortSignal, onTimeout: () => ProxyError): Promise<Place> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiter.isWaiting = false
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        this.remove(request.queueKey, waiter)
        this.#count(request.caller, -1)
      }
      const waiter: Waiter<Request, Place> = {
        request,
        isWaiting: true,
        go: (place) => {
          leave()
          resolve(place)
        },
        fail: (error) => {
          leave()
          reject(error)
        },
      }
      const onAbort = () => waiter.fail(signal.reason as Error)
      const timer = setTimeout(() => waiter.fail(onTimeout()), request.deadline - performance.now())
      signal.addEventListener('abort', onAbort, { once: true })
      this.add(request.queueKey, waiter)
      this.#count(request.caller, 1)
    })
  }

  /** True if requests of this caller wait. */
  has(caller: string): boolean {
    return this.#callers.has(caller)
  }

  /** True if requests of other callers wait. */
  hasOthers(caller: string): boolean {
    return this.#callers.size > (this.has(caller) ? 1 : 0)
  }

  #count(caller: string, change: number): void {
    const count = (this.#callers.get(caller) ?? 0) + change
    if (count === 0) this.#callers.delete(caller)
    else this.#callers.set(caller, count)
  }
}

/** The proxy's own 429; `waitMs` becomes Retry-After, at least 1 s. */
export function rateLimited(detail: string, waitMs: number): ProxyError {
  const seconds = Number.isFinite(waitMs) ? Math.max(1, Math.ceil(waitMs / 1000)) : 1
  return new ProxyError('rate_limited', detail, { retryAfterSeconds: seconds })
}

/** The detail of the 429 for a request that could not be sent in time. */
export const TOO_LATE = 'The rate budget did not recover within rateLimit.maxWait.'

/** Why a request may not even begin to wait; undefined if it may. Infinity is an unknown wait. */
export function refusalOf(
  { deadline }: BudgetRequest,
  { waitMs, waiting, settings }: { waitMs: number; waiting: number; settings: RateLimitSettings },
): string | undefined {
  const known = Number.isFinite(waitMs) ? waitMs : 0
  if (known > 0 && settings.whenExhausted === 'reject') return 'The rate budget is used up.'
  if (performance.now() + known > deadline) {
    return 'Waiting for the rate budget would take longer than rateLimit.maxWait.'
  }
  if (waiting >= settings.maxQueued) return 'rateLimit.maxQueued requests wait for the rate budget already.'
  return undefined
}
