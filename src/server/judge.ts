// Judges each request before anything else happens: framing, Host, Origin, key, target, company, access.
import { FORWARDED_METHODS } from '../config/access-rules.ts'
import { isWildcardAddress } from '../config/addresses.ts'
import type { Caller, Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { ApprovedCall } from '../forward/call.ts'
import { wantsGzip } from '../forward/headers.ts'
import { type CallerBase, publicPath } from '../forward/links.ts'
import type { Upstreams } from '../forward/upstreams.ts'
import { decideAccess } from '../guards/access.ts'
import {
  asksForKeys,
  hasKeyHeader,
  identifyCaller,
  judgeCaller,
  judgeRequiredHeader,
  visibleCompanies,
} from '../guards/callers.ts'
import { FILES_PATH, type FileTarget, readFileTarget } from '../guards/file-hosts.ts'
import {
  corsHeaders,
  type Host,
  hostLabel,
  isPreflight,
  judgeFraming,
  judgeHost,
  judgeLoop,
  judgeOrigin,
  type OwnOrigin,
  readHost,
  withOneHopLess,
} from '../guards/headers.ts'
import { type Exchange, startExchange } from '../observe/exchange.ts'
import { Bodies } from '../observe/recorded-body.ts'
import type { Viewer } from '../observe/viewer.ts'
import {
  type Choice,
  type CompanyTable,
  chooseCompany,
  companyTable,
  cutPrefix,
  fixedCompany,
  idsIn,
  isOwnPath,
  refuseOtherIds,
  routeUnknown,
  shownTo,
} from '../routing/company.ts'
import { headerValues, readTarget, type Target } from '../routing/raw-request.ts'
import type { Listener } from './listeners.ts'

/** The start of the path of a whole list; the API's path follows. */
export const LIST = /^\/_proxy\/(?:csv|ndjson|json)(?=\/)/

/** The two health endpoints say up or down and nothing else. */
export const LIVE = '/_proxy/health/live'
export const READY = '/_proxy/health/ready'

/** Whether `metrics.listen` serves this request target: health or metrics. */
export function isForMetrics(target: string): boolean {
  return isHealth(target) || pathOf(target) === '/_proxy/metrics'
}

/** Whether a request target is a health endpoint, with or without a query. */
export function isHealth(target: string): boolean {
  const path = pathOf(target)
  return path === LIVE || path === READY
}

/** Without query, and without the authority of the absolute form. */
function pathOf(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]+|\?.*$/gi, '')
}

/** What is derived from the current configuration. A reload replaces it. */
export interface Runtime {
  readonly config: Config
  readonly table: CompanyTable
  readonly upstreams: Upstreams
}

export function runtimeOf(config: Config, upstreams: Upstreams): Runtime {
  return { config, table: companyTable(config), upstreams }
}

/** The parts of a request that are judged: Node's IncomingMessage, or an object made by `explain`. */
export interface ArrivedRequest {
  readonly method?: string | undefined
  readonly httpVersion: string
  readonly rawHeaders: string[]
  readonly socket: { readonly localAddress?: string | undefined }
}

/**
 * The result of judging a request: it is forwarded, it is for one of the proxy's own routes (`url` is without company
 * prefix), it asks for a whole list, or it is a preflight to answer with 204 and these headers (name, value, …).
 */
export type Judgement =
  | { readonly kind: 'forward'; readonly call: ApprovedCall }
  | { readonly kind: 'own'; readonly url: string }
  | { readonly kind: 'list'; readonly list: ListRequest }
  | { readonly kind: 'preflight'; readonly headers: readonly string[] }

/** A request for a whole list. Each page is judged like a separate request. */
export interface ListRequest {
  /** The list's raw path, without company prefix, and query. */
  readonly url: string
  readonly companyId: string
  readonly apiOrigin: string
  readonly caller: Caller | undefined
  /** Judges the GET of one page; `url` is the API's path and query. Throws ProxyError. */
  page(url: string): ApprovedCall
}

