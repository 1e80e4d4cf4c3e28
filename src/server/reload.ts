// Applies a new configuration while requests run. New secrets are tried before the old ones are dropped.
import { isDeepStrictEqual } from 'node:util'
import type { Tokens } from '../auth/token-source.ts'
import type { Config, ServiceAccount } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { type Ask, type Asker, type AskerSettings, createAsker } from '../network/ask.ts'
import type { Logger } from '../observe/log.ts'
import type { Runtime } from './judge.ts'
import type { Listeners } from './listeners.ts'

/** Asks login servers, with the network settings of the configuration that is in force or being tried. */
export class LoginAsker {
  #asker: Asker

  constructor(way: AskerSettings) {
    this.#asker = createAsker(way)
  }

  readonly ask: Ask = (question) => this.#asker.ask(question)

  use(way: AskerSettings): void {
    // Token requests in flight end by their own time limits.
    void this.#asker.close().catch(() => {})
    this.#asker = createAsker(way)
  }

  destroy(): Promise<void> {
    return this.#asker.destroy()
  }
}

/**
 * If the login server cannot be reached to try new secrets, the old configuration stays, and the reload is tried
 * again after this time.
 */
const TRY_AGAIN_MS = 15_000

export interface ReloaderDeps {
  readonly tokens: Tokens
  readonly login: LoginAsker
  readonly log: Logger
  readonly listeners: Listeners
  readonly current: () => Runtime
  /** Does all that can fail. `apply` then swaps app and upstreams, and cannot fail. */
  readonly prepare: (config: Config) => Promise<{ apply(): void; discard(): Promise<void> }>
  /** The accounts of a configuration that need a token: none if nothing is ever sent to Procore. */
  readonly loginsOf: (config: Config) => readonly ServiceAccount[]
  /** Reports the result of a reload to status, page and metrics; `problems` say why it failed. */
  readonly report: (problems?: string | readonly string[]) => void
}

export class Reloader {
  readonly #deps: ReloaderDeps
  #again: NodeJS.Timeout | undefined
  /** What opens addresses, or changes the configuration, happens one after another. */
  #queue: Promise<void> = Promise.resolve()
  #isClosed = false
  /** Addresses that are being opened for a new configuration. */
  #applied: Promise<void> = Promise.resolve()

  constructor(deps: ReloaderDeps) {
    this.#deps = deps
  }

