// The metrics that are read and not counted: tokens, loads and budgets, the last reload, and the process itself.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { TokenState } from '../auth/token-source.ts'
import type { ServiceAccount } from '../config/config.ts'
import type { CompanyLoad, LastReload, Live } from './live.ts'
import type { Sample } from './metric-definitions.ts'
import type { Readings } from './metrics-registry.ts'

const LAG_RESOLUTION_MS = 50

/** Each is read when the metrics are requested. `lag` measures the delays of the event loop. */
export function readingsOf(
  live: Live,
  lastReload: () => LastReload | undefined,
  lag: EventLoopLag,
): Readings {
  const loads = (read: (load: CompanyLoad) => number | undefined) => (): Sample[] =>
    live.loads.map((load) => [{ company: load.company }, read(load)])
  const tokens = (read: (token: TokenState['token']) => number | undefined) => (): Sample[] =>
    live.tokens.map((source) => [accountLabels(source.account), read(source.state().token)])
  const one = (read: () => number | undefined) => (): Sample[] => [[{}, read()]]
  return {
    tokenValid: tokens((token) => (token === undefined ? 0 : 1)),
    // A clock that was set back must not make it negative.
    tokenAge: tokens((token) => token && Math.max(0, Date.now() - token.obtainedAt) / 1000),
    tokenExpiresIn: tokens((token) => token && Math.max(0, token.endsAt - performance.now()) / 1000),
    tokenLifetime: tokens((token) => token && token.lifetimeMs / 1000),
    ready: one(() => (live.ready ? 1 : 0)),
    inFlight: loads(({ inFlight }) => inFlight),
    queued: () =>
      live.loads.flatMap(({ company, waitingForBudget, waitingForConnection }): Sample[] => [
        [{ company, for: 'budget' }, waitingForBudget],
        [{ company, for: 'connection' }, waitingForConnection],
      ]),
    budgetLimit: loads(({ budget }) => budget.limit),
    budgetRemaining: loads(({ budget }) => budget.remaining),
    budgetReset: loads(({ budget: { resetInMs } }) => resetInMs && resetInMs / 1000),
    reloadOk: one(() => (lastReload()?.ok === false ? 0 : 1)),
    reloadTime: one(() => (lastReload()?.at ?? performance.timeOrigin) / 1000),
    sharedUp: one(() => live.shared && Number(live.shared.up)),
    sharedErrors: () => Object.entries(live.shared?.errors ?? {}).map(([kind, count]) => [{ kind }, count]),
    logLinesLost: one(() => live.logLinesLost),
    eventLoopLag: () => lagReadings(lag),
    buildInfo: () => [[{ version: live.version, node: process.versions.node }, 1]],
    cpu: one(() => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    }),
    memory: one(() => process.memoryUsage.rss()),
    startTime: one(() => performance.timeOrigin / 1000),
  }
}

/** Measures the delays of the event loop once it is enabled. */
export const eventLoopLag = () => monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })
export type EventLoopLag = ReturnType<typeof eventLoopLag>

function lagReadings(lag: EventLoopLag): Sample[] {
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

/** The labels of a service account. */
export function accountLabels({ name, environment }: ServiceAccount): {
  account: string
  environment: string
} {
  return { account: name, environment: environment.name }
}
