// Tracks what is left of Procore's rate windows (an hour and ten seconds), learned from X-Rate-Limit-* headers.
import { serverNowMs } from '../network/response.ts'
import { headerValue, type ResponseHead } from './call.ts'

const MOST_ENDPOINTS = 1_000

/** Times are milliseconds of any one clock. */
export class HeldEndpoints {
  readonly #until = new Map<string, number>()

  /** Holds back an endpoint (method and path without query). Beyond a thousand, the oldest one is forgotten. */
  hold(endpoint: string, until: number): void {
    // A copy, because a slice of the request would keep all of it in memory.
    const key = Buffer.from(endpoint).toString()
    this.#until.delete(key)
    const [oldest] = this.#until.keys()
    if (oldest !== undefined && this.#until.size >= MOST_ENDPOINTS) this.#until.delete(oldest)
    this.#until.set(key, until)
  }

  /** Milliseconds until the endpoint may be called; 0 if it may be called now. */
  waitFor(endpoint: string, now: number): number {
    if (this.#until.size === 0) return 0
    const until = this.#until.get(endpoint)
    if (until !== undefined && until > now) return until - now
    this.#until.delete(endpoint)
    return 0
  }
}

/** What a response says about the window that is closest to exhaustion. */
export interface RateReading {
  readonly limit: number
  readonly remaining: number
  /** Milliseconds until the window ends; undefined if the response does not say. */
  readonly resetInMs: number | undefined
}

/** A caller whose use of each window is limited to a share. */
export interface SharedUse {
  readonly caller: string
  /** 0 to 1. */
  readonly share: number
  /** Whether other callers wait for the budget. */
  readonly othersWait: boolean
}

/** A request that has been sent and has no response yet. */
interface Flight {
  readonly caller: string
  /** Whose turn it took, see `BudgetRequest`. */
  readonly queueKey: string
  /** When it was sent. */
  readonly at: number
}

interface Window {
  readonly limit: number
  /** How many requests the window still allows, not counting those in flight. */
  left: number
  /** How many of these this proxy may send; Infinity unless the budget is split. */
  own: number
  /** When the window ends; undefined until a response says so. */
  resetsAt: number | undefined
  /** The longest time to a reset seen so far, as an estimate of the window's length. */
  lengthMs: number
  /** The number of requests that each caller sent in this window. */
  sentBy: Map<string, number>
  /** When `sentBy` is reset if no response says when the window ends. */
  countsUntil: number
}

/** Reset times are whole seconds, so responses of one window may differ by this much. */
export const SAME_WINDOW_MS = 1_500
/** Sent within a second before the first response tells the limits. */
export const MOST_BEFORE_A_RESPONSE = 16
export const FINDING_OUT_MS = 1_000
export const MOST_WINDOWS = 8
export const SHORTEST_WINDOW_MS = 10_000
/** Random delay, so that proxies that share a budget do not all start at the same moment. */
const JITTER_MS = 250

/** All times are milliseconds of any one clock. */
export class RateWindows {
  readonly #windows = new Map<number, Window>()
  /** The window of the newest response. */
  #shown: Window | undefined
  /** In the order in which they were sent. */
  readonly #flights = new Set<Flight>()
  /** Until the first response the limits are unknown, so only a few requests are sent to find out. */
  #hasLearned = false
  #parts = 1

  get inFlight(): number {
    return this.#flights.size
  }

  /** Counts a request that is about to be sent. */
  take({ caller, queueKey }: Pick<Flight, 'caller' | 'queueKey'>, now: number): Flight {
    const flight = { caller, queueKey, at: now }
    this.#flights.add(flight)
    for (const window of this.#windows.values()) {
      window.own--
      window.sentBy.set(caller, (window.sentBy.get(caller) ?? 0) + 1)
    }
    return flight
  }

  /** A counted request has failed, or has a response from which everything has been learned. */
  release(flight: Flight): void {
    this.#flights.delete(flight)
  }

  /** Splits what is left, and all later windows, between `parts` proxies. Each may send at least one request. */
  split(parts: number): void {
    this.#parts = parts
    for (const window of this.#windows.values()) window.own = this.#part(window.left)
  }

  #part(count: number): number {
    if (this.#parts === 1) return Number.POSITIVE_INFINITY
    return count <= 0 ? 0 : Math.max(1, Math.floor(count / this.#parts))
  }

  /**
   * Milliseconds until any request may be sent, or one of this queue: 0 for now, Infinity if that depends on responses in
   * flight.
   */
  waitForAny(now: number, queueKey?: string): number {
    let until = 0
    const early = this.#findingOut(now)
    // No queue waits for what others sent before the first response.
    const isFirst = queueKey !== undefined && !early.some((flight) => flight.queueKey === queueKey)
    let dependsOnInFlight = early.length >= MOST_BEFORE_A_RESPONSE && !isFirst
    for (const window of this.#windows.values()) {
      this.#renew(window, now)
      if (window.left - this.inFlight >= 1 && window.own >= 1) continue
      const isUsedUp = window.left <= 0 || window.own <= 0
      // If it is unknown when a window starts again, one request at a time is sent to find out.
      if (isUsedUp && window.resetsAt !== undefined) until = Math.max(until, window.resetsAt)
      else if (this.inFlight > 0) dependsOnInFlight = true
    }
    if (until > now) return until - now
    return dependsOnInFlight ? Number.POSITIVE_INFINITY : 0
  }

  /**
   * Milliseconds until a caller that is limited to `share` (0 to 1) of a window may send. The caller may use the
   * whole window while no other caller has sent a request in it or waits to send one. Before the first response that may
   * be any number of requests, so one a second is sent. Infinity if that depends on responses in flight.
   */
  waitForShare({ caller, share, othersWait }: SharedUse, now: number): number {
    let until = now
    const hasOthers = (counts: ReadonlyMap<string, number>) =>
      othersWait || counts.size > (counts.has(caller) ? 1 : 0)
    const isFindingOut = this.#findingOut(now).some((flight) => flight.caller === caller)
    if (isFindingOut && hasOthers(sentBy(this.#flights))) return Number.POSITIVE_INFINITY
    for (const window of this.#windows.values()) {
      this.#renew(window, now)
      const { limit, sentBy: sent } = window
      const isUsedUp = (sent.get(caller) ?? 0) >= Math.max(1, Math.floor(share * limit))
      if (isUsedUp && hasOthers(sent)) until = Math.max(until, window.resetsAt ?? window.countsUntil)
    }
    return until - now
  }

  /** Milliseconds until a request that has no response holds back no more others; Infinity once there was a response. */
  waitForSilence(now: number): number {
    const [oldest] = this.#findingOut(now)
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.at + FINDING_OUT_MS - now
  }

  /** The requests that were sent within the last second, if there was no response yet. */
  #findingOut(now: number): Flight[] {
    return this.#hasLearned ? [] : this.#sentSince(now - FINDING_OUT_MS)
  }

  /**
   * Learns from a response; its request was sent at `sentAt`. It also counts in each window that the response does not
   * show.
   */
  learn(reading: RateReading, now: number, sentAt: number): void {
    this.#countElsewhere(reading.limit)
    this.assume(reading, now, sentAt)
  }

  /** Adopts what other proxies have learned. */
  assume({ limit, remaining, resetInMs }: RateReading, now: number, sentAt = now): void {
    this.#hasLearned = true
    const resetsAt = resetInMs === undefined ? undefined : now + resetInMs
    const window = this.#windows.get(limit)
    if (window === undefined) {
      this.#shown = this.#discover(limit, remaining, resetsAt, now)
      return
    }
    this.#shown = window
    this.#renew(window, now)
    const begins =
      resetsAt !== undefined && (window.resetsAt === undefined || resetsAt > window.resetsAt + SAME_WINDOW_MS)
    // A response from a window that has ended says nothing about the current one.
    const isPast = resetsAt !== undefined && !begins && resetsAt < (window.resetsAt ?? 0) - SAME_WINDOW_MS
    if (isPast || resetInMs === 0) return
    if (begins) {
      // A window that was renewed by the clock already has its counts.
      if (window.resetsAt !== undefined) this.#restart(window, remaining, now, sentAt)
      window.resetsAt = jittered(resetsAt)
      window.lengthMs = Math.max(window.lengthMs, resetInMs ?? 0)
    }
    // Within a window the remainder only decreases. If responses overtake each other, the lowest value is right.
    window.left = begins || resetsAt === undefined ? remaining : Math.min(window.left, remaining)
  }

  /** A response that has no X-Rate-Limit-* headers. */
  learnNothing(): void {
    this.#hasLearned = true
  }

  /** A 429 for the whole budget: its window (0 if the response named none) is used up until then. */
  exhaust(limit: number, until: number): void {
    const window = this.#windows.get(limit)
    if (window === undefined) this.#add(newWindow(limit, 0, until))
    else {
      window.left = 0
      window.resetsAt = Math.max(window.resetsAt ?? 0, until)
    }
  }

  /** The window of the newest response; undefined before one named a limit. */
  shown(now: number): Pick<Window, 'limit' | 'left' | 'resetsAt'> | undefined {
    for (const window of this.#windows.values()) this.#renew(window, now)
    return this.#shown
  }

  /** All windows, for a proxy that adopts them. */
  readings(now: number): RateReading[] {
    for (const window of this.#windows.values()) this.#renew(window, now)
    return [...this.#windows.values()].map(({ limit, left, resetsAt }) => {
      return { limit, remaining: left, resetInMs: resetsAt === undefined ? undefined : resetsAt - now }
    })
  }

  /** Counts the request in the windows that its response does not show. */
  #countElsewhere(limit: number): void {
    for (const other of this.#windows.values()) {
      if (other.limit === limit) continue
      if (other.left > 0) other.left--
      // If that window were nearly used up, the response would have shown it. So it has started again unnoticed.
      if (other.left <= 0 && other.resetsAt === undefined) this.#windows.delete(other.limit)
    }
  }

  #discover(limit: number, left: number, resetsAt: number | undefined, now: number): Window {
    const window = newWindow(limit, left, resetsAt && jittered(resetsAt))
    window.sentBy = sentBy(this.#flights)
    for (const known of this.#windows.values()) {
      const laterMs = (resetsAt ?? Number.NaN) - (known.resetsAt ?? Number.NaN)
      // Who has called in a window that ends earlier, or just now, has called in this one too, as a rule.
      if (laterMs >= -SAME_WINDOW_MS || known.countsUntil - known.lengthMs > now - SHORTEST_WINDOW_MS) {
        for (const [caller, sent] of known.sentBy) {
          window.sentBy.set(caller, Math.max(sent, window.sentBy.get(caller) ?? 0))
        }
      }
      // The same window, but its limit has been changed in the meantime.
      if (known.limit !== 0 && Math.abs(laterMs) <= SAME_WINDOW_MS) this.#windows.delete(known.limit)
    }
    window.lengthMs = resetsAt === undefined ? 0 : resetsAt - now
    window.countsUntil = now + window.lengthMs
    window.own = this.#part(left)
    this.#add(window)
    return window
  }

  #add(window: Window): void {
    if (this.#windows.size >= MOST_WINDOWS) this.#windows.clear()
    this.#windows.set(window.limit, window)
  }

  /** A window is full again after its end. The next response says how long it then lasts. */
  #renew(window: Window, now: number): void {
    if (window.resetsAt === undefined) {
      if (window.lengthMs > 0 && now >= window.countsUntil) this.#count(window, now, window.countsUntil)
      return
    }
    if (now < window.resetsAt) return
    // A 429 without X-Rate-Limit-* headers only says when the wait ends.
    if (window.limit === 0) this.#windows.delete(0)
    window.left = window.limit === 0 ? Number.POSITIVE_INFINITY : window.limit
    this.#restart(window, window.left, now, window.resetsAt)
    window.resetsAt = undefined
  }

  #restart(window: Window, left: number, now: number, from: number): void {
    window.own = this.#part(left)
    this.#count(window, now, from)
  }

  /** Begins to count anew, with the requests in flight that the window may already contain, since it began at `from`. */
  #count(window: Window, now: number, from: number): void {
    window.sentBy = sentBy(this.#sentSince(from - SAME_WINDOW_MS))
    window.countsUntil = now + window.lengthMs
  }

  /** The requests in flight that were sent after that. */
  #sentSince(since: number): Flight[] {
    return [...this.#flights].filter(({ at }) => at > since)
  }
}

/** How many of these requests each caller has sent. */
function sentBy(flights: Iterable<Flight>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { caller } of flights) counts.set(caller, (counts.get(caller) ?? 0) + 1)
  return counts
}

function newWindow(limit: number, left: number, resetsAt: number | undefined): Window {
  return {
    limit,
    left,
    own: Number.POSITIVE_INFINITY,
    resetsAt,
    lengthMs: 0,
    sentBy: new Map(),
    countsUntil: 0,
  }
}

/** Adds up to 250 ms to a time. */
export function jittered(at: number): number {
  return at + Math.random() * JITTER_MS
}

/**
 * Reads the X-Rate-Limit-* headers of a response; undefined if they hold nothing usable. `wallNowMs` is used if the
 * response has no Date.
 */
export function readingOf(head: ResponseHead, wallNowMs: number): RateReading | undefined {
  const limit = wholeNumber(headerValue(head, 'x-rate-limit-limit'))
  const remaining = wholeNumber(headerValue(head, 'x-rate-limit-remaining'))
  if (limit === undefined || remaining === undefined || limit === 0) return undefined
  return { limit, remaining, resetInMs: resetInMs(head, nowOf(head, wallNowMs)) }
}

let last: { date: ResponseHead[string]; ms: number } = { date: undefined, ms: Number.NaN }

/** The server's time. All responses of one second share a date, which is parsed once. */
function nowOf(head: ResponseHead, wallNowMs: number): number {
  const { date } = head
  if (date !== last.date) last = { date, ms: serverNowMs(head, Number.NaN) }
  return Number.isFinite(last.ms) ? last.ms : wallNowMs
}

/**
 * Procore's longest window is an hour. If the end is later, the value is not a Unix time in seconds, or a clock is
 * wrong.
 */
const LONGEST_WINDOW_MS = 2 * 3_600_000

/** Milliseconds until `X-Rate-Limit-Reset`; undefined if that cannot be the end of a window. */
export function resetInMs(headers: ResponseHead, serverNow: number): number | undefined {
  const reset = wholeNumber(headerValue(headers, 'x-rate-limit-reset'))
  if (reset === undefined || reset * 1000 - serverNow > LONGEST_WINDOW_MS) return undefined
  return Math.max(0, reset * 1000 - serverNow)
}

/** The whole number in a header; undefined if there is none. */
export function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value.trim()) ? Number(value) : undefined
}
