// The command `explain`: says what the proxy would do with a request, and why.
import { METHODS } from 'node:http'
import { isIP } from 'node:net'
import { styleText } from 'node:util'
import type { HTTPMethods } from 'fastify'
import { Tokens } from '../auth/token-source.ts'
import { explainCache } from '../cache/cache-request.ts'
import { listenText, localHost } from '../config/addresses.ts'
import { BUILT_IN_ENVIRONMENTS, type Config, type ListenAddress, Secret } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { Budgets } from '../forward/budgets.ts'
import { Departure } from '../forward/call.ts'
import { requestHeaders } from '../forward/headers.ts'
import { Upstreams } from '../forward/upstreams.ts'
import type { AccessDecision } from '../guards/access.ts'
import { decideCaller } from '../guards/callers.ts'
import { FILES_PATH, FileHostLimiter } from '../guards/file-hosts.ts'
import { firstPage, forProject, type ListPlace, projectsOf, readListTarget } from '../lists/target.ts'
import { startExchange } from '../observe/exchange.ts'
import { EVERYTHING } from '../observe/viewer.ts'
import { headerPairs, type Pair } from '../recordings/har-file.ts'
import type { AppDeps } from '../server/app.ts'
import { judge, type ListRequest, runtimeOf } from '../server/judge.ts'
import type { Listener } from '../server/listeners.ts'
import type { Options } from './commands.ts'
import { readConfig } from './config.ts'
import { EXIT, usageError } from './exit.ts'

/** The result of `explain`, which `--json` prints unchanged. */
export interface Explanation {
  readonly verdict: 'forwarded' | 'answered' | 'refused'
  /** Who answers, if the request is neither forwarded nor refused. */
  readonly answer?: string
  readonly refusal?: Pick<ProxyError, 'code' | 'status' | 'help'> & { readonly detail: string }
  readonly company?: Record<'name' | 'id' | 'environment' | 'why', string>
  readonly caller?: string
  readonly access?: Pick<AccessDecision, 'allowed' | 'why'>
  readonly upstream?: string
  /** Of those that are removed only the names, because the values may be secret. */
  readonly headers?: { readonly added: readonly Pair[]; readonly removed: readonly string[] }
  readonly cache?: string
  readonly notes: readonly string[]
}

export async function explain(method: string, url: string, options: Options): Promise<void> {
  const config = await readConfig(options, { resolveSecrets: false })
  // Reading all of it says what is missing, as every other command does.
  if (config.companies.length === 0 && config.anyCompany === undefined) await readConfig(options)
  const request = imagineRequest(config, { method, url, headerLines: options.header ?? [] })
  const explanation = await explainRequest(config, request, options.caller)
  if (explanation.verdict === 'refused') process.exitCode = EXIT.failure
  const text = options.json ? `${JSON.stringify(explanation, null, 2)}\n` : reportExplanation(explanation)
  process.stdout.write(text)
}

/** What the proxy would do with the request. Sends nothing and needs no secret. */
export async function explainRequest(
  config: Config,
  request: ImaginedRequest,
  callerName?: string,
): Promise<Explanation> {
  const { config: judged, request: sent, notes } = withKey(config, request, callerName)
  const judgement = await judgeImagined(judged, sent)
  const caller = callerName === undefined ? {} : { caller: callerName }
  if (judgement.kind === 'forward') {
    const all = [...notes, ...judgement.notes]
    return { verdict: 'forwarded', ...caller, ...onTheWay(request, judgement), notes: all }
  }
  if (judgement.kind !== 'refused') {
    const by = judgement.kind === 'preflight' ? ': CORS preflight' : ' itself'
    return { verdict: 'answered', answer: `by the proxy${by}`, ...caller, notes }
  }
  const refusal = refusalOf(judgement.error, config)
  // If only access is refused, the rest is shown as if it were allowed.
  const passed = refusal.code === 'access_denied' ? await judgeImagined(opened(judged), sent) : undefined
  if (passed?.kind !== 'forward') return { verdict: 'refused', refusal, ...caller, notes }
  const access = { allowed: false, why: refusal.detail }
  const rest = { ...onTheWay(request, passed), access, notes: [...notes, ...passed.notes] }
  return { verdict: 'refused', refusal, ...caller, ...rest }
}

