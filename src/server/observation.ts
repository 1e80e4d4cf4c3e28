// Everything that watches requests, wired together: log line, metrics, recorder, warnings; and the pages that show it.
import type { FastifyInstance } from 'fastify'
import type { TokenEvent } from '../auth/token-source.ts'
import type { Config } from '../config/config.ts'
import { addedHeaders, removedHeaders } from '../forward/request-headers.ts'
import { CauseWarnings } from '../observe/cause-warnings.ts'
import { Counts } from '../observe/counts.ts'
import { type Exchange, endExchange } from '../observe/exchange.ts'
import type { Live } from '../observe/live.ts'
import { type Logger, logExchange } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import { Recorder } from '../observe/recorder.ts'
import { type Status, statusOf } from '../observe/status.ts'
import type { Tracing } from '../observe/tracing.ts'

export class Observation {
  readonly recorder: Recorder
  readonly #log: Logger
  readonly #live: Live
  readonly #tracing: Tracing | undefined
  readonly #causes: CauseWarnings
  readonly #counts = new Counts()
  #metrics: Promise<Metrics> | undefined

  constructor(config: Config, log: Logger, live: Live, tracing?: Tracing) {
    this.#log = log
    this.#tracing = tracing
    this.#live = live
    this.#causes = new CauseWarnings(log)
    this.recorder = new Recorder(config.inspector, {
      added: addedHeaders,
      removed: removedHeaders,
      budgetRemaining: (company) => live.loads.find((load) => load.company === company)?.budget.remaining,
    })
  }

  /** A request is over; `status` is null where no answer was sent. */
  ended(exchange: Exchange, status: number | null): void {
    endExchange(exchange, status)
    logExchange(this.#log, exchange)
    this.#counts.add(exchange)
    this.#causes.consider(exchange)
    exchange.trace?.ended(exchange)
    this.recorder.record(exchange)
  }

  /** A token was issued, or could not be had. */
  token(event: TokenEvent): void {
    this.#counts.addToken(event)
    this.#tracing?.tokenEnded(event)
    const { account } = event
    const where = { account: account.name, environment: account.environment.name }
    if (event.type === 'issued') {
      this.#log.info({ ...where, lifetimeS: Math.round(event.lifetimeMs / 1000) }, 'token issued')
      return
    }
    this.#log.warn(
      {
        ...where,
        reason: event.failure.reason,
        retryInMs: Math.round(event.retryInMs),
        error: event.failure,
      },
      'token request failed',
    )
  }

  status(): Status {
    return statusOf({
      live: this.#live,
      tally: (company) => this.#counts.tally(company),
      errors: this.recorder.errors(),
      causes: this.#causes.recent(),
    })
  }

  /** `/_proxy/metrics` and `/_proxy/status`; the reception has judged whoever asks. */
  register(app: FastifyInstance): void {
    app.get('/_proxy/metrics', async (_request, reply) => {
      this.#metrics ??= import('../observe/metrics.ts').then(
        ({ Metrics }) => new Metrics(this.#counts, this.#live),
      )
      const metrics = await this.#metrics
      reply.header('cache-control', 'no-store').type(metrics.contentType)
      return metrics.text()
    })
    app.get('/_proxy/status', (_request, reply) => {
      reply.header('cache-control', 'no-store').send(this.status())
    })
  }

  configure({ inspector }: Config): void {
    this.recorder.configure(inspector)
    this.endStreams()
  }

  reloaded(_error: string | undefined): void {}

  endStreams(): void {
    this.page?.endStreams()
  }

  close(): void {
    void this.#metrics?.then((metrics) => metrics.close())
  }

  page: { endStreams(): void } | undefined
}
