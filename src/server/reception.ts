// Receives each request: the caller is judged, then the company chosen, then access; nothing is done for it before.
import type { Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { Passage } from '../forward/forwarder.ts'
import type { CallerBase } from '../forward/links.ts'
import type { Upstreams } from '../forward/upstreams.ts'
import { decideAccess } from '../guards/access.ts'
import { hostLabel, judgeHost, judgeOrigin } from '../guards/callers.ts'
import { corsHeaders, isPreflight } from '../guards/cors.ts'
import { FILES_PATH, type FileTarget, readFileTarget } from '../guards/file-hosts.ts'
import { judgeFraming } from '../guards/framing.ts'
import { judgeLoop, optionsAnswer } from '../guards/hops.ts'
import { type Host, readHost } from '../guards/host.ts'
import { identifyCaller, judgeRequiredHeader } from '../guards/keys.ts'
import { judgeCaller } from '../guards/rights.ts'
import { Bodies } from '../observe/excerpt.ts'
import type { Exchange } from '../observe/exchange.ts'
import { type Choice, chooseCompany, fixedCompany } from '../routing/company.ts'
import { type CompanyTable, companyTable } from '../routing/company-table.ts'
import { cutPrefix, isOwnPath } from '../routing/prefix.ts'
import { headerValues } from '../routing/raw-headers.ts'
import { readTarget, type Target } from '../routing/target.ts'
import { isHealth } from './health.ts'
import type { Listener } from './listeners.ts'

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
 * What came of receiving a request: forwarded (and why to this company), answered by one of the proxy's own routes, or a
 * preflight to be answered with 204 and these headers, flat.
 */
export type Reception =
  | { readonly kind: 'forward'; readonly passage: Passage; readonly why: string }
  | { readonly kind: 'own' }
  | { readonly kind: 'preflight'; readonly headers: readonly string[] }

/** Judges a request and says where it goes; throws ProxyError for a refusal. */
export function receive(
  runtime: Runtime,
  raw: JudgedRequest,
  listener: Listener,
  exchange: Exchange,
  draining: boolean,
): Reception {
  const { guard } = runtime.config
  const { rawHeaders, method = '' } = raw
  judgeFraming(rawHeaders, method, raw.httpVersion)
  if (isHealth(exchange.target)) {
    // A kubelet asks by the pod's address; these two tell nothing but up or down.
    judgeOrigin(guard, rawHeaders, { host: hostOrUnknown(raw) })
    return { kind: 'own' }
  }
  const host = readHost(rawHeaders, raw.httpVersion)
  const publicUrl = publicUrlOf(runtime, listener)
  judgeHost(guard, host, [...ownAddresses(listener, raw), ...hostnames(publicUrl)])
  const origin = judgeOrigin(guard, rawHeaders, { host, publicUrl })
  const extra =
    origin === undefined ? undefined : Object.entries(corsHeaders(origin, { method, rawHeaders })).flat()
  exchange.extra = extra
  if (extra !== undefined && isPreflight({ method, rawHeaders })) return { kind: 'preflight', headers: extra }
  judgeRequiredHeader(guard, rawHeaders)
  const { caller, queueKey } = identifyCaller(runtime.config, rawHeaders)
  judgeLoop(rawHeaders)
  const options = optionsAnswer(method, rawHeaders)
  if ('status' in options) return { kind: 'preflight', headers: [...(extra ?? []), ...options.headers] }
  const target = readTarget(exchange.target, host.authority)
  if (draining) {
    throw new ProxyError('shutting_down', 'The proxy got a signal to stop and only ends what is under way.')
  }
  const choice = choose(runtime.table, raw, listener, host, target)
  if (choice === 'own') return { kind: 'own' }
  exchange.company = choice.name
  exchange.group = 'name' in choice.company ? choice.company.name : '*'
  exchange.why = choice.why
  const file = choice.route === 'own' ? readFile(choice, raw, target.query) : undefined
  const path = file === undefined ? choice.path : FILES_PATH + file.host + file.path
  judgeCaller(caller, choice, { method, rawHeaders, path, query: target.query })
  const upstream = runtime.upstreams.get(choice.company, choice.id)
  const { enabled, bodies } = runtime.config.inspector
  if (bodies && enabled) exchange.bodies = new Bodies()
  return {
    kind: 'forward',
    why: choice.why,
    passage: {
      exchange,
      upstream: file === undefined ? upstream : upstream.files(file.origin),
      company: choice.name,
      path: (file ?? choice).path + target.query,
      lane: `${listener.address.kind === 'tcp' ? listener.address.port : listener.address.path} ${queueKey}`,
      base: callerBase(publicUrl, host, choice.prefix),
      // A file is what it is.
      rewritesFileUrls: file === undefined && choice.company.rewriteFileUrls === true,
    },
  }
}

/** What the configuration says of the way to this listener from outside. */
function publicUrlOf({ config, table }: Runtime, { company }: Listener): string | undefined {
  return company === undefined ? config.publicUrl : table.byName.get(company)?.company.publicUrl
}

/** Who writes a public URL down means its host to be called. */
function hostnames(publicUrl: string | undefined): readonly string[] {
  return publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/\.$/, '')]
}