/** Judges the request with the server's own code. */
async function judgeImagined(config: Config, { raw, target, listener }: ImaginedRequest) {
  const noToken = () => Promise.reject(new Error('explain asks for no token'))
  const tokens = new Tokens(noToken, () => {})
  const upstreams = new Upstreams(config, {
    tokens,
    budgets: new Budgets(config),
    lookUps: new FileHostLimiter(),
  }).start()
  const exchange = startExchange('explain', raw.method, target)
  const input = { runtime: runtimeOf(config, upstreams), request: raw, listener, exchange, isDraining: false }
  try {
    const judgement = judge(input, { viewer: EVERYTHING })
    if (judgement.kind === 'preflight') return { kind: judgement.kind }
    if (judgement.kind === 'own') {
      await judgeRoute(config, raw.method, judgement.url)
      return { kind: judgement.kind }
    }
    if (judgement.kind === 'list') await judgeRoute(config, raw.method, judgement.list.url)
    const { call, notes } =
      judgement.kind === 'list' ? pageOf(config, judgement.list) : { ...judgement, notes: [] }
    const headers = requestHeaders(call, { value: '…' })
    const cache = explainCache(config.cache, { ...call, body: null, departure: new Departure() })
    return { kind: 'forward', why: exchange.why as string, call, headers, cache, notes } as const
  } catch (error) {
    if (error instanceof ProxyError) return { kind: 'refused', error } as const
    throw error
  } finally {
    await upstreams.destroy()
  }
}

/** Throws the refusal if the proxy has no such page. The routes are those of the running proxy, but do nothing. */
async function judgeRoute(config: Config, method: string, url: string): Promise<void> {
  const { fastify } = await import('fastify')
  const { registerOwnRoutes, routeOf } = await import('../server/app.ts')
  const app = fastify()
  app.addHook('onRoute', (route) => {
    route.handler = async () => ''
  })
  let refusal: unknown
  app.setErrorHandler((error, _request, reply) => {
    refusal = error
    reply.send()
  })
  const shared = { observation: { inspector: config.inspector } }
  await registerOwnRoutes(app, { runtime: { config }, shared } as unknown as AppDeps)
  await app.inject({ method: method as HTTPMethods, url: routeOf(url) })
  if (refusal !== undefined) throw refusal
}

/** The first page of a whole list. With `*` it is that of the first project whose pages are not refused. */
function pageOf({ lists }: Config, list: ListRequest) {
  const target = readListTarget(list.url)
  const page = (each: ListPlace) => list.page(firstPage(each, lists.perPage))
  const form = target.form.toUpperCase()
  const notes = [`the proxy asks for the pages of this list one after another and answers with ${form}`]
  if (!target.isForEachProject) return { call: page(target), notes }
  page(projectsOf(list.companyId))
  const { projects } = list.caller ?? {}
  const whose = projects === undefined ? 'of the company' : 'that this caller may use'
  notes.push(`* stands for each project ${whose}, one after another; those that are refused are left out`)
  let refusal: unknown
  for (const id of projects ?? ['*']) {
    try {
      return { call: page(forProject(target, id)), notes }
    } catch (error) {
      refusal ??= error
    }
  }
  throw refusal
}

type ForwardJudgement = Extract<Awaited<ReturnType<typeof judgeImagined>>, { kind: 'forward' }>

const PLACEHOLDER_KEY = 'explain-does-not-read-any-key'

