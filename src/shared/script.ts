// A Lua script and the digest by which Redis knows it.
import { hash } from 'node:crypto'

/** A script that Redis runs as one step. */
export interface Script {
  readonly text: string
  /** SHA-1 in hexadecimal, for EVALSHA. */
  readonly sha: string
}

export function script(text: string): Script {
  return { text, sha: hash('sha1', text) }
}
