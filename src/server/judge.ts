// Judges each request before anything is done for it: framing, Host, Origin, key, target, company, access.
import { isWildcardAddress } from '../config/addresses.ts'
import type { Caller, Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { Forwarded } from '../forward/forward.ts'
import type { CallerBase } from '../forward/links.ts'
import { wantsGzip } from '../forward/request-headers.ts'
import type { Upstreams } from '../forward/upstreams.ts'
import { decideAccess } from '../guards/access.ts'
import { hostLabel, judgeHost, judgeOrigin } from '../guards/callers.ts'
import { corsHeaders, isPreflight } from '../guards/cors.ts'
import { FILES_PATH, type FileTarget, readFileTarget } from '../guards/file-hosts.ts'
import { judgeFraming } from '../guards/framing.ts'
import { judgeLoop, optionsAnswer } from '../guards/hops.ts'
import { type Host, readHost } from '../guards/host.ts'
import { identifyCaller, judgeRequiredHeader } from '../guards/keys.ts'
import { judgeCaller, visibleCompanies } from '../guards/rights.ts'
import { Bodies } from '../observe/excerpt.ts'
import { type Exchange, startExchange } from '../observe/exchange.ts'
import type { Viewer } from '../observe/viewer.ts'
import { type Choice, chooseCompany, fixedCompany } from '../routing/company.ts'
import { type CompanyTable, companyTable, shownTo } from '../routing/company-table.ts'
import { cutPrefix, isOwnPath } from '../routing/prefix.ts'
import { headerValues } from '../routing/raw-headers.ts'
import { readTarget, type Target } from '../routing/target.ts'
import { isForMetrics, isHealth } from './health.ts'
import type { Listener } from './listeners.ts'

/** The proxy's own paths in front of the path of a whole list. */
const LIST = /^\/_proxy\/(?:csv|ndjson|json)(?=\/)/

/** What a configuration comes to while it is in force; a reload puts another in its place. */
export interface Runtime {
  readonly config: Config
  readonly table: CompanyTable
  readonly upstreams: Upstreams
}

export function runtimeOf(config: Config, upstreams: Upstreams): Runtime {
  return { config, table: companyTable(config), upstreams }
}

/** As much of a request as is judged: Node's IncomingMessage, or what `explain` makes up. */
export interface JudgedRequest {
  readonly method?: string | undefined
  readonly httpVersion: string
  readonly rawHeaders: string[]
  readonly socket: { readonly localAddress?: string | undefined }
}

/**
 * What came of judging a request: it is forwarded, it is for one of the proxy's own routes (`url` without company prefix),
 * or it is a preflight to be answered with 204 and these headers (name, value, …).
 */
export type Judgement =
  | { readonly kind: 'forward'; readonly forwarded: Forwarded; readonly why: string }
  | { readonly kind: 'own'; readonly url: string }
  | { readonly kind: 'list'; readonly url: string; readonly list: ListRequest }
  | { readonly kind: 'preflight'; readonly headers: readonly string[] }

/** A request for a whole list: each of its pages is judged like a request of its own. */
export interface ListRequest {
  readonly companyId: string
  readonly apiOrigin: string
  readonly caller: Caller | undefined
  /** The GET of one page, whose path and query are the API's. Throws ProxyError. */
  page(url: string): Forwarded
}

export interface JudgeInput {
  readonly runtime: Runtime
  readonly request: JudgedRequest
  readonly listener: Listener
  readonly exchange: Exchange
  readonly isDraining: boolean
}

/** What the judged request may see; filled in on the way, so that it is known for refusals too. */
export interface Judged {
  viewer: Viewer
  caller: Caller | undefined
}

/** Behind any prefix: a caller without a key does not learn which companies there are. */
const LOGIN = /^(?:\/[^/]+)?\/oauth\/token$/

/** Judges a request and says where it goes; throws ProxyError for a refusal. */
export function judge(input: JudgeInput, judged: Judged): Judgement {
  const { runtime, request, listener, exchange } = input
  const { guard } = runtime.config
  const { rawHeaders, method = '' } = request
  judgeFraming(rawHeaders, method, request.httpVersion)
  if (isHealth(exchange.target) || listener.isForMetrics) {
    // A kubelet asks by the pod's address; these tell nothing but up or down, or are on an address of their own.
    judgeOrigin(guard, rawHeaders, { host: hostOrUnknown(request) })
    if (listener.isForMetrics && !isForMetrics(exchange.target)) {
      throw new ProxyError('route_unknown', 'This address serves health and metrics only.', {
        help: 'Call /_proxy/metrics, /_proxy/health/live or /_proxy/health/ready.',
      })
    }
    return { kind: 'own', url: exchange.target }
  }
  const host = readHost(rawHeaders, request.httpVersion)
  const publicUrl = publicUrlOf(runtime, listener)
  judgeHost(guard, host, [...ownAddresses(listener, request), ...hostnames(publicUrl)])
  const origin = judgeOrigin(guard, rawHeaders, { host, publicUrl })
  if (origin !== undefined) {
    const headers = Object.entries(corsHeaders(origin, { method, rawHeaders })).flat()
    exchange.extra = headers
    if (isPreflight({ method, rawHeaders })) return { kind: 'preflight', headers }
  }
  judgeRequiredHeader(guard, rawHeaders)
  const target = readTarget(exchange.target, host.authority)
  // A login brings its key in the body, which the route reads.
  if (method === 'POST' && LOGIN.test(target.path)) return { kind: 'own', url: '/oauth/token' }
  const identity = identifyCaller(runtime.config, rawHeaders)
  judged.caller = identity.caller
  exchange.caller = identity.caller?.name
  judged.viewer = viewerOf(listener, host, identity.caller)
  judgeLoop(rawHeaders)
  const hops = optionsAnswer(method, rawHeaders)
  if ('status' in hops) return { kind: 'preflight', headers: [...(exchange.extra ?? []), ...hops.headers] }
  if (input.isDraining) {
    throw new ProxyError('shutting_down', 'The proxy was told to stop and only finishes what is under way.')
  }
  const choice = choose(shownTo(runtime.table, judged.viewer.companies), request, listener, host, target)
  if ('ownPath' in choice) return { kind: 'own', url: choice.ownPath + target.query }
  const { listPath } = choice
  exchange.company = choice.name
  exchange.group = 'name' in choice.company ? choice.company.name : '*'
  exchange.why = choice.why
  const queueKey = `${listener.address.kind === 'tcp' ? listener.address.port : listener.address.path} ${identity.queueKey}`
  const base = callerBase(publicUrl, host, choice.prefix)
  const chosen = { choice, query: target.query, queueKey, base, caller: identity.caller, rawHeaders: hops }
  if (listPath !== undefined) {
    return { kind: 'list', url: listPath + choice.path + target.query, list: listRequest(input, chosen) }
  }
  return { kind: 'forward', why: choice.why, forwarded: forwarded(input, chosen) }
}

interface Chosen {
  readonly caller: Caller | undefined
  /** With Max-Forwards as it goes on. */
  readonly rawHeaders: readonly string[]
  readonly choice: Choice
  /** With its `?`, or empty. */
  readonly query: string
  readonly queueKey: string
  readonly base: CallerBase
}

/** Judges access, and puts together what is sent. */
function forwarded({ runtime, request, exchange }: JudgeInput, chosen: Chosen): Forwarded {
  const { choice, query, queueKey, base, caller, rawHeaders } = chosen
  const { company, id } = choice
  const { method = '' } = request
  const file = choice.route === 'own' ? readFile(choice, request, query) : undefined
  const path = file === undefined ? choice.path : FILES_PATH + file.host + file.path
  judgeCaller(caller, choice, { method, rawHeaders, path, query })
  const { enabled, bodies } = runtime.config.inspector
  if (bodies && enabled) exchange.bodies = new Bodies()
  const upstream =
    file === undefined
      ? runtime.upstreams.get(company, id)
      : runtime.upstreams.ofFiles(company, id, file.origin)
  const sentPath = (file ?? choice).path + query
  return {
    call: {
      exchange,
      upstream,
      companyName: choice.name,
      companyId: id,
      company,
      caller,
      queueKey,
      method,
      path: sentPath,
      rawHeaders,
      gzip: wantsGzip(upstream, method, rawHeaders),
    },
    context: {
      apiOrigin: upstream.environment.apiUrl,
      base,
      fetched: file === undefined ? undefined : file.origin + sentPath,
      company: choice.name,
      environment: upstream.environment.name,
      requestId: exchange.reqId,
      extra: exchange.extra,
    },
    // A file is what it is.
    rewritesFileUrls: file === undefined && company.rewriteFileUrls === true,
  }
}

/** Of one representation, which lists read for themselves: what the caller says of these is about the whole list. */
const NOT_FOR_PAGES =
  /^(?:accept|accept-encoding|range|if-[a-z-]+|content-length|transfer-encoding|expect|te|trailer)$/i

function listRequest(input: JudgeInput, chosen: Chosen): ListRequest {
  const { choice, rawHeaders, caller } = chosen
  const kept: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (!NOT_FOR_PAGES.test(name)) kept.push(name, rawHeaders[at + 1] as string)
  }
  const { method = '' } = input.request
  if (method !== 'GET' && method !== 'HEAD') {
    throw new ProxyError('method_not_allowed', 'Lists can only be read.', { allow: 'GET, HEAD' })
  }
  let pages = 0
  return {
    companyId: choice.id,
    apiOrigin: choice.company.account.environment.apiUrl,
    caller,
    page: (url) => {
      const mark = url.indexOf('?')
      const path = mark === -1 ? url : url.slice(0, mark)
      const exchange = pageExchange(input.exchange, ++pages, url)
      return forwarded(
        { ...input, exchange, request: { ...input.request, method: 'GET' } },
        {
          ...chosen,
          rawHeaders: kept,
          choice: { ...choice, path },
          query: mark === -1 ? '' : url.slice(mark),
        },
      )
    },
  }
}

