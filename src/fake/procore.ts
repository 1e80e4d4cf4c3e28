// A fake Procore on loopback, for the demo and the tests: login server, API and file host, with faults on demand.
import { Faults } from './answer.ts'
import { createApi, type RateLimitOptions, rateLimits } from './api.ts'
import { type FakeCompany, fillShelf } from './data.ts'
import { type Handler, Journal, type Listener, listen, type ServerName } from './listener.ts'
import { createLogin, createTokens, type FakeClient } from './login.ts'
import { createStorage, type PagingOptions } from './routes.ts'

/** The settings of the fake. Everything has a default. */
export interface FakeOptions {
  /** Default 0: any free port. */
  loginPort?: number
  apiPort?: number
  /** With a PEM certificate, all three servers use HTTPS. */
  tls?: { cert: string; key: string }
  /** Default: `demo-client` with `demo-secret`, in all companies. */
  clients?: readonly FakeClient[]
  /** Default: `DEMO_COMPANIES`. */
  companies?: readonly FakeCompany[]
  /** Default 5400. */
  tokenLifetimeSeconds?: number
  /** How long the login server takes to answer a token request. */
  tokenDelayMs?: number
  /** Default 3600 an hour and 100 in ten seconds; `Infinity` switches a window off. */
  rateLimit?: RateLimitOptions
  /** Compresses API responses of more than 1 KiB for callers that accept gzip. */
  gzip?: boolean
  /** How the API's lists are paged. */
  paging?: PagingOptions
  /** Milliseconds since 1970; default `Date.now`. */
  now?: () => number
}

/** The companies of the fake by default. No app is connected to the third. */
export const DEMO_COMPANIES: readonly FakeCompany[] = [
  { id: '7656', name: 'Acme Construction' },
  { id: '562949953443325', name: 'Globex Builders' },
  { id: '90210', name: 'Initech Interiors', connected: false },
]

/** A running fake. */
export type FakeProcore = Awaited<ReturnType<typeof startFakeProcore>>

/** Starts the three servers. If a port is in use, closes them all and rejects. */
export async function startFakeProcore(options: FakeOptions = {}) {
  const { tls, now = Date.now, companies = DEMO_COMPANIES } = options
  const { loginPort = 0, apiPort = 0, paging = {}, gzip = false, tokenDelayMs = 0 } = options
  const clients = options.clients ?? [
    { clientId: 'demo-client', clientSecret: 'demo-secret', companyIds: companies.map(({ id }) => id) },
  ]
  const tokens = createTokens(clients, options.tokenLifetimeSeconds ?? 5400, now)
  const { revokeTokens, resetSecret, issuedTokens } = tokens
  const journal = new Journal()
  const faults = new Faults()
  const listeners = new Map<ServerName, Listener>()
  const origin = (name: ServerName): string => {
    const hostName = name === 'storage' ? 'localhost' : '127.0.0.1'
    return `${tls === undefined ? 'http' : 'https'}://${hostName}:${listeners.get(name)?.port}`
  }
  const close = async (): Promise<void> => {
    await Promise.all([...listeners.values()].map((listener) => listener.close()))
  }
  const start = async (name: ServerName, port: number, handler: Handler): Promise<void> => {
    listeners.set(name, await listen(name, { port, tls, journal, now }, handler))
  }
  const shared = { tokens, faults, storageOrigin: () => origin('storage') }
  const shelves = new Map(companies.map((company, place) => [company.id, fillShelf(company, place, now)]))
  const spend = rateLimits(options.rateLimit ?? {}, now)
  const api = createApi({ ...shared, apiOrigin: () => origin('api'), shelves, spend, paging, gzip })
  try {
    await start('login', loginPort, createLogin(tokens, faults, tokenDelayMs))
    await start('storage', 0, createStorage(shared))
    await start('api', apiPort, api)
  } catch (error) {
    await close()
    throw error
  }
  return {
    loginUrl: origin('login'),
    apiUrl: origin('api'),
    /** Under another host name than the API, to test what must not receive the token. */
    storageUrl: origin('storage'),
    journal,
    faults,
    revokeTokens,
    resetSecret,
    issuedTokens,
    /** How many connections a server has open. */
    openSockets: (server: ServerName) => listeners.get(server)!.openSockets(),
    /** Ends all connections at once. */
    close,
  }
}
