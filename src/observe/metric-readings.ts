// Reads the metrics that are not counted: tokens, loads and budgets, the last reload, and the process itself.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { CompanyLoad, LastReload, Live } from './live.ts'
import type { Sample } from './metric-definitions.ts'
import type { Readings } from './metrics-registry.ts'

const LAG_RESOLUTION_MS = 50

export class MetricReadings {
  readonly #live: Live
  readonly #lastReload: () => LastReload | undefined
  #lag: ReturnType<typeof monitorEventLoopDelay> | undefined

  constructor(live: Live, lastReload: () => LastReload | undefined) {
    this.#live = live
    this.#lastReload = lastReload
  }

  /** Each is read at a scrape. */
  get all(): Readings {
    const live = this.#live
    const loads = (read: (load: CompanyLoad) => number | undefined) => (): Sample[] =>
      live.loads.map((load) => [{ company: load.company }, read(load)])
    const one = (read: () => number | undefined) => (): Sample[] => [[{}, read()]]
    return {
      ...tokenReadings(live),
      ready: one(() => (live.ready ? 1 : 0)),
      inFlight: loads(({ inFlight }) => inFlight),
      queued: () =>
        live.loads.flatMap(({ company, waitingForBudget, waitingForConnection }): Sample[] => [
          [{ company, for: 'budget' }, waitingForBudget],
          [{ company, for: 'connection' }, waitingForConnection],
        ]),
      budgetLimit: loads(({ budget }) => budget.limit),
      budgetRemaining: loads(({ budget }) => budget.remaining),
      budgetReset: loads(({ budget: { resetInMs } }) =>
        resetInMs === undefined ? undefined : resetInMs / 1000,
      ),
      reloadOk: one(() => (this.#lastReload()?.ok === false ? 0 : 1)),
      reloadTime: one(() => (this.#lastReload()?.at ?? performance.timeOrigin) / 1000),
      sharedUp: one(() => (live.shared === undefined ? undefined : live.shared.up ? 1 : 0)),
      sharedErrors: () => Object.entries(live.shared?.errors ?? {}).map(([kind, count]) => [{ kind }, count]),
      logLinesLost: one(() => live.logLinesLost),
      eventLoopLag: () => this.#lagReadings(),
      buildInfo: () => [[{ version: live.version, node: process.versions.node }, 1]],
      cpu: one(() => {
        const { user, system } = process.cpuUsage()
        return (user + system) / 1e6
      }),
      memory: one(() => process.memoryUsage.rss()),
      startTime: one(() => performance.timeOrigin / 1000),
    }
  }

  #lagReadings(): Sample[] {
    this.#lag ??= monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })
    const lag = this.#lag
    lag.enable()
    const seconds = (nanoseconds: number) =>
      lag.count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - LAG_RESOLUTION_MS) / 1000
    const samples: Sample[] = [
      [{ quantile: '0.5' }, seconds(lag.percentile(50))],
      [{ quantile: '0.99' }, seconds(lag.percentile(99))],
      [{ quantile: '1' }, seconds(lag.max)],
    ]
    lag.reset()
    return samples
  }

  /** Stops watching the event loop. */
  close(): void {
    this.#lag?.disable()
  }
}

function tokenReadings(live: Live): Readings {
  type State = ReturnType<Live['tokens'][number]['state']>
  const each = (read: (token: NonNullable<State['token']>) => number) => (): Sample[] =>
    live.tokens.map((source) => {
      const { token } = source.state()
      return [accountLabels(source.account), token && read(token)]
    })
  return {
    tokenValid: () =>
      live.tokens.map((source) => [
        accountLabels(source.account),
        source.state().token === undefined ? 0 : 1,
      ]),
    // Never negative, even if the clock was set back.
    tokenAge: each(({ obtainedAt }) => Math.max(0, Date.now() - obtainedAt) / 1000),
    tokenExpiresIn: each(({ endsAt }) => Math.max(0, endsAt - performance.now()) / 1000),
    tokenLifetime: each(({ lifetimeMs }) => lifetimeMs / 1000),
  }
}

interface NamedAccount {
  readonly name: string
  readonly environment: { readonly name: string }
}

export function accountLabels({ name, environment }: NamedAccount): { account: string; environment: string } {
  return { account: name, environment: environment.name }
}