  /** Opens the addresses of the configuration in force. Throws if one cannot be opened, or if the proxy is stopping. */
  listen(): Promise<void> {
    const listening = this.#queue.then(async () => {
      const { listeners, current } = this.#deps
      const { config } = current()
      if (this.#isClosed) throw new Error('The proxy is stopping.')
      this.#applied = listeners.apply(config)
      await this.#applied
      this.#prefetch(config)
    })
    this.#queue = listening.catch(() => {})
    return listening
  }

  /**
   * Never throws: if the new configuration cannot be applied, the reason is logged and the old one stays in force.
   * Accounts whose credentials changed must get a token first. Unchanged listeners keep their connections.
   */
  reload(config: Config): Promise<void> {
    this.#queue = this.#queue
      .then(() => this.#reload(config))
      .catch((error: Error) => {
        this.#deps.report(error.message)
        this.#deps.log.error({ error }, 'reload: unexpected error')
      })
    return this.#queue
  }

  /** A configuration could not be read. It replaces the one that was waiting to be tried again. */
  failed(problems: readonly string[]): void {
    if (this.#again !== undefined)
      this.#deps.log.warn(
        'reload: the configuration before it is not tried again; send SIGHUP to read the files again',
      )
    clearTimeout(this.#again)
    this.#again = undefined
    this.#deps.report(problems)
  }

  /** From now on no configuration is applied. Resolves once the one that is being applied is in force. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#applied.catch(() => {})
  }

  async #reload(config: Config): Promise<void> {
    const { tokens, login, listeners, prepare, report, log } = this.#deps
    if (this.#isClosed) return
    // This configuration replaces the one that was waiting to be tried again.
    clearTimeout(this.#again)
    this.#again = undefined
    for (const source of tokens.sources()) source.forgetFailures()
    // Trying the new secrets may need the new network settings.
    login.use(config)
    const refusal = await this.#tryChanged(config)
    if (this.#isClosed) return
    if (refusal !== undefined) {
      this.#keepOld(config, refusal)
      return
    }
    const before = new Set(listeners.addresses().map(({ url }) => url))
    let prepared: Awaited<ReturnType<typeof prepare>> | undefined
    try {
      prepared = await prepare(config)
      if (this.#isClosed) throw new Error('The proxy is stopping.')
      this.#applied = listeners.apply(config, prepared.apply)
      await this.#applied
    } catch (error) {
      this.#keepOld(config, error as Error)
      await prepared?.discard()
      return
    }
    tokens.retain(placesInUse(config))
    this.#prefetch(config)
    log.level = config.log.level
    for (const warning of config.warnings) log.warn(warning)
    for (const { url, company } of listeners.addresses()) {
      if (!before.has(url)) log.info({ company }, `listening on ${url}`)
    }
    report()
    log.info({ file: config.file }, 'reload: the new configuration is in force')
  }

  #prefetch(config: Config): void {
    const { tokens, loginsOf } = this.#deps
    for (const account of loginsOf(config)) tokens.source(account).prefetch()
  }

  #keepOld(refused: Config, error: Error): void {
    const { tokens, login, current, report, log } = this.#deps
    const { config } = current()
    login.use(config)
    tokens.retain(placesInUse(config))
    const isTriedAgain = error instanceof ProxyError && error.code === 'token_unavailable'
    if (isTriedAgain) {
      this.#again = setTimeout(() => {
        this.#again = undefined
        void this.reload(refused)
      }, TRY_AGAIN_MS)
      this.#again.unref()
    }
    report(error.message)
    const help = error instanceof ProxyError ? { help: error.help } : {}
    const again = isTriedAgain ? `; the new one is tried again in ${TRY_AGAIN_MS / 1000} s` : ''
    log.error({ error, ...help }, `reload: the old configuration stays in force${again}`)
  }

  /** Gets a token for each account that replaces another one in its place; returns the error if that fails. */
  async #tryChanged(config: Config): Promise<ProxyError | undefined> {
    const { tokens, loginsOf, current } = this.#deps
    const before = new Map(placesInUse(current().config).map(({ place, key }) => [place, key]))
    const needed = new Set(loginsOf(config).map(({ key }) => key))
    const changed = placesInUse(config).filter(({ place, key }) => {
      const old = before.get(place)
      return needed.has(key) && old !== undefined && old !== key
    })
    const results = await Promise.allSettled(changed.map((account) => tokens.source(account).get()))
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    return failures.find(({ code }: ProxyError) => code === 'credentials_rejected') ?? failures[0]
  }
}

/** The configuration, with a warning for each change that a reload does not make. `start`: what the proxy was started with. */
export function withLateChanges(start: Config, next: Config): Config {
  const late: string[] = []
  if (!isDeepStrictEqual(sharedIn(start), sharedIn(next))) {
    late.push('`shared`, or of the certificates for it,')
  }
  if (start.log.format !== next.log.format) late.push('`log.format`')
  const warnings = late.map((key) => `reload: a change of ${key} takes effect at the next start`)
  return warnings.length === 0 ? next : { ...next, warnings: [...next.warnings, ...warnings] }
}

function sharedIn({ shared, network }: Config): unknown {
  if (shared === undefined) return undefined
  const url = shared.url.reveal()
  return { ...shared, url, certificates: url.startsWith('rediss:') ? network.certificates : [] }
}

/** The accounts that are used by companies, each once. Those with equal credentials count as one. */
export function accountsInUse(config: Config): ServiceAccount[] {
  return [...new Map(placesInUse(config).map((account) => [account.key, account])).values()]
}

/** The account of each company. */
function placesInUse({ companies, anyCompany }: Config): ServiceAccount[] {
  return [...companies, ...(anyCompany ? [anyCompany] : [])].map(({ account }) => account)
}
