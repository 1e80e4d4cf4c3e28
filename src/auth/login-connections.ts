// The connections to the login servers. A reload may change the way there; what is under way then ends on the old one.
import { Agent, type Dispatcher } from 'undici'
import type { Config } from '../config/config.ts'
import { connector } from '../network/connector.ts'
import { LOGIN_CONNECT_MS } from './request-token.ts'

type Way = Pick<Config, 'network' | 'upstream'>

export class LoginConnections {
  #agent: Agent
  #key: string

  constructor(way: Way) {
    this.#agent = openAgent(way)
    this.#key = keyOf(way)
  }

  /** For the next token request. */
  get dispatcher(): Dispatcher {
    return this.#agent
  }

  /** Takes the way that a configuration says, if it is another. */
  use(way: Way): void {
    const key = keyOf(way)
    if (key === this.#key) return
    const before = this.#agent
    this.#agent = openAgent(way)
    this.#key = key
    // Token requests under way end, each by its own time limit.
    void before.close()
  }

  async destroy(): Promise<void> {
    await this.#agent.destroy()
  }
}

function keyOf({ network, upstream }: Way): string {
  return `${network.key} ${upstream.connectTimeoutMs}`
}

function openAgent({ network, upstream }: Way): Agent {
  return new Agent({
    connect: connector(network, Math.min(upstream.connectTimeoutMs, LOGIN_CONNECT_MS)),
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 4_000,
  })
}
