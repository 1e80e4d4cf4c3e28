// A login server in the benchmark's own process, which knows when tokens were asked for.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What an answer takes, about as long as over the net. */
export const LOGIN_MS = 200

export interface Login {
  readonly url: string
  /** When each token was asked for, ms of the wall clock. */
  readonly asked: number[]
  close(): void
}

/** Issues tokens that live so many seconds. */
export async function startLogin(expiresIn: number): Promise<Login> {
  const asked: number[] = []
  const server = createServer((request, response) => {
    asked.push(Date.now())
    request.resume()
    const token = { access_token: `bench-${asked.length}`, token_type: 'Bearer', expires_in: expiresIn }
    setTimeout(() => {
      response.writeHead(200, { 'Content-Type': 'application/json' })
      response.end(JSON.stringify(token))
    }, LOGIN_MS)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${port}`, asked, close }
}
