// A fake Procore on loopback, for the demo and the tests: login server and API.
import { type Play, playOrdinary } from './answer.ts'
import { createApi, type RateLimitOptions, rateLimits } from './api.ts'
import { type FakeCompany, fillShelf } from './data.ts'
import { Journal, listen } from './listener.ts'
import { createLogin, createTokens, type FakeClient } from './login.ts'
import type { Route } from './routes.ts'

/** The settings of the fake. Everything has a default. */
export interface FakeOptions {
  /** Default 0: any free port. */
  loginPort?: number
  apiPort?: number
  /** With a PEM certificate, both servers use HTTPS. */
  tls?: { cert: string; key: string }
  /** Default: `demo-client` with `demo-secret`, in all companies. */
  clients?: readonly FakeClient[]
  /** Default: `DEMO_COMPANIES`. */
  companies?: readonly FakeCompany[]
  /** Default 5400. */
  tokenLifetimeSeconds?: number
  /** Default 3600 an hour and 100 in ten seconds; `Infinity` switches a window off. */
  rateLimit?: RateLimitOptions
  /** Milliseconds since 1970; default `Date.now`. */
  now?: () => number
  /** How the tests make it misbehave, and what else they have it serve and tell (test/fixtures/procore.ts). */
  play?: Play
  routes?: readonly Route[]
  journal?: Journal
}

/** The companies of the fake by default. No app is connected to the third. */
export const DEMO_COMPANIES: readonly FakeCompany[] = [
  { id: '7656', name: 'Acme Construction' },
  { id: '562949953443325', name: 'Globex Builders' },
  { id: '90210', name: 'Initech Interiors', connected: false },
]

/** A running fake. */
export type FakeProcore = Awaited<ReturnType<typeof startFakeProcore>>

/** Starts both servers. If a port is in use, rejects. */
export async function startFakeProcore(options: FakeOptions = {}) {
  const { loginPort = 0, apiPort = 0, tls, now = Date.now, companies = DEMO_COMPANIES } = options
  const { play = playOrdinary, routes = [], journal = new Journal() } = options
  const clients = options.clients ?? [
    { clientId: 'demo-client', clientSecret: 'demo-secret', companyIds: companies.map(({ id }) => id) },
  ]
  const tokens = createTokens(clients, options.tokenLifetimeSeconds ?? 5400, now)
  const shelves = new Map(companies.map((company, place) => [company.id, fillShelf(company, place, now)]))
  const spend = rateLimits(options.rateLimit ?? {}, now)
  const shared = { tls, journal, now }
  const login = await listen('login', { ...shared, port: loginPort }, createLogin(tokens, play))
  const answerApi = createApi({ tokens, shelves, spend, play, routes })
  const api = await listen('api', { ...shared, port: apiPort }, answerApi).catch(async (error) => {
    await login.close()
    throw error
  })
  return {
    loginUrl: login.origin,
    apiUrl: api.origin,
    journal,
    tokens,
    servers: { login, api },
    /** Ends all connections at once. */
    close: async () => {
      await Promise.all([login.close(), api.close()])
    },
  }
}
