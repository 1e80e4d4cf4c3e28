// Sends requests to the login servers. A reload may change the network settings; requests in flight then end on the
// old connections.
import type { Config } from '../config/config.ts'
import { type Ask, type Asker, createAsker } from '../network/ask.ts'

type Way = Pick<Config, 'network' | 'upstream'>

/**
 * Shorter than the limit of a token request, so that the error can name what blocks the connection, such as an
 * outbound proxy.
 */
const LONGEST_CONNECT_MS = 8_000

export class LoginAsker {
  #asker: Asker
  #key: string

  constructor(way: Way) {
    this.#asker = open(way)
    this.#key = keyOf(way)
  }

  readonly ask: Ask = (question) => this.#asker.ask(question)

  /** Applies the network settings of a configuration, if they have changed. */
  use(way: Way): void {
    const key = keyOf(way)
    if (key === this.#key) return
    const before = this.#asker
    this.#asker = open(way)
    this.#key = key
    // Token requests in flight end by their own time limits.
    void before.close()
  }

  destroy(): Promise<void> {
    return this.#asker.destroy()
  }
}

function keyOf({ network, upstream }: Way): string {
  return `${network.key} ${upstream.connectTimeoutMs}`
}

function open({ network, upstream }: Way): Asker {
  return createAsker(network, Math.min(upstream.connectTimeoutMs, LONGEST_CONNECT_MS))
}