/** Never from X-Forwarded-* or Forwarded, which any caller can send. */
function callerBase(publicUrl: string | undefined, host: Host, prefix: string): CallerBase {
  if (publicUrl === undefined) return { origin: `http://${host.authority}`, prefix }
  // From outside the company's own host name is not to be had.
  const label = hostLabel(host.hostname)
  return { origin: publicUrl, prefix: prefix === '' && label !== undefined ? `/${label}` : prefix }
}

/** The company's own rules are judged besides. */
function readFile(choice: Choice, { method = '', rawHeaders }: JudgedRequest, query: string): FileTarget {
  if (method !== 'GET' && method !== 'HEAD') {
    const help =
      'Fetch files with GET or HEAD; what Procore wants uploaded is sent to its storage directly, without a bearer.'
    throw new ProxyError('method_not_allowed', 'Files are only fetched.', { allow: 'GET, HEAD', help })
  }
  const file = readFileTarget(choice.path, choice.company.account.environment)
  const reads = { access: 'read-only', rules: [] } as const
  if (!decideAccess(reads, { method, rawHeaders, path: file.path, query }).allowed) {
    throw new ProxyError(
      'access_denied',
      'Files are only fetched, and the request asks for another method too.',
    )
  }
  return file
}

const UNKNOWN_HOST: Host = { hostname: '', port: undefined, authority: '' }

function hostOrUnknown(raw: JudgedRequest): Host {
  try {
    return readHost(raw.rawHeaders, raw.httpVersion)
  } catch {
    return UNKNOWN_HOST
  }
}

function ownAddresses(listener: Listener, raw: JudgedRequest): string[] {
  const { address } = listener
  if (address.kind === 'unix') return []
  // Bound to every address, its own is the one that was called. A rebound name is never an address.
  if (!isEveryAddress(address.host)) return [address.host]
  const called = raw.socket.localAddress
  return called === undefined ? [] : [called.replace(/^::ffff:(?=\d+\.)/, '')]
}

function isEveryAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function choose(
  table: CompanyTable,
  raw: JudgedRequest,
  listener: Listener,
  host: Host,
  target: Target,
): Choice | 'own' {
  const request = {
    listenerCompany: listener.company,
    hostLabel: hostLabel(host.hostname),
    target,
    companyIdHeaders: headerValues(raw.rawHeaders, 'procore-company-id'),
  }
  const cut = cutPrefix(table, target.path)
  if (!isOwnPath(cut.path) || cut.path.startsWith(FILES_PATH)) return chooseCompany(table, request)
  // The proxy's own pages need no company, but a wrong one is still wrong.
  fixedCompany(table, request, cut)
  return 'own'
}
