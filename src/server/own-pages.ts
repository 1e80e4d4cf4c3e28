// The proxy's own pages: metrics, status, the error codes, and the page at /_proxy/ with its data and events.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { ownFile } from '../observe/own-files.ts'
import type { Viewer } from '../observe/viewer.ts'
import type { Observation } from './observation.ts'

const MOST_PLACES = 64

export class OwnPlaces {
  #taken = 0

  /** Takes a place; the function it gives must be called once, when the response is over. Throws `overloaded`. */
  enter(): () => void {
    if (this.#taken >= MOST_PLACES) {
      const detail = `${MOST_PLACES} of the proxy's own pages and lists are under way already.`
      throw new ProxyError('overloaded', detail, { retryAfterSeconds: 5 })
    }
    this.#taken++
    return () => {
      this.#taken--
    }
  }
}

export interface OwnPageDeps {
  readonly observation: Observation
  /** Who made the request, by its address, host name and key. */
  readonly viewer: (request: FastifyRequest) => Viewer
}

/** Sends JSON that must not be stored, without any known secret. */
export function sendJson(reply: FastifyReply, { secrets }: Observation, value: unknown): FastifyReply {
  return reply
    .header('cache-control', 'no-store')
    .type('application/json; charset=utf-8')
    .send(secrets.conceal(JSON.stringify(value)))
}

/** `/_proxy/metrics`, in the Prometheus text format. */
export function registerMetrics(app: FastifyInstance, { observation, viewer }: OwnPageDeps): void {
  app.get('/_proxy/metrics', async (request, reply) => {
    const { text, type } = await observation.metrics.text(viewer(request))
    return reply.header('cache-control', 'no-store').type(type).send(observation.secrets.conceal(text))
  })
}

/** `/_proxy/status`, as JSON. */
export function registerStatus(app: FastifyInstance, { observation, viewer }: OwnPageDeps): void {
  app.get('/_proxy/status', async (request, reply) =>
    sendJson(reply, observation, observation.status(viewer(request))),
  )
}

/**
 * Only the page's own files may run, be loaded or be called. A page of another origin cannot frame it, keep a
 * reference to its window, or load any of its files.
 */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
}

const SCRIPTS = ['page', 'again', 'companies', 'detail', 'dom', 'har', 'plots', 'requests']

const FILES: readonly (readonly [path: string, file: string, type: string])[] = [
  ['/_proxy/', 'page.html', 'text/html; charset=utf-8'],
  ['/_proxy/page.css', 'page.css', 'text/css; charset=utf-8'],
  ...SCRIPTS.map((name) => [`/_proxy/${name}.js`, `${name}.js`, 'text/javascript; charset=utf-8'] as const),
]

export interface PageDeps extends OwnPageDeps {
  /** The request counts as ended from now on, although its response continues. */
  readonly detach: (request: FastifyRequest) => void
  /** Whether callers may use another URL than the one that arrives here. */
  readonly hasPublicUrl: boolean
}

/** Registers the page and the data that it requests. */
export function registerPage(
  app: FastifyInstance,
  { observation, viewer, detach, hasPublicUrl }: PageDeps,
): void {
  const { streams } = observation
  const judge = async (_request: FastifyRequest, reply: FastifyReply) => {
    if (!observation.recorder.enabled)
      throw new ProxyError('route_unknown', 'The page is switched off (`inspector.enabled: false`).')
    reply.headers(SECURITY_HEADERS)
  }
  const options = { preHandler: judge }
  for (const path of ['/', '/_proxy']) {
    app.get(path, options, async ({ originalUrl }, reply) => {
      // Another server in front may have removed a path, so that only a relative URL is right.
      if (hasPublicUrl) return reply.redirect('./_proxy/')
      return reply.redirect(originalUrl.replace(/\/(?:_proxy)?(?:\?.*)?$/, '/_proxy/'))
    })
  }
  for (const [path, file, type] of FILES) {
    app.get(path, options, async (_request, reply) => reply.type(type).send(ownFile(`page/${file}`)))
  }

  app.get('/_proxy/requests', options, async (request, reply) =>
    sendJson(reply, observation, { requests: observation.recorder.requests(viewer(request)) }),
  )
  for (const path of ['/_proxy/requests/:id', '/_proxy/requests/:id/:seq']) {
    app.get<{ Params: { id: string; seq?: string } }>(path, options, async (request, reply) => {
      const { id, seq } = request.params
      const nth = seq === undefined ? undefined : Number(seq)
      const found = observation.recorder.request(id, nth, viewer(request))
      if (found === undefined)
        throw new ProxyError('route_unknown', 'The proxy remembers no request with this id.')
      return sendJson(reply, observation, found)
    })
  }
  app.get('/_proxy/events', { ...options, exposeHeadRoute: false }, async (request, reply) => {
    streams.judge()
    reply.hijack()
    const { raw } = reply
    // Hooks may have added headers that every response gets.
    for (const [name, value] of Object.entries(reply.getHeaders())) raw.setHeader(name, value ?? '')
    // The connection is not reused: it ends with the page, or with the proxy.
    raw.shouldKeepAlive = false
    raw.writeHead(200, { 'content-type': 'text/event-stream' })
    detach(request)
    streams.open(raw, viewer(request))
  })
}

/** Serves docs/errors.md as a page, whether the inspector is on or not. */
export function registerErrorDocs(app: FastifyInstance): void {
  app.get('/_proxy/errors', (_request, reply) => {
    reply
      .headers({
        'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        'cache-control': 'no-cache',
      })
      .type('text/html; charset=utf-8')
      .send(ownFile('page/errors.html'))
  })
}