/** Keys are not read. A named caller gets a placeholder as its key; without a caller, no key is required. */
function withKey(config: Config, request: ImaginedRequest, callerName: string | undefined) {
  const { callers, guard } = config
  const keyless = { ...config, guard: { ...guard, clientKeys: [] }, callers: [] }
  if (callerName === undefined) {
    const note = 'the proxy asks for a key, in Procore-Proxy-Key for example; the key was not judged here'
    const needed = guard.clientKeys.length + callers.length > 0 ? [note] : []
    return { config: keyless, request, notes: [...request.notes, ...needed] }
  }
  const caller = callers.find(({ name }) => name === callerName)
  if (caller === undefined) {
    const known = callers.map(({ name }) => name).join(', ') || 'none'
    throw usageError(`--caller ${callerName}: there is no such caller; configured are: ${known}`)
  }
  const rawHeaders = [...request.raw.rawHeaders, 'Procore-Proxy-Key', PLACEHOLDER_KEY]
  return {
    config: { ...keyless, callers: [{ ...caller, keys: [new Secret(PLACEHOLDER_KEY)] }] },
    request: { ...request, raw: { ...request.raw, rawHeaders } },
    notes: request.notes,
  }
}

/** The refusal as the proxy would word it, without its advice to run this very command. */
function refusalOf({ code, status, message, help }: ProxyError, { file }: Config) {
  const isCircular = help.includes('procore-proxy explain')
  const own = `To let it through, change \`access\` or \`rules\` in ${file ?? 'the configuration'}.`
  return { code, status, detail: message, help: isCircular ? own : help }
}

function opened(config: Config): Config {
  const all = { access: 'read-write', rules: [] } as const
  const { companies, anyCompany, callers } = config
  return {
    ...config,
    companies: companies.map((company) => ({ ...company, ...all })),
    anyCompany: anyCompany && { ...anyCompany, ...all },
    callers: callers.map((caller) => ({ ...caller, ...all, companies: undefined, projects: undefined })),
  }
}

function onTheWay({ raw }: ImaginedRequest, { call, why, headers, cache }: ForwardJudgement) {
  const { environment, origin, host } = call.upstream
  const [sent = '', ...rest] = call.path.split('?')
  const query = rest.length === 0 ? '' : `?${rest.join('?')}`
  const path = origin === environment.apiUrl ? sent : FILES_PATH + host + sent
  const company = { name: call.companyName, company: call.company }
  const access = decideCaller(call.caller, company, { ...call, path, query })
  return {
    company: { name: call.companyName, id: call.companyId, environment: environment.name, why },
    access: { allowed: access.allowed, why: access.why },
    upstream: origin + call.path,
    headers: headerChanges(headerPairs(raw.rawHeaders), headerPairs(headers)),
    ...(cache === undefined ? {} : { cache }),
  }
}

/** The difference between the caller's headers and those that would be sent. */
function headerChanges(own: readonly Pair[], sent: readonly Pair[]) {
  const isIn = (list: readonly Pair[], one: Pair) =>
    list.some(({ name, value }) => name === one.name && value === one.value)
  const removed = own.filter((one) => !isIn(sent, one) && !/^(?:host|via)$/i.test(one.name))
  return {
    added: sent.filter((one) => !isIn(own, one)),
    removed: [...new Set(removed.map(({ name }) => name))],
  }
}

const LABEL_WIDTH = 10

/** The lines; a repeated label is printed once. */
export function reportExplanation(explanation: Explanation): string {
  const { verdict, answer, refusal, company, caller, access, upstream, headers, cache, notes } = explanation
  const rows: [string, string][] = []
  if (refusal) {
    rows.push(['refused', `${refusal.status} ${refusal.code}: ${refusal.detail}`], ['do', refusal.help])
  } else rows.push([verdict, answer ?? 'to Procore'])
  if (company)
    rows.push(['company', `${company.name} (id ${company.id}, ${company.environment}), by ${company.why}`])
  if (caller) rows.push(['caller', caller])
  if (access) rows.push(['access', `${access.allowed ? 'allowed' : 'denied'}: ${access.why}`])
  if (upstream) rows.push(['upstream', upstream])
  for (const { name, value } of headers?.added ?? []) rows.push(['added', `${name}: ${value}`])
  for (const name of headers?.removed ?? []) rows.push(['removed', name])
  if (cache) rows.push(['cache', cache])
  for (const note of notes) rows.push(['note', note])
  return rows
    .map(([label, text], index) => {
      const shown = label === rows[index - 1]?.[0] ? '' : label
      const style = label === 'refused' ? 'red' : label === 'forwarded' ? 'green' : 'bold'
      return `${shown && styleText(style, shown)}${' '.repeat(LABEL_WIDTH - shown.length)}${text}\n`
    })
    .join('')
}