/** The record of one page: logged and counted like any request, and shown beneath the list. */
function pageExchange(list: Exchange, nth: number, url: string): Exchange {
  const { listener, company, caller, group, why } = list
  const exchange = startExchange(`${list.reqId}.${nth}`, 'GET', url)
  return Object.assign(exchange, { listener, company, caller, group, why, own: true })
}

/** What an entrance (an address or a host name of a company's own) or a caller may not call, it may not see. */
function viewerOf(listener: Listener, host: Host, caller: Caller | undefined): Viewer {
  const company = listener.company ?? hostLabel(host.hostname)
  return {
    companies: visibleCompanies(caller, company),
    caller: caller?.projects === undefined ? undefined : caller.name,
    requestsOf: (caller?.rules.length ?? 0) === 0 ? undefined : caller?.name,
  }
}

/** What the configuration says of the way to this listener from outside. */
function publicUrlOf({ config, table }: Runtime, { company }: Listener): string | undefined {
  return company === undefined ? config.publicUrl : table.byName.get(company)?.company.publicUrl
}

/** The host of a public URL is one that callers may use. */
function hostnames(publicUrl: string | undefined): readonly string[] {
  return publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/\.$/, '')]
}

/** Never from X-Forwarded-* or Forwarded, which any caller can send. */
function callerBase(publicUrl: string | undefined, host: Host, prefix: string): CallerBase {
  if (publicUrl === undefined) return { origin: `http://${host.authority}`, prefix }
  // The company's own host name can't be reached from outside; its prefix can.
  const label = hostLabel(host.hostname)
  return { origin: publicUrl, prefix: prefix === '' && label !== undefined ? `/${label}` : prefix }
}

/** The company's own rules are judged besides. */
function readFile(choice: Choice, { method = '', rawHeaders }: JudgedRequest, query: string): FileTarget {
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

function hostOrUnknown(request: JudgedRequest): Host {
  try {
    return readHost(request.rawHeaders, request.httpVersion)
  } catch {
    return UNKNOWN_HOST
  }
}

function ownAddresses(listener: Listener, request: JudgedRequest): string[] {
  const { address } = listener
  if (address.kind === 'unix') return []
  // Bound to every address, its own is the one that was called. A rebound name is never an address.
  if (!isWildcardAddress(address.host)) return [address.host]
  const called = request.socket.localAddress
  return called === undefined ? [] : [called.replace(/^::ffff:(?=\d+\.)/, '')]
}

function choose(
  table: CompanyTable,
  request: JudgedRequest,
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
  if (!isOwnPath(cut.path) || cut.path.startsWith(FILES_PATH)) return chooseCompany(table, routed)
  // The proxy's own pages need no company, but a wrong one is still wrong.
  fixedCompany(table, routed, cut)
  return { ownPath: cut.path }
}
