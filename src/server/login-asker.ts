// Asks the login servers. A reload may change the way there; what is under way then ends on the old connections.
import type { Config } from '../config/config.ts'
import { type Ask, type Asker, createAsker } from '../network/ask.ts'

type Way = Pick<Config, 'network' | 'upstream'>

/** Shorter than a token request's own limit, so that what is in the way (an outbound proxy) gets named. */
const LONGEST_CONNECT_MS = 8_000

export class LoginAsker {
  #asker: Asker
  #key: string

  constructor(way: Way) {
    this.#asker = open(way)
    this.#key = keyOf(way)
  }

  readonly ask: Ask = (question) => this.#asker.ask(question)

  /** Takes the network settings of a configuration, if they are others. */
  use(way: Way): void {
    const key = keyOf(way)
    if (key === this.#key) return
    const before = this.#asker
    this.#asker = open(way)
    this.#key = key
    // Token requests under way end, each by its own time limit.
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
