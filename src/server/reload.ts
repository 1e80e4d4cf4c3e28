// Puts a new configuration in force while requests run: new secrets are tried before the old are dropped.
import type { LoginConnections } from '../auth/login-connections.ts'
import { TokenFailure } from '../auth/token-failure.ts'
import type { Tokens } from '../auth/tokens.ts'
import type { Config, ServiceAccount } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { Upstreams } from '../forward/upstreams.ts'
import type { Logger } from '../observe/log.ts'
import type { Listeners } from './listeners.ts'
import { type Runtime, runtimeOf } from './reception.ts'

/** While the login server can't be asked whether new secrets are good, the old configuration stays; asked again then. */
const TRY_AGAIN_MS = 15_000

export class Reloader {
  runtime: Runtime
  readonly #tokens: Tokens
  readonly #login: LoginConnections
  readonly #log: Logger
  #again: NodeJS.Timeout | undefined
  #queue: Promise<void> = Promise.resolve()

  constructor(runtime: Runtime, tokens: Tokens, login: LoginConnections, log: Logger) {
    this.runtime = runtime
    this.#tokens = tokens
    this.#login = login
    this.#log = log
  }

  /**
   * Never throws: what stands against the new configuration is logged, and the old one stays in force. Accounts whose
   * credentials changed have to get a token first. Listeners that did not change keep their connections.
   */
  reload(config: Config, listeners: Listeners): Promise<void> {
    this.#queue = this.#queue.then(() => this.#reload(config, listeners))
    return this.#queue
  }

  async #reload(config: Config, listeners: Listeners): Promise<void> {
    // A newer configuration than the one that was to be tried again.
    clearTimeout(this.#again)
    for (const source of this.#tokens.sources()) source.forgetFailures()
    // New secrets may need the new way.
    this.#login.use(config)
    const refusal = await this.#tryChanged(config)
    if (refusal !== undefined) {
      this.#keepOld()
      const again = refusal.code === 'token_unavailable'
      if (again) {
        this.#again = setTimeout(() => void this.reload(config, listeners), TRY_AGAIN_MS)
        this.#again.unref()
      }
      this.#log.error(
        { error: refusal, help: refusal.help },
        `reload: the old configuration stays in force${again ? `, tried again in ${TRY_AGAIN_MS / 1000} s` : ''}`,
      )
      return
    }
    const addresses = new Set(listeners.addresses().map(({ url }) => url))
    try {
      await listeners.apply(config)
    } catch (error) {
      this.#log.error({ error }, 'reload: the old configuration stays in force')
      this.#keepOld()
      return
    }
    const before = this.runtime
    this.runtime = runtimeOf(config, new Upstreams(config, this.#tokens, before.upstreams))
    this.#tokens.retain(accountsInUse(config))
    for (const account of accountsInUse(config)) this.#tokens.source(account).prefetch()
    // Their requests under way end as they began.
    before.upstreams.close().catch((error: unknown) => this.#log.warn({ error }, 'closing old connections'))
    this.#log.level = config.log.level
    for (const warning of config.warnings) this.#log.warn(warning)
    for (const { url, company } of listeners.addresses()) {
      if (!addresses.has(url)) this.#log.info({ company }, `listening on ${url}`)
    }
    this.#log.info({ file: config.file }, 'reload: the new configuration is in force')
  }

  #keepOld(): void {
    this.#login.use(this.runtime.config)
    this.#tokens.retain(accountsInUse(this.runtime.config))
  }

  /** Gets a token for each account that takes the place of another of the same name; why that failed, if it did. */
  async #tryChanged(config: Config): Promise<ProxyError | undefined> {
    const before = new Map(accountsInUse(this.runtime.config).map((account) => [account.name, account.key]))
    const changed = accountsInUse(config).filter(({ name, key }) => {
      const old = before.get(name)
      return old !== undefined && old !== key
    })
    const results = await Promise.allSettled(changed.map((account) => this.#tokens.source(account).get()))
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    const failure = failures.find((each) => isRejected(each)) ?? failures[0]
    if (failure === undefined) return undefined
    return failure instanceof ProxyError
      ? failure
      : new ProxyError('token_unavailable', 'The new credentials could not be tried.', { cause: failure })
  }
}

function isRejected(error: unknown): boolean {
  return error instanceof ProxyError && error.cause instanceof TokenFailure && error.cause.final
}

/** The accounts that companies use, each once. */
export function accountsInUse(config: Config): ServiceAccount[] {
  const entries = [...config.companies, ...(config.anyCompany ? [config.anyCompany] : [])]
  return [...new Map(entries.map(({ account }) => [account.key, account])).values()]
}
