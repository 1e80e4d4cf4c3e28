// Reports each request to everything that observes it: log, metrics, recorder and history. It outlives a reload.
import type { TokenEvent } from '../auth/token-source.ts'
import type { Config } from '../config/config.ts'
import { addedHeaders, removedHeaders } from '../forward/request-headers.ts'
import { CompanyHistory } from '../observe/company-history.ts'
import { type Exchange, endExchange } from '../observe/exchange.ts'
import { KnownSecrets } from '../observe/known-secrets.ts'
import { causeOf } from '../observe/likely-causes.ts'
import type { LastReload, Live } from '../observe/live.ts'
import { type Logger, logExchange } from '../observe/log.ts'
import { Metrics } from '../observe/metrics.ts'
import { Recorder } from '../observe/recorder.ts'
import type { Status } from '../observe/status.ts'
import { statusOf } from '../observe/status-of.ts'
import { EVERYTHING, type Viewer } from '../observe/viewer.ts'
import { EventStreams } from './event-streams.ts'

export interface ObservationDeps {
  readonly config: Config
  readonly log: Logger
  readonly live: Live
  /** Shared with the log, which hides them in its lines. */
  readonly secrets?: KnownSecrets
}

/** At most this many requests wait to be reported. */
const MOST_WAITING = 256

export class Observation {
  readonly secrets: KnownSecrets
  /** The streams to open pages. */
  readonly streams = new EventStreams(this)
  readonly #log: Logger
  readonly #live: Live
  readonly #history: CompanyHistory
  readonly #metrics: Metrics
  readonly #recorder: Recorder
  /** Requests that have ended and are not reported yet. */
  #waiting: Exchange[] = []
  #lastReload: LastReload | undefined

  constructor({ config, log, live, secrets = new KnownSecrets() }: ObservationDeps) {
    this.#log = log
    this.#live = live
    this.secrets = secrets
    secrets.configure(config)
    this.#history = new CompanyHistory(log)
    this.#metrics = new Metrics(live, () => this.#lastReload)
    this.#recorder = new Recorder(config.inspector, {
      added: addedHeaders,
      removed: removedHeaders,
      budgetRemaining: live.budgetRemaining,
    })
  }

  /** Applies another configuration. Open pages reconnect. */
  configure(config: Config): void {
    this.recorder.configure(config.inspector)
    this.secrets.configure(config)
    this.streams.end()
  }

  get recorder(): Recorder {
    this.#report()
    return this.#recorder
  }

  get metrics(): Metrics {
    this.#report()
    return this.#metrics
  }

  /**
   * Reports a request that has ended; `status` is null if no response was sent. Requests that end in the same turn of
   * the event loop are reported together after it, which takes a third of the time that each would take by itself.
   */
  ended(exchange: Exchange, status: number | null): void {
    endExchange(exchange, status)
    if (this.#waiting.push(exchange) === 1) setImmediate(() => this.#report())
    if (this.#waiting.length === MOST_WAITING) this.#report()
  }

  #report(): void {
    const ended = this.#waiting
    this.#waiting = []
    for (const exchange of ended) {
      const { errorBody, status } = exchange
      if (errorBody !== undefined && status !== null) exchange.refusal = causeOf(status, errorBody.toString())
      logExchange(this.#log, exchange)
    }
    for (const exchange of ended) {
      this.#metrics.add(exchange)
      this.#history.add(exchange)
      this.#recorder.record(exchange)
    }
  }

  /** Reports that a token was issued, or that a token request failed. */
  token(event: TokenEvent): void {
    this.#metrics.addToken(event)
    const { account } = event
    const where = { account: account.name, environment: account.environment.name }
    if (event.type === 'issued') {
      this.#log.info({ ...where, lifetimeS: Math.round(event.lifetimeMs / 1000) }, 'token issued')
      return
    }
    const { failure, retryInMs } = event
    // A refusal is final, so there is no next attempt to announce.
    const again = failure.final || retryInMs === undefined ? {} : { retryInMs: Math.round(retryInMs) }
    this.#log.warn({ ...where, reason: failure.reason, ...again, error: failure }, 'token request failed')
  }

  /** Reports a reload. `problems` say why the old configuration stays in force; none if the new one was applied. */
  reloaded(problems: string | readonly string[] = []): void {
    const errors = [problems].flat()
    this.#lastReload = { at: Date.now(), ok: errors.length === 0, errors }
  }

  /** The part of the status that the viewer may see. */
  status(viewer: Viewer = EVERYTHING): Status {
    return statusOf({
      live: this.#live,
      history: this.#history,
      errors: this.recorder.errors(viewer),
      lastReload: this.#lastReload,
      viewer,
    })
  }

  close(): void {
    this.streams.end()
    this.metrics.close()
  }
}