export interface JudgeInput {
  readonly runtime: Runtime
  readonly request: ArrivedRequest
  readonly listener: Listener
  readonly exchange: Exchange
  readonly isDraining: boolean
  /** The caller's keys that the route has found in a login. */
  readonly keysOfLogin?: readonly string[] | undefined
}

/** What the request may see. Filled in while judging. */
interface Judged {
  viewer: Viewer
}

/** Any prefix is accepted until the key is known, so that a caller without one does not learn which companies exist. */
const LOGIN = /^(?:\/(?!(?:rest|vapid|_proxy)\/)[^/]+)?\/oauth\/(token|revoke)$/

/** Judges a request and says where it goes; throws ProxyError for a refusal. */
export function judge(input: JudgeInput, judged: Judged): Judgement {
  const { runtime, request, listener, exchange } = input
  const { guard } = runtime.config
  const { rawHeaders, method = '' } = request
  const publicUrl = publicUrlOf(runtime, listener)
  exchange.publicUrl = publicUrl
  judgeFraming(rawHeaders, method, request.httpVersion)
  if (isHealth(exchange.target) || listener.isForMetrics) {
    // A kubelet uses the pod's address as Host. These endpoints reveal only up or down, or are on a separate address.
    const preflight = allowOrigin(input, { host: hostOrUnknown(request) })
    if (listener.isForMetrics && !isForMetrics(exchange.target)) {
      throw new ProxyError('route_unknown', 'This address serves health and metrics only.', {
        help: 'Call /_proxy/metrics, /_proxy/health/live or /_proxy/health/ready.',
      })
    }
    return preflight ?? { kind: 'own', url: exchange.target }
  }
  const host = readHost(rawHeaders, request.httpVersion)
  judgeHost(guard, host, () => [...ownAddresses(listener, request), ...hostnames(publicUrl)])
  const preflight = allowOrigin(input, { host, publicUrl })
  if (preflight !== undefined) return preflight
  judgeRequiredHeader(guard, rawHeaders)
  const target = readTarget(exchange.target, host.authority)
  // A login that has begun ends.
  if (input.isDraining && input.keysOfLogin === undefined) {
    throw new ProxyError(
      'shutting_down',
      'The proxy is stopping and only finishes requests that have already begun.',
    )
  }
  const login = bodyWithKey(input, target)
  if (login !== undefined) {
    judgeLoop(rawHeaders)
    return { kind: 'own', url: login }
  }
  const identity = identifyCaller(runtime.config, rawHeaders, input.keysOfLogin)
  exchange.caller = identity.caller?.name
  judged.viewer = viewerOf(listener, host, identity.caller)
  const hops = withOneHopLess(method, rawHeaders)
  if (hops === undefined) {
    const allow = ['Allow', FORWARDED_METHODS.join(', ')]
    return { kind: 'preflight', headers: [...(exchange.extra ?? []), ...allow] }
  }
  const choice = choose(shownTo(runtime.table, judged.viewer.companies), request, listener, host, target)
  if ('ownPath' in choice) {
    judgeLoop(rawHeaders)
    return { kind: 'own', url: choice.ownPath + target.query }
  }
  const { listPath } = choice
  exchange.company = choice.name
  exchange.group = 'name' in choice.company ? choice.company.name : '*'
  exchange.why = choice.why
  judgeLoop(rawHeaders)
  const queueKey = `${listener.key} ${identity.queueKey}`
  const base = callerBase(publicUrl, host, choice.prefix)
  const { query } = target
  const chosen = { method, choice, query, queueKey, base, caller: identity.caller, rawHeaders: hops }
  if (listPath !== undefined) {
    const url = listPath + choice.path + query
    return { kind: 'list', list: { url, ...listRequest(input, chosen) } }
  }
  return { kind: 'forward', call: approvedCall(input, chosen, exchange) }
}

/** Judges the Origin, and adds the headers that a listed one gets. Returns the answer to a preflight. */
function allowOrigin({ runtime, request, exchange }: JudgeInput, own: OwnOrigin): Judgement | undefined {
  const { rawHeaders, method = '' } = request
  const origin = judgeOrigin(runtime.config.guard, rawHeaders, own)
  if (origin === undefined) return undefined
  const headers = Object.entries(corsHeaders(origin, { method, rawHeaders })).flat()
  exchange.extra = headers
  return isPreflight({ method, rawHeaders }) ? { kind: 'preflight', headers } : undefined
}

