// A fake Procore on loopback: login server and API. The tests have another one, made of the same parts (test/fixtures/procore.ts).
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Responder } from './answer.ts'
import { createApi, rateLimits } from './api.ts'
import { type FakeCompany, fillCompanies } from './data.ts'
import { createLogin, createTokens, type FakeClient } from './login.ts'
import { createRouter } from './routes.ts'

/** The companies of the fake. No app is connected to the third. */
export const DEMO_COMPANIES: readonly FakeCompany[] = [
  { id: '7656', name: 'Acme Construction' },
  { id: '562949953443325', name: 'Globex Builders' },
  { id: '90210', name: 'Initech Interiors', connected: false },
]

/** A client of all these companies. */
export function demoClient(companies: readonly FakeCompany[] = DEMO_COMPANIES): FakeClient {
  const companyIds = companies.map(({ id }) => id)
  return { clientId: 'demo-client', clientSecret: 'demo-secret', companyIds }
}

/** A running fake. */
export type FakeProcore = Awaited<ReturnType<typeof startFakeProcore>>

/** Starts both servers, by default on any free port. If a port is in use, rejects. */
export async function startFakeProcore({ loginPort = 0, apiPort = 0 } = {}) {
  const tokens = createTokens([demoClient()])
  const data = fillCompanies(DEMO_COMPANIES)
  const login = await listen(loginPort, createLogin(tokens))
  const respond = createApi({ tokens, data, spend: rateLimits(), route: createRouter() })
  const api = await listen(apiPort, respond).catch((error) => {
    login.server.close()
    throw error
  })
  return {
    loginUrl: login.origin,
    apiUrl: api.origin,
    servers: { login: login.server, api: api.server },
    /** Ends all connections at once. */
    close: async () => {
      for (const { server } of [login, api]) {
        const closed = once(server, 'close')
        server.close().closeAllConnections()
        await closed
      }
    },
  }
}

/** Of a longer body, only the beginning is kept. */
const KEPT_CHARACTERS = 64 * 1024

/** Starts a server; rejects if the port is in use. */
async function listen(port: number, respond: Responder) {
  const server = createServer({ keepAliveTimeout: 600_000 }, async (request, response) => {
    try {
      const { method = '', url = '', headers } = request
      const [path = '', ...query] = url.split('?')
      const to = respond({ method, path, query: new URLSearchParams(query.join('?')), headers, origin })
      let body = ''
      for await (const text of request.setEncoding('utf8')) if (body.length < KEPT_CHARACTERS) body += text
      const answer = to.answer(body)
      const length = answer.status === 204 ? {} : { 'Content-Length': Buffer.byteLength(answer.body ?? '') }
      response.writeHead(answer.status, { ...length, ...to.headers, ...answer.headers }).end(answer.body)
    } catch {
      // The caller has left.
      response.destroy()
    }
  })
  await once(server.listen(port, '127.0.0.1'), 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { server, origin }
}
