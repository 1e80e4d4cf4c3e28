// Saves calls to Procore: equal GETs at the same time are sent once, and responses are kept as configured.
import { LRUCache } from 'lru-cache'
import type { CacheSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import {
  type Call,
  CallerGoneError,
  responseWith,
  type Send,
  storedResponse,
  type UpstreamResponse,
} from '../forward/call.ts'
import { isRead } from '../guards/access.ts'
import {
  type CacheRequest,
  cacheRequestOf,
  companyKeyOf,
  keepRuleOf,
  matchesVary,
  type VaryField,
  variesByAnything,
  varyFields,
} from './cache-request.ts'
import { Flight, type WholeResponse } from './flight.ts'

/** Whether nothing is shared or kept, so that calls need not ask the cache. */
export function isOff({ coalesce, keep, refusalsMs }: CacheSettings): boolean {
  return !coalesce && keep.length === 0 && refusalsMs === 0
}

/**
 * undici's interceptors do not fit: `cache` stores nothing that Procore marks `no-store`, nor answers to requests with a
 * token; `deduplicate` fails the followers when the first caller leaves, and those that fall 5 MiB behind.
 */
export class ResponseCache {
  readonly #isExhausted: (call: Call) => boolean
  #kept: KeptResponses
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
    const before = this.#kept
    this.#kept = new KeptResponses(settings.sizeBytes, before.underWayBytes)
    for (const [key, { value }] of before.dump()) {
      if (ageMsOf(value) < this.#lifetimes(value).mostMs) this.#kept.set(key, value)
    }
  }

  /** What it holds, and what of responses under way that may be shared or kept has arrived. */
  stats(): { entries: number; bytes: number; underWay: number; underWayBytes: number } {
    const { size, calculatedSize, underWayBytes } = this.#kept
    return { entries: size, bytes: calculatedSize, underWay: this.#flights.size, underWayBytes }
  }

  /** Forgets everything of a company. Responses in progress still reach their callers, but are neither kept nor joined. */
  drop(companyKey: string): void {
    this.#kept.drop(companyKey)
    for (const flight of this.#flights) if (flight.request.companyKey === companyKey) this.#outdate(flight)
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
    try {
      return this.#hit(call, request) ?? (await this.#ask(call, request, send))
    } catch (error) {
      // That the budget is used up may show only now: another replica may have used it.
      const isRefused = error instanceof ProxyError && error.code === 'rate_limited'
      const late = isRefused ? this.#hit(call, request) : undefined
      if (late === undefined) throw error
      return late
    }
  }

  /** Takes the response of an equal call under way, or sends the call. */
  async #ask(call: Call, request: CacheRequest, send: Send): Promise<UpstreamResponse> {
    const forwarded = request.maxAgeMs < Number.POSITIVE_INFINITY ? 'fwd=request' : 'fwd=miss'
    if (request.noStore) return marked(call, await send(call), forwarded)
    const flight = this.#joinable.get(request.key)
    if (flight === undefined || !this.#mayJoin(flight, call, request)) {
      return marked(call, await this.#lead(call, request, send), forwarded)
    }
    return (await this.#follow(flight, call)) ?? marked(call, await send(call), forwarded)
  }

  #mayJoin({ leader: { exchange, caller }, startedAt }: Flight, call: Call, request: CacheRequest): boolean {
    // The response would be too old for the caller if it was given right after the flight began.
    if (performance.now() - startedAt >= request.maxAgeMs) return false
    // A caller's share of the budget holds back no other caller, unless the whole budget does that anyway.
    const isHeldBack = exchange.isQueued && caller?.share !== undefined
    return !isHeldBack || caller?.name === call.caller?.name || this.#isExhausted(call)
  }

  /** Kept responses of the company are stale once Procore has, or may have, carried out a write. */
  async #write(call: Call, send: Send): Promise<UpstreamResponse> {
    const { exchange } = call
    try {
      const response = await send(call)
      if (response.status < 400 || exchange.isInDoubt) this.drop(companyKeyOf(call))
      return response
    } catch (error) {
      if (exchange.isInDoubt) this.drop(companyKeyOf(call))
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
    call.exchange.saved = isRefusal ? 'refusal' : 'kept'
    const by = isRefusal ? 'hit; detail=refusal' : 'hit'
    return marked(call, storedOf(kept), `${by}; ttl=${Math.floor((freshMs - ageMs) / 1000)}`, ageMs)
  }

  /** The response of an equal call in progress; undefined if this call has to be sent by itself. */
  async #follow(flight: Flight, call: Call): Promise<UpstreamResponse | undefined> {
    const outcome = await flight.follow(call)
    // The reason why one caller's call was not sent need not apply to another caller.
    if (outcome instanceof Error && call.queueKey === flight.leader.queueKey) throw outcome
    if (outcome === undefined || outcome instanceof Error) return undefined
    const kept = keptOf(flight, outcome)
    if (!matchesVary(kept.vary, call.rawHeaders)) return undefined
    call.exchange.saved = 'coalesced'
    return marked(call, storedOf(kept), 'fwd=miss; collapsed', ageMsOf(kept))
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
      memory: { take: (bytes) => this.#kept.take(bytes), give: (bytes) => this.#kept.give(bytes) },
      mostBytes: this.#kept.maxEntrySize,
      isWanted: (response) => this.#isWanted(request, response),
    })
  }

  /** Whether the response should be collected. Forgets a kept response if this one shows that it no longer applies. */
  #isWanted({ key, pathname }: CacheRequest, response: UpstreamResponse): boolean {
    const isKept = this.#mayBeKept(pathname, response)
    if (!isKept && response.status < 500 && response.status !== 429) this.#kept.delete(key)
    return isKept || (this.#settings.coalesce && !variesByAnything(response.head))
  }

  /** Its response still reaches its callers, but is not kept, and no other call joins it. */
  #outdate(flight: Flight): void {
    flight.isOutdated = true
    this.#unlist(flight)
  }

  #unlist(flight: Flight): void {
    if (this.#joinable.get(flight.request.key) === flight) this.#joinable.delete(flight.request.key)
  }

  #mayBeKept(pathname: string, { status, head }: UpstreamResponse): boolean {
    // A cookie is meant for one caller, and so may be what comes with it (RFC 9111 section 7.3).
    if (head['set-cookie'] !== undefined || variesByAnything(head)) return false
    return this.#lifetimes({ pathname, status }).mostMs > 0
  }

  #keep(flight: Flight, whole: WholeResponse): void {
    const { key, pathname } = flight.request
    if (flight.isOutdated || !this.#mayBeKept(pathname, whole.response)) return
    const before = this.#kept.get(key)
    if (before === undefined || before.sentAt <= whole.sentAt) this.#kept.set(key, keptOf(flight, whole))
  }

  /** How long a response is fresh, and how long it is served while the budget is used up. */
  #lifetimes({ pathname, status }: Pick<KeptResponse, 'pathname' | 'status'>) {
    const { refusalsMs } = this.#settings
    if (status === 403 || status === 404) return { freshMs: refusalsMs, mostMs: refusalsMs }
    const rule = status === 200 ? keepRuleOf(this.#settings, pathname) : undefined
    if (rule === undefined) return { freshMs: 0, mostMs: 0 }
    return { freshMs: rule.forMs, mostMs: Math.max(rule.forMs, rule.whenExhaustedMs) }
  }
}