/** A request that is judged and never sent, and what was assumed about it. */
type ImaginedRequest = ReturnType<typeof imagineRequest>

/** Builds the request. The target stays byte for byte as written; a URL parser would normalize it. */
export function imagineRequest(
  config: Config,
  { method, url, headerLines }: { method: string; url: string; headerLines: readonly string[] },
) {
  const verb = method.toUpperCase()
  if (!METHODS.includes(verb)) throw usageError(`${method} is not an HTTP method`)
  const headers = headerLines.flatMap(readHeader)
  const { host, ...place } = placeOf(config, url)
  const ip = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  const hasHost = headers.some((each, index) => index % 2 === 0 && each.toLowerCase() === 'host')
  const raw = {
    method: verb,
    httpVersion: '1.1',
    rawHeaders: hasHost ? headers : ['Host', host, ...headers],
    socket: { localAddress: isIP(ip) === 0 ? undefined : ip },
  }
  return { raw, ...place }
}

function readHeader(line: string): [string, string] {
  const [, name, value = ''] = /^([^:]+):(.*)$/s.exec(line) ?? []
  if (name === undefined) throw usageError(`${JSON.stringify(line)} is not a header; write 'Name: value'`)
  return [name, value.trim()]
}

/** Where the request arrives. A path and an address of the API are judged as if they were sent to the first address. */
function placeOf({ listen, companies, accounts }: Config, url: string) {
  const own = companies.flatMap(({ name, listen }) => (listen ? [{ address: listen, company: name }] : []))
  const listeners: Listener[] = [...listen.map((address) => ({ address, company: undefined })), ...own]
  const first = listeners[0]!
  const firstHost = authorityOf(first.address)
  if (url.startsWith('/')) return { host: firstHost, target: url, listener: first, notes: [] }
  const [, scheme = '', authority = '', rest = ''] = /^(https?):\/\/([^/?#\\]+)([^#]*)/i.exec(url) ?? []
  const target = rest.startsWith('/') ? rest : `/${rest}`
  const origin = originOf(`${scheme}://${authority}`)
  const environments = [...BUILT_IN_ENVIRONMENTS, ...accounts.map(({ environment }) => environment)]
  if (environments.some(({ apiUrl }) => originOf(apiUrl) === origin)) {
    const note = `${origin} is the API itself: judged as if sent to http://${firstHost} instead, with the company that path, query and headers name`
    return { host: firstHost, target, listener: first, notes: [note] }
  }
  if (scheme.toLowerCase() !== 'http') {
    throw usageError(
      `${url} is neither a path such as /rest/v1.0/me, nor an http:// address of the proxy, nor an address of Procore's API`,
    )
  }
  const host = authority.replace(/^.*@/, '')
  const port = Number(/:(\d+)$/.exec(host)?.[1] ?? 80)
  const on = (wanted: number) =>
    listeners.find(({ address }) => address.kind === 'tcp' && address.port === wanted)
  const note = `nothing listens on port ${port}; judged as if sent to ${firstHost}`
  return { host, target, listener: on(port) ?? first, notes: on(port) || on(0) ? [] : [note] }
}

/** Equal for all spellings of an origin; undefined if it is none. */
const originOf = (url: string) => URL.parse(url)?.origin.replace(/\.(?=$|:\d+$)/, '')

/** What a caller of this address sends as Host. */
function authorityOf(address: ListenAddress): string {
  if (address.kind === 'unix') return 'localhost'
  return listenText({ ...address, host: localHost(address.host) }).replace(/:0$/, '')
}