/**
 * The route of a login or revocation whose key is in the body. The route reads it and has the request judged again with
 * it. Undefined for all other requests.
 */
function bodyWithKey({ runtime, request, keysOfLogin }: JudgeInput, { path }: Target): string | undefined {
  const login = request.method === 'POST' ? LOGIN.exec(path)?.[1] : undefined
  if (login === undefined || keysOfLogin !== undefined || !asksForKeys(runtime.config)) return undefined
  return login === 'revoke' && hasKeyHeader(request.rawHeaders) ? undefined : `/oauth/${login}`
}

interface Chosen {
  readonly method: string
  readonly caller: Caller | undefined
  /** With Max-Forwards already reduced. */
  readonly rawHeaders: readonly string[]
  readonly choice: Choice
  /** Including its `?`; empty if there is no query. */
  readonly query: string
  readonly queueKey: string
  readonly base: CallerBase
}

/** Judges access and builds the call. */
function approvedCall({ runtime }: JudgeInput, chosen: Chosen, exchange: Exchange): ApprovedCall {
  const { method, choice, query, queueKey, base, caller, rawHeaders } = chosen
  const { company, id } = choice
  const file = choice.route === 'own' ? readFile(chosen) : undefined
  const path = file === undefined ? choice.path : FILES_PATH + file.host + file.path
  judgeCaller(caller, choice, { method, rawHeaders, path, query })
  const { enabled, bodies } = runtime.config.inspector
  if (bodies && enabled) exchange.bodies = new Bodies()
  const upstream =
    file === undefined
      ? runtime.upstreams.get(company, id)
      : runtime.upstreams.ofFiles(company, id, file.origin)
  return {
    exchange,
    upstream,
    companyName: choice.name,
    companyId: id,
    company,
    caller,
    queueKey,
    method,
    path: (file ?? choice).path + query,
    rawHeaders,
    gzip: wantsGzip(upstream, method, rawHeaders),
    base,
  }
}

/** Headers that are not passed on to the pages of a list, because the caller means the whole list by them. */
const NOT_FOR_PAGES =
  /^(?:accept|accept-encoding|range|if-[a-z-]+|content-length|transfer-encoding|expect|te|trailer)$/i

function listRequest(input: JudgeInput, chosen: Chosen): Omit<ListRequest, 'url'> {
  const { method, choice, rawHeaders, caller } = chosen
  const kept = rawHeaders.filter((_, at) => !NOT_FOR_PAGES.test(rawHeaders[at - (at % 2)]!))
  // Without lists there is no such route.
  if (input.runtime.config.lists.enabled && method !== 'GET' && method !== 'HEAD') {
    const help = 'Read lists with GET or HEAD. Send writes to the path of the API itself.'
    throw new ProxyError('method_not_allowed', 'Lists can only be read.', { allow: 'GET, HEAD', help })
  }
  let pages = 0
  return {
    companyId: choice.id,
    apiOrigin: choice.company.account.environment.apiUrl,
    caller,
    page: (url) => {
      const { path, query } = readTarget(url, '')
      refuseOtherIds(choice, idsIn({ path, query }))
      const page = { ...chosen, method: 'GET', rawHeaders: kept, choice: { ...choice, path }, query }
      return approvedCall(input, page, pageExchange(input.exchange, ++pages, url))
    },
  }
}

/** The record of one page: logged and counted like any other request, and shown below the list. */
function pageExchange(list: Exchange, nth: number, url: string): Exchange {
  const { listener, company, caller, group, why } = list
  const exchange = startExchange(`${list.reqId}.${nth}`, 'GET', url)
  return Object.assign(exchange, { listener, company, caller, group, why, own: true })
}