/**
 * The response with Cache-Status (RFC 9211; our member goes last, closest to the caller) and Age (RFC 9111 section 5.1),
 * unless it was fetched for this request.
 */
function marked(call: Call, response: UpstreamResponse, status: string, ageMs?: number): UpstreamResponse {
  const member = `procore-proxy; ${status}`
  call.exchange.cacheStatus = member
  const age = ageMs === undefined ? [] : ['Age', String(Math.max(0, Math.floor(ageMs / 1000)))]
  return responseWith(response, { rawHeaders: [...response.rawHeaders, 'Cache-Status', member, ...age] })
}

// --- what is kept ------------------------------------------------------------------------------------------------------

/** A complete response from Procore. */
export interface KeptResponse extends Pick<CacheRequest, 'companyKey' | 'pathname'> {
  readonly status: number
  readonly statusText: string
  /** Name, value, …, in Latin-1; without headers that applied to the first response only. */
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  readonly vary: readonly VaryField[]
  /** When Procore was asked (`performance.now()`), and by the wall clock, which also advances while a laptop sleeps. */
  readonly sentAt: number
  readonly sentAtWall: number
  readonly ageOnArrivalMs: number
}

/** They belong to the first response alone: its budget, its request id, its age on arrival. */
const OF_THE_FIRST_ALONE = /^(?:age|x-rate-limit-.*|x-request-id)$/i

function keptOf({ request, leader }: Flight, { response, body, sentAt }: WholeResponse): KeptResponse {
  const { status, statusText, rawHeaders, head } = response
  const age = /^\d{1,10}$/.exec(String(head['age']))
  return {
    companyKey: request.companyKey,
    pathname: request.pathname,
    status,
    statusText,
    rawHeaders: rawHeaders.filter((_, at) => !OF_THE_FIRST_ALONE.test(rawHeaders[at - (at % 2)]!)),
    body: body(),
    vary: varyFields(head, leader.rawHeaders),
    sentAt,
    sentAtWall: Date.now() - (performance.now() - sentAt),
    ageOnArrivalMs: Number(age ?? 0) * 1000,
  }
}

function storedOf({ status, statusText, rawHeaders, body }: KeptResponse): UpstreamResponse {
  return storedResponse(status, statusText, rawHeaders, body)
}

/** How old it is, by whichever clock says more (RFC 9111 section 4.2.3). */
function ageMsOf({ sentAt, sentAtWall, ageOnArrivalMs }: KeptResponse): number {
  return ageOnArrivalMs + Math.max(0, performance.now() - sentAt, Date.now() - sentAtWall)
}

/** The approximate memory of an entry besides its texts and body. */
const OVERHEAD_BYTES = 1024

/** The kept responses within a limit in bytes, which also includes responses that are being collected. */
export class KeptResponses extends LRUCache<string, KeptResponse> {
  /** Of responses that are being collected. */
  underWayBytes: number

  constructor(sizeBytes: number, underWayBytes = 0) {
    super({
      maxSize: sizeBytes,
      // One response, with what comes with it, may take at most a sixteenth.
      maxEntrySize: Math.floor(sizeBytes / 16),
      sizeCalculation: ({ body, rawHeaders, vary }, key) =>
        [...rawHeaders, ...vary.flat()].reduce(
          (sum, { length }) => sum + length,
          body.length + OVERHEAD_BYTES + key.length * 2,
        ),
    })
    this.underWayBytes = underWayBytes
  }

  /** Deletes everything of one company. */
  drop(companyKey: string): void {
    for (const [key, kept] of [...this.entries()]) if (kept.companyKey === companyKey) this.delete(key)
  }

  /** Makes room for a response that is being collected. The least recently used entries are deleted first. */
  take(bytes: number): boolean {
    const most = this.maxSize - this.underWayBytes - bytes
    if (most < 0) return false
    while (this.calculatedSize > most) this.pop()
    this.underWayBytes += bytes
    return true
  }

  give(bytes: number): void {
    this.underWayBytes -= bytes
  }
}
