// The page at /_proxy/: its files, the remembered requests as JSON, and the stream of events that keeps it live.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProxyError } from '../errors.ts'
import { ownFile } from '../observe/own-files.ts'
import { type OwnPageDeps, sendJson } from './own-pages.ts'

/**
 * Nothing but the page's own files may run, load or be called. A page of another origin can't frame it, open it with a
 * handle to it, or load any of its files.
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
  /** From here on a request counts as ended, although its response goes on. */
  readonly detach: (request: FastifyRequest) => void
}

/** Leads from `/` and `/_proxy` to the page, where it is on. */
export function registerPageRedirects(
  app: FastifyInstance,
  { observation }: Pick<PageDeps, 'observation'>,
): void {
  for (const path of ['/', '/_proxy']) {
    app.get(path, async (_request, reply) => {
      if (!observation.recorder.enabled)
        throw new ProxyError('route_unknown', 'The page is switched off (`inspector.enabled: false`).')
      // Relative, so that a company's prefix stays in front.
      return reply.redirect('_proxy/')
    })
  }
}

/** Registers the page and what it asks for; the hooks have judged the request. */
export function registerPage(app: FastifyInstance, { observation, viewer, detach }: PageDeps): void {
  const { recorder, streams } = observation
  const judge = async (_request: FastifyRequest, reply: FastifyReply) => {
    if (!recorder.enabled)
      throw new ProxyError('route_unknown', 'The page is switched off (`inspector.enabled: false`).')
    reply.headers(SECURITY_HEADERS)
  }
  const options = { preHandler: judge }
  for (const [path, file, type] of FILES) {
    app.get(path, options, async (_request, reply) => reply.type(type).send(ownFile(`page/${file}`)))
  }

  app.get('/_proxy/requests', options, async (request, reply) =>
    sendJson(reply, observation, { requests: recorder.requests(viewer(request)) }),
  )
  for (const path of ['/_proxy/requests/:id', '/_proxy/requests/:id/:seq']) {
    app.get<{ Params: { id: string; seq?: string } }>(path, options, async (request, reply) => {
      const { id, seq } = request.params
      const found = recorder.request(id, seq === undefined ? undefined : Number(seq), viewer(request))
      if (found === undefined)
        throw new ProxyError('route_unknown', 'The proxy remembers no request with this id.')
      return sendJson(reply, observation, found)
    })
  }
  app.get('/_proxy/events', { ...options, exposeHeadRoute: false }, async (request, reply) => {
    streams.judge()
    reply.hijack()
    const { raw } = reply
    // Hooks may have put headers on it that every response gets.
    for (const [name, value] of Object.entries(reply.getHeaders())) raw.setHeader(name, value ?? '')
    // Not worth keeping: the connection ends with the page, or with the proxy.
    raw.shouldKeepAlive = false
    raw.writeHead(200, { 'content-type': 'text/event-stream' })
    detach(request)
    streams.open(raw, viewer(request))
  })
}