/** What a request may see: only the company of its own address or host name, and only what its caller may call. */
function viewerOf(listener: Listener, host: Host, caller: Caller | undefined): Viewer {
  const companies = visibleCompanies(caller, listener.company ?? hostLabel(host.hostname))
  if (caller === undefined) return { companies, caller }
  const { name, projects, rules, access } = caller
  const byRules = rules.length > 0 ? 'rules' : undefined
  const limitedBy = projects === undefined ? byRules : 'projects'
  return { companies, caller: name, limitedBy, readsOnly: access === 'read-only' }
}

/** The URL by which this listener is reached from outside, if one is configured. */
function publicUrlOf({ config, table }: Runtime, { company }: Listener): string | undefined {
  return company === undefined ? config.publicUrl : table.byName.get(company)?.company.publicUrl
}

/** Callers may use the host of the public URL. */
function hostnames(publicUrl: string | undefined): readonly string[] {
  return publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/\.$/, '')]
}

/** Never taken from X-Forwarded-* or Forwarded, which any caller can send. */
function callerBase(publicUrl: string | undefined, host: Host, prefix: string): CallerBase {
  if (publicUrl === undefined) return { origin: `http://${host.authority}`, prefix }
  // NAME.localhost cannot be reached from outside, but the prefix can.
  const label = hostLabel(host.hostname)
  const { origin } = new URL(publicUrl)
  const path = publicPath(publicUrl)
  return { origin, prefix: path + (prefix === '' && label !== undefined ? `/${label}` : prefix) }
}

/** The company's own rules are judged separately. */
function readFile({ choice, method, rawHeaders, query }: Chosen): FileTarget {
  if (method !== 'GET' && method !== 'HEAD') {
    const help =
      'Fetch files with GET or HEAD. Upload files to the storage URL that Procore gives, without a bearer.'
    throw new ProxyError('method_not_allowed', 'Files can only be fetched.', { allow: 'GET, HEAD', help })
  }
  const file = readFileTarget(choice.path, choice.company.account.environment)
  const reads = { access: 'read-only', rules: [] } as const
  if (!decideAccess(reads, { method, rawHeaders, path: file.path, query }).allowed) {
    throw new ProxyError(
      'access_denied',
      'Files can only be fetched, and the request asks for another method too.',
    )
  }
  return file
}

const UNKNOWN_HOST: Host = { hostname: '', port: undefined, authority: '' }

function hostOrUnknown(request: ArrivedRequest): Host {
  try {
    return readHost(request.rawHeaders, request.httpVersion)
  } catch {
    return UNKNOWN_HOST
  }
}

function ownAddresses(listener: Listener, request: ArrivedRequest): string[] {
  const { address } = listener
  if (address.kind === 'unix') return []
  // A listener on every address has the address that the caller connected to. A rebound DNS name is never an address.
  if (!isWildcardAddress(address.host)) return [address.host]
  const called = request.socket.localAddress
  return called === undefined ? [] : [called.replace(/^::ffff:(?=\d+\.)/, '')]
}

function choose(
  table: CompanyTable,
  request: ArrivedRequest,
  listener: Listener,
  host: Host,
  target: Target,
): (Choice & { readonly listPath?: string }) | { readonly ownPath: string } {
  const routed = {
    listenerCompany: listener.company,
    hostLabel: hostLabel(host.hostname),
    target,
    companyIdHeaders: headerValues(request.rawHeaders, 'procore-company-id'),
  }
  const cut = cutPrefix(table, target.path)
  const listPath = LIST.exec(cut.path)?.[0]
  if (listPath !== undefined) {
    const path = cut.prefix + cut.path.slice(listPath.length)
    return { ...chooseCompany(table, { ...routed, target: { ...target, path } }), listPath }
  }
  // `/` alone leads to the page; with a query it was meant for something else.
  if (cut.path === '/' && target.query !== '') throw routeUnknown()
  if (!isOwnPath(cut.path) || cut.path.startsWith(FILES_PATH)) return chooseCompany(table, routed)
  // The proxy's own pages need no company, but an unknown company is still refused.
  fixedCompany(table, routed, cut)
  return { ownPath: cut.path }
}
