// Judges each request before anything is done for it: framing, Host, Origin, key, target, company, access.
import type { Caller, Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { Forwarded } from '../forward/forward.ts'
import type { CallerBase } from '../forward/links.ts'
import { wantsGzip } from '../forward/request-headers.ts'
import type { Upstreams } from '../forward/upstreams.ts'
import { decideAccess, judgeAccess } from '../guards/access.ts'
import { hostLabel, judgeHost, judgeKey, judgeOrigin } from '../guards/callers.ts'
import { corsHeaders, isPreflight } from '../guards/cors.ts'
import { FILES_PATH, type FileTarget, readFileTarget } from '../guards/file-hosts.ts'
import { judgeFraming } from '../guards/framing.ts'
import { type Host, readHost } from '../guards/host.ts'
import { Bodies } from '../observe/excerpt.ts'
import type { Exchange } from '../observe/exchange.ts'
import { type Choice, chooseCompany, fixedCompany } from '../routing/company.ts'
import { type CompanyTable, companyTable } from '../routing/company-table.ts'
import { cutPrefix, isOwnPath } from '../routing/prefix.ts'
import { headerValues } from '../routing/raw-headers.ts'
import { readTarget, type Target } from '../routing/target.ts'
import { isHealth } from './health.ts'
import type { Listener } from './listeners.ts'
import type { Viewer } from './request-context.ts'

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
  | { readonly kind: 'preflight'; readonly headers: readonly string[] }

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

/** Judges a request and says where it goes; throws ProxyError for a refusal. */
export function judge(input: JudgeInput, judged: Judged): Judgement {
  const { runtime, request, listener, exchange } = input
  const { guard } = runtime.config
  const { rawHeaders, method = '' } = request
  judgeFraming(rawHeaders, method, request.httpVersion)
  if (isHealth(exchange.target)) {
    // A kubelet asks by the pod's address; these two tell nothing but up or down.
    judgeOrigin(guard, rawHeaders, hostOrUnknown(request), 'http')
    return { kind: 'own', url: exchange.target }
  }
  const host = readHost(rawHeaders, request.httpVersion)
  const publicUrl = publicUrlOf(runtime, listener)
  judgeHost(guard, host, [...ownAddresses(listener, request), ...hostnames(publicUrl)])
  const origin = judgeOrigin(guard, rawHeaders, host, 'http')
  if (origin !== undefined) {
    const headers = Object.entries(corsHeaders(origin, { method, rawHeaders })).flat()
    exchange.extra = headers
    if (isPreflight({ method, rawHeaders })) return { kind: 'preflight', headers }
  }
  const key = judgeKey(guard, rawHeaders)
  judged.viewer = viewerOf(listener, host)
  const target = readTarget(exchange.target, host.authority)
  if (input.isDraining) {
    throw new ProxyError('shutting_down', 'The proxy was told to stop and only finishes what is under way.')
  }
  const choice = choose(runtime.table, request, listener, host, target)
  if ('ownPath' in choice) return { kind: 'own', url: choice.ownPath + target.query }
  exchange.company = choice.name
  exchange.group = 'name' in choice.company ? choice.company.name : '*'
  exchange.why = choice.why
  const queueKey = `${listener.address.kind === 'tcp' ? listener.address.port : listener.address.path} ${key ?? ''}`
  const base = callerBase(publicUrl, host, choice.prefix)
  return { kind: 'forward', why: choice.why, forwarded: forwarded(input, { choice, target, queueKey, base }) }
}

interface Chosen {
  readonly choice: Choice
  readonly target: Target
  readonly queueKey: string
  readonly base: CallerBase
}

/** Judges access, and puts together what is sent. */
function forwarded({ runtime, request, exchange }: JudgeInput, chosen: Chosen): Forwarded {
  const { choice, target, queueKey, base } = chosen
  const { company, id } = choice
  const { rawHeaders, method = '' } = request
  const file = choice.route === 'own' ? readFile(choice, request, target.query) : undefined
  const path = file === undefined ? choice.path : FILES_PATH + file.host + file.path
  judgeAccess(company, { method, rawHeaders, path, query: target.query })
  const { enabled, bodies } = runtime.config.inspector
  if (bodies && enabled) exchange.bodies = new Bodies()
  const upstream =
    file === undefined
      ? runtime.upstreams.get(company, id)
      : runtime.upstreams.ofFiles(company, id, file.origin)
  const sentPath = (file ?? choice).path + target.query
  return {
    call: {
      exchange,
      upstream,
      companyName: choice.name,
      companyId: id,
      company,
      caller: undefined,
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

/** An address or a host name of a company's own shows that company alone. */
function viewerOf(listener: Listener, host: Host): Viewer {
  const company = listener.company ?? hostLabel(host.hostname)
  return { companies: company === undefined ? undefined : new Set([company]), caller: undefined }
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
  if (!isEveryAddress(address.host)) return [address.host]
  const called = request.socket.localAddress
  return called === undefined ? [] : [called.replace(/^::ffff:(?=\d+\.)/, '')]
}

function choose(
  table: CompanyTable,
  request: JudgedRequest,
  listener: Listener,
  host: Host,
  target: Target,
): Choice | { readonly ownPath: string } {
  const routed = {
    listenerCompany: listener.company,
    hostLabel: hostLabel(host.hostname),
    target,
    companyIdHeaders: headerValues(request.rawHeaders, 'procore-company-id'),
  }
  const cut = cutPrefix(table, target.path)
  if (!isOwnPath(cut.path) || cut.path.startsWith(FILES_PATH)) return chooseCompany(table, routed)
  // The proxy's own pages need no company, but a wrong one is still wrong.
  fixedCompany(table, routed, cut)
  return { ownPath: cut.path }
}

function isEveryAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
