// Single requests of the benchmark's own: whether a program answers yet.
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Child } from './children.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One GET on a connection of its own. */
export function get(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers, agent: false }, (response) => {
      let body = ''
      response.setEncoding('latin1')
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
      response.on('error', reject)
    })
    sent.setTimeout(10_000, () => sent.destroy(new Error('no answer for 10 s')))
    sent.on('error', reject)
    sent.end()
  })
}

/** Asks until the answer is 200; throws with what the program printed where that takes too long or it ends. */
export async function waitFor(
  url: string,
  child: Child,
  headers: Record<string, string> = {},
): Promise<Answer> {
  let last = ''
  for (const deadline = performance.now() + 15_000; performance.now() < deadline; await sleep(2)) {
    try {
      const answer = await get(url, headers)
      if (answer.status === 200) return answer
      last = `${answer.status} ${answer.body.slice(0, 500)}`
    } catch (error) {
      last = (error as Error).message
    }
    if (child.exited()) break
  }
  throw new Error(`${url} does not answer (${last}):\n${child.output()}`)
}

/** Waits until somebody listens on the port; throws with what the program printed where nobody does. */
export async function waitForPort(port: number, child: Child): Promise<void> {
  for (const deadline = performance.now() + 15_000; performance.now() < deadline; await sleep(10)) {
    const socket = connect(port, '127.0.0.1')
    const open = await new Promise<boolean>((resolve) => {
      socket.on('connect', () => resolve(true))
      socket.on('error', () => resolve(false))
    })
    socket.destroy()
    if (open) return
    if (child.exited()) break
  }
  throw new Error(`nobody listens on port ${port}:\n${child.output()}`)
}
