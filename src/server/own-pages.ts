// The proxy's own pages: metrics, status, the error codes, and the page at /_proxy/ with its data and events.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { printableLines } from '../observe/mask.ts'
import { ownFile } from '../observe/own-files.ts'
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

/**
 * Registers metrics, status, and docs/errors.md as a page, all of which are always there, and the page at /_proxy/.
 * `hasPublicUrl`: callers may use another URL than the one that arrives here.
 */
export function registerOwnPages(
  app: FastifyInstance,
  observation: Observation,
  hasPublicUrl: boolean,
): void {
  app.get('/_proxy/metrics', async (request, reply) => {
    const { text, type } = await observation.metrics.text(request.proxyContext.viewer)
    return reply.header('cache-control', 'no-store').type(type).send(observation.secrets.conceal(text))
  })
  app.get('/_proxy/status', async (request, reply) =>
    sendJson(reply, observation, observation.status(request.proxyContext.viewer)),
  )
  app.get('/_proxy/errors', async (_request, reply) =>
    reply
      .headers({
        'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        'cache-control': 'no-cache',
      })
      .type('text/html; charset=utf-8')
      .send(ownFile('page/errors.html')),
  )
  registerPage(app, observation, hasPublicUrl)
}

/** Sends JSON that must not be stored, without any known secret. */
function sendJson(reply: FastifyReply, { secrets }: Observation, value: unknown): FastifyReply {
  reply.header('cache-control', 'no-store').type('application/json; charset=utf-8')
  return reply.send(printableLines(secrets.conceal(JSON.stringify(value))))
}

/**
 * Only the page's own files may run, be loaded or be called. A page of another origin cannot frame it, keep a
 * reference to its window, or load any of its files.
 */
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
}

const SCRIPTS = ['page', 'companies', 'detail', 'dom', 'requests']

/** Path, file and media type. */
const FILES: readonly (readonly [string, string, string])[] = [
  ['', 'page.html', 'html'],
  ['page.css', 'page.css', 'css'],
  ...SCRIPTS.map((name) => [`${name}.js`, `${name}.js`, 'javascript'] as const),
]

function registerPage(app: FastifyInstance, observation: Observation, hasPublicUrl: boolean): void {
  const { streams } = observation
  const options = {
    preHandler: async (_request: FastifyRequest, reply: FastifyReply) => {
      if (!observation.inspector.enabled)
        throw new ProxyError('route_unknown', 'The page is switched off (`inspector.enabled: false`).')
      reply.headers(SECURITY_HEADERS)
    },
  }
  for (const path of ['/', '/_proxy']) {
    app.get(path, options, async ({ originalUrl }, reply) => {
      // Another server in front may have removed a path, so that only a relative URL is right.
      if (hasPublicUrl) return reply.redirect('./_proxy/')
      return reply.redirect(originalUrl.replace(/\/(?:_proxy)?(?:\?.*)?$/, '/_proxy/'))
    })
  }
  for (const [path, file, type] of FILES) {
    app.get(`/_proxy/${path}`, options, async (_request, reply) =>
      reply.type(`text/${type}; charset=utf-8`).send(ownFile(`page/${file}`)),
    )
  }
  app.get('/_proxy/requests', options, async (request, reply) =>
    sendJson(reply, observation, { requests: observation.inspector.requests(request.proxyContext.viewer) }),
  )
  for (const path of ['/_proxy/requests/:id', '/_proxy/requests/:id/:seq']) {
    app.get<{ Params: { id: string; seq?: string } }>(path, options, async (request, reply) => {
      const { id, seq } = request.params
      const nth = seq === undefined ? undefined : Number(seq)
      const found = observation.inspector.request(id, nth, request.proxyContext.viewer)
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
    // It counts as ended from now on, although its response continues.
    request.proxyContext.end()
    streams.open(raw, request.proxyContext.viewer)
  })
}
