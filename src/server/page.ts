// Serves the page at /_proxy/: its files, the recent requests as JSON, and the events that keep it up to date.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { ownFile } from '../observe/own-files.ts'
import { type OwnPageDeps, sendJson } from './own-pages.ts'

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
