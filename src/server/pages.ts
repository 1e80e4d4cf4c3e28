// Fastify, which never listens itself: it routes the proxy's own pages, and files to the forwarder. Loaded when first asked for.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import {
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify'
import { ProxyError } from '../errors.ts'
import type { Passage } from '../forward/forwarder.ts'
import { registerForwarder } from '../forward/http-proxy.ts'
import { FILES_PATH } from '../guards/file-hosts.ts'
import { FORWARDED_METHODS } from '../guards/framing.ts'
import { registerHealth } from './health.ts'
import type { Observation } from './observation.ts'
import { Page } from './page.ts'
import { registerPlaceholderLogin } from './placeholder-login.ts'
import { refuse } from './refusal.ts'
import { visitOf } from './visit.ts'

export interface PagesDeps {
  readonly isReady: () => boolean
  readonly observation: Observation
}

type Route = (request: IncomingMessage, response: ServerResponse) => void

export class Pages {
  readonly #app: FastifyInstance
  readonly #page: Page
  /** Answers a request that the reception let through, and on which its visit is hung. */
  readonly handle: Route

  private constructor(app: FastifyInstance, page: Page, handle: Route) {
    this.#app = app
    this.#page = page
    this.handle = handle
  }

  static async build({ isReady, observation }: PagesDeps): Promise<Pages> {
    let handle: Route = () => {}
    const app = fastify(
      optionsWith((handler) => {
        handle = handler
        return createServer()
      }),
    )
    // Parse no bodies at all: to Fastify no method has one, so none of its parsers ever runs.
    for (const method of FORWARDED_METHODS) {
      app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
    }
    app.addHook('onRequest', (request, reply, done) => {
      const { passage, exchange } = visitOf(request.raw)
      if (passage === undefined) {
        exchange.own = request.url.startsWith('/_proxy/')
        addHeaders(reply, exchange.extra)
      }
      done()
    })
    // Before any route: a route keeps the handler that was there when it was made.
    app.setErrorHandler((error, request, reply) => {
      reply.hijack()
      refuse(error, reply.raw, visitOf(request.raw).exchange)
    })
    registerPlaceholderLogin(app, { asksForKeys: () => false, findKey: async () => undefined })
    registerHealth(app, isReady)
    observation.register(app)
    const page = new Page({
      recorder: observation.recorder,
      status: () => observation.status(),
      detach: (request) => visitOf(request).end(),
    })
    page.register(app)
    await registerForwarder(app, passageOf)
    app.setNotFoundHandler((request, reply) => {
      reply.hijack()
      const { exchange } = visitOf(request.raw)
      refuse(new ProxyError('route_unknown', 'The proxy has no such page.'), reply.raw, exchange)
    })
    await app.ready()
    return new Pages(app, page, handle)
  }

  /** Ends the answers that stay open. */
  endStreams(): void {
    this.#page.endStreams()
  }

  async close(): Promise<void> {
    await this.#app.close()
  }
}

function optionsWith(serverFactory: (handler: Route) => Server): FastifyHttpOptions<Server> {
  return {
    logger: false,
    serverFactory,
    genReqId: (request) => visitOf(request).exchange.reqId,
    rewriteUrl: (request) => routeOf(request.url ?? '/'),
    // Request ids are as long.
    routerOptions: { maxParamLength: 128 },
    // Never trusted: a caller could claim any address, host or scheme.
    trustProxy: false,
    // No route has a schema: Fastify need not load what compiles them.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  }
}

function noSchemas(): never {
  throw new Error('no route has a schema')
}

/** `headers` is flat. */
function addHeaders(reply: FastifyReply, headers: readonly string[] = []): void {
  for (let i = 0; i < headers.length; i += 2) reply.header(headers[i] as string, headers[i + 1])
}

function passageOf(request: FastifyRequest): Passage {
  const { passage } = visitOf(request.raw)
  // Invariant: nothing is forwarded that the reception did not let through.
  if (passage === undefined) throw new ProxyError('route_unknown', 'The proxy has no such page.')
  return passage
}

/** What Fastify routes by: one of the proxy's own pages (without company prefix and query), or `/` for the forwarder. */
function routeOf(target: string): string {
  const own =
    /^(?:https?:\/\/[^/?#]*)?(?:\/(?!(?:rest|vapid)\/)[^/?#]*)?(\/(?:_proxy|oauth)\/[\w./-]*)(?:\?|$)/i.exec(
      target,
    )?.[1]
  return own === undefined || own.startsWith(FILES_PATH) ? '/' : own
}
