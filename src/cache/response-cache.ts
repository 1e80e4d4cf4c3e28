// Saves calls to Procore: equal GETs at the same time are sent once, and responses are kept as long as the
// configuration says.
import type { CacheSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import {
  type Call,
  CallerGoneError,
  responseWith,
  type Send,
  StoredResponse,
  type UpstreamResponse,
} from '../forward/call.ts'
import { isRead } from '../guards/access.ts'
import { ageOnArrivalMs, hitStatus, reusableHeaders, statusHeaders } from './cache-headers.ts'
import {
  type CacheRequest,
  cacheRequestOf,
  companyKeyOf,
  keepRuleOf,
  matchesVary,
  variesByAnything,
  varyFields,
} from './cache-request.ts'
import { Flight, type WholeResponse } from './flight.ts'
import { ageMsOf, type KeptResponse, KeptResponses } from './kept-responses.ts'

/** A `Send` that asks Procore only where it has to. The cache outlives it: after a reload, another one uses it too. */
export function withCache(send: Send, cache: ResponseCache): Send {
  return (call) => cache.send(call, send)
}

/** Errors of calls that were never sent. A write that ended with any other error may have been carried out. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'rate_limited',
  'overloaded',
  'token_unavailable',
  'credentials_rejected',
  'shutting_down',
  'audit_unavailable',
  'recording_missing',
])

/**
 * undici's interceptors do not fit: `cache` stores nothing that Procore marks `no-store`, nor answers to requests with a
 * token; `deduplicate` fails the followers when the first caller leaves, and those that fall 5 MiB behind.
 */
export class ResponseCache {
  readonly #isExhausted: (call: Call) => boolean
  readonly #kept: KeptResponses
  #settings: CacheSettings
  readonly #flights = new Set<Flight>()
  /** By key, the flight that equal calls join. */
  readonly #joinable = new Map<string, Flight>()

  /** `isExhausted`: whether the rate budget that the call would take from is used up. */
  constructor(settings: CacheSettings, isExhausted: (call: Call) => boolean) {
    this.#settings = settings
    this.#isExhausted = isExhausted
    this.#kept = new KeptResponses(settings.sizeBytes)
  }

  /** Applies new settings, and forgets what no rule covers any more. */
  configure(settings: CacheSettings): void {
    this.#settings = settings
    // Writes are not looked at while the cache is off, so what is under way then is not kept.
    if (isOff(settings)) for (const flight of this.#flights) this.#outdate(flight)
    this.#kept.retain(settings.sizeBytes, (kept) => ageMsOf(kept) < this.#lifetimes(kept).mostMs)
  }

  /** What it holds, and what of responses under way that may be shared or kept has arrived. */
  stats(): { entries: number; bytes: number; underWay: number; underWayBytes: number } {
    return { ...this.#kept.stats, underWay: this.#flights.size }
  }

  /**
   * Forgets everything of a company. Responses in progress still reach their callers, but are neither kept nor
   * joined.
   */
  drop(companyKey: string): void {
    this.#kept.drop(companyKey)
    for (const flight of this.#flights) {
      if (flight.request.companyKey === companyKey) this.#outdate(flight)
    }
  }

  /** Answers the call from a kept response or one in progress, or sends it. */
  send(call: Call, send: Send): Promise<UpstreamResponse> {
    return isRead(call.method) ? this.#read(call, send) : this.#write(call, send)
  }

  async #read(call: Call, send: Send): Promise<UpstreamResponse> {
    const request = cacheRequestOf(call)
    const { coalesce, refusalsMs } = this.#settings
    if (request === undefined) return await send(call)
    if (!coalesce && refusalsMs === 0 && keepRuleOf(this.#settings, request.pathname) === undefined) {
      return await send(call)
    }
    if (call.departure.hasLeft) throw new CallerGoneError()
    const hit = this.#hit(call, request)
    if (hit !== undefined) return hit
    const forwarded = request.maxAgeMs < Number.POSITIVE_INFINITY ? 'fwd=request' : 'fwd=miss'
    if (request.noStore) return this.#marked(call, await send(call), forwarded)
    const flight = this.#joinable.get(request.key)
    if (flight === undefined || isTooOld(flight, request)) {
      return this.#marked(call, await this.#lead(call, request, send), forwarded)
    }
    return (await this.#follow(flight, call)) ?? this.#marked(call, await send(call), forwarded)
  }

  #marked(call: Call, response: UpstreamResponse, status: string, ageMs?: number): UpstreamResponse {
    const headers = statusHeaders(status, ageMs)
    call.exchange.cacheStatus = headers[1]
    return responseWith(response, { rawHeaders: [...response.rawHeaders, ...headers] })
  }

  /** Kept responses of the company are stale once Procore has, or may have, carried out a write. */
  async #write(call: Call, send: Send): Promise<UpstreamResponse> {
    try {
      const response = await send(call)
      if (response.status < 400) this.drop(companyKeyOf(call))
      return response
    } catch (error) {
      if (!(error instanceof ProxyError && NEVER_SENT.has(error.code))) this.drop(companyKeyOf(call))
      throw error
    }
  }

  #hit(call: Call, request: CacheRequest): UpstreamResponse | undefined {
    const kept = this.#kept.get(request.key)
    if (kept === undefined || !matchesVary(kept.vary, call.rawHeaders)) return undefined
    const ageMs = ageMsOf(kept)
    const { freshMs, mostMs } = this.#lifetimes(kept)
    if (ageMs >= mostMs) this.#kept.delete(request.key)
    if (ageMs >= request.maxAgeMs || ageMs >= mostMs) return undefined
    if (ageMs >= freshMs && !this.#isExhausted(call)) return undefined
    const isRefusal = kept.status !== 200
    const response = new StoredResponse(kept.status, kept.statusText, kept.rawHeaders, kept.body)
    return this.#marked(call, response, hitStatus(freshMs - ageMs, isRefusal), ageMs)
  }

  /** The response of an equal call in progress; undefined if this call has to be sent by itself. */
  async #follow(flight: Flight, call: Call): Promise<UpstreamResponse | undefined> {
    const outcome = await flight.follow(call)
    // The reason why one caller's call was not sent need not apply to another caller.
    if (outcome instanceof Error && call.queueKey === flight.leader.queueKey) throw outcome
    if (outcome === undefined || outcome instanceof Error) return undefined
    const { response, body, sentAt } = outcome
    const vary = varyFields(response.head['vary'], flight.leader.rawHeaders)
    if (!matchesVary(vary, call.rawHeaders)) return undefined
    const ageMs = ageOnArrivalMs(response) + performance.now() - sentAt
    const { status, statusText, rawHeaders } = response
    const shared = new StoredResponse(status, statusText, reusableHeaders(rawHeaders), body())
    return this.#marked(call, shared, 'fwd=miss; collapsed', ageMs)
  }

  #lead(call: Call, request: CacheRequest, send: Send): Promise<UpstreamResponse> {
    const flight = new Flight(request, call)
    this.#flights.add(flight)
    if (this.#settings.coalesce) this.#joinable.set(request.key, flight)
    void flight.outcome.then((outcome) => {
      this.#flights.delete(flight)
      this.#unlist(flight)
      if (outcome !== undefined && !(outcome instanceof Error)) this.#keep(flight, outcome)
    })
    return flight.lead({
      send,
      memory: this.#kept,
      mostBytes: this.#kept.mostBytes,
      isWanted: (response) => this.#isWanted(request, response),
    })
  }

  /** Whether the response should be collected. Forgets a kept response if this one shows that it no longer applies. */
  #isWanted({ key, pathname }: CacheRequest, response: UpstreamResponse): boolean {
    const isKept = this.#mayBeKept(pathname, response)
    if (!isKept && response.status < 500 && response.status !== 429) this.#kept.delete(key)
    return isKept || (this.#settings.coalesce && !variesByAnything(response))
  }

  /** Its response still reaches its callers, but is not kept, and no other call joins it. */
  #outdate(flight: Flight): void {
    flight.isOutdated = true
    this.#unlist(flight)
  }

  #unlist(flight: Flight): void {
    if (this.#joinable.get(flight.request.key) === flight) this.#joinable.delete(flight.request.key)
  }

  #mayBeKept(pathname: string, response: UpstreamResponse): boolean {
    // A cookie is meant for one caller, and so may be what comes with it (RFC 9111 section 7.3).
    if (response.head['set-cookie'] !== undefined || variesByAnything(response)) return false
    return this.#lifetimes({ pathname, status: response.status }).mostMs > 0
  }

  #keep({ request, leader, isOutdated }: Flight, { response, body, sentAt }: WholeResponse): void {
    const { key, companyKey, pathname } = request
    if (isOutdated || !this.#mayBeKept(pathname, response)) return
    const before = this.#kept.get(key)
    if (before !== undefined && before.sentAt > sentAt) return
    const { status, statusText, rawHeaders, head } = response
    const vary = varyFields(head['vary'], leader.rawHeaders)
    this.#kept.set(key, {
      companyKey,
      pathname,
      status,
      statusText,
      rawHeaders: reusableHeaders(rawHeaders),
      body: body(),
      vary,
      sentAt,
      sentAtWall: Date.now() - (performance.now() - sentAt),
      ageOnArrivalMs: ageOnArrivalMs(response),
    })
  }

  /** How long a response is fresh, and how long it is served while the budget is used up. */
  #lifetimes({ pathname, status }: Pick<KeptResponse, 'pathname' | 'status'>): {
    freshMs: number
    mostMs: number
  } {
    if (status === 403 || status === 404) {
      return { freshMs: this.#settings.refusalsMs, mostMs: this.#settings.refusalsMs }
    }
    const rule = status === 200 ? keepRuleOf(this.#settings, pathname) : undefined
    if (rule === undefined) return { freshMs: 0, mostMs: 0 }
    return { freshMs: rule.forMs, mostMs: Math.max(rule.forMs, rule.whenExhaustedMs) }
  }
}

/** Whether nothing is shared or kept, so that calls need not ask the cache. */
export function isOff({ coalesce, keep, refusalsMs }: CacheSettings): boolean {
  return !coalesce && keep.length === 0 && refusalsMs === 0
}

/** Whether the response is too old for the caller, because a flight may have been answered right after it began. */
function isTooOld(flight: Flight, { maxAgeMs }: CacheRequest): boolean {
  return performance.now() - flight.startedAt >= maxAgeMs
}
