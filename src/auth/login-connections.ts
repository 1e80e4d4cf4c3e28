// The connections to the login servers. A reload may change the way there; what is under way then ends on the old one.
import type { Config } from '../config/config.ts'
import { OriginPools } from '../http1/origin-pools.ts'
import { connector } from '../network/connector.ts'
import { LOGIN_CONNECT_MS } from './request-token.ts'

/** Token requests are rare: a connection is for the next company's, not for the next hour. */
const KEEP_ALIVE_MS = 4_000

type Way = Pick<Config, 'network' | 'upstream'>

export class LoginConnections {
  #pools: OriginPools
  #key: string

  constructor(way: Way) {
    this.#pools = openPools(way)
    this.#key = keyOf(way)
  }

  /** For the next token request. */
  get pools(): OriginPools {
    return this.#pools
  }

  /** Takes the way that a configuration says, if it is another. */
  use(way: Way): void {
    const key = keyOf(way)
    if (key === this.#key) return
    const before = this.#pools
    this.#pools = openPools(way)
    this.#key = key
    // Token requests under way end, each by its own time limit.
    void before.close()
  }

  async destroy(): Promise<void> {
    await this.#pools.destroy()
  }
}

function keyOf({ network, upstream }: Way): string {
  return `${network.key} ${upstream.connectTimeoutMs}`
}

function openPools({ network, upstream }: Way): OriginPools {
  const timeoutMs = Math.min(upstream.connectTimeoutMs, LOGIN_CONNECT_MS)
  return new OriginPools(connector(network, timeoutMs), KEEP_ALIVE_MS)
}
