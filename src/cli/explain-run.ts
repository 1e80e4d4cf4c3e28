// What `explain` does: lets the reception judge an imagined request, and prints what it says.
import { Tokens } from '../auth/tokens.ts'
import type { Company, Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { Budgets } from '../forward/budgets.ts'
import type { Forwarded } from '../forward/forward.ts'
import { requestHeaders } from '../forward/request-headers.ts'
import { Upstreams } from '../forward/upstreams.ts'
import { type AccessDecision, decideAccess } from '../guards/access.ts'
import { FILES_PATH } from '../guards/file-hosts.ts'
import { type Exchange, startExchange } from '../observe/exchange.ts'
import { type Judgement, judge, runtimeOf } from '../server/judge.ts'
import { readConfig } from './config-options.ts'
import { CommandError, EXIT } from './exit.ts'
import type { ExplainOptions } from './explain.ts'
import { type ImaginedRequest, imagineRequest } from './explain-request.ts'

/** What `explain` prints; with `--json` as it is. */
export interface Explanation {
  readonly verdict: 'forwarded' | 'answered' | 'refused'
  /** Who answers, where the request is not forwarded and not refused. */
  readonly answer?: string
  readonly refusal?: {
    readonly code: string
    readonly status: number
    readonly detail: string
    readonly help: string
  }
  readonly company?: {
    readonly name: string
    readonly id: string
    readonly environment: string
    readonly why: string
  }
  readonly access?: AccessDecision
  readonly upstream?: string
  readonly headers?: {
    readonly added: readonly { readonly name: string; readonly value: string }[]
    /** Names alone: the values may be secret. */
    readonly removed: readonly string[]
  }
  readonly notes: readonly string[]
}

export async function explain(method: string, url: string, options: ExplainOptions): Promise<void> {
  const config = await readConfig(options, { resolveSecrets: false })
  if (config.companies.length === 0 && config.anyCompany === undefined) {
    const message =
      'no company is configured: write a configuration file, or set PROCORE_COMPANY_ID and the rest'
    throw new CommandError(message, EXIT.badConfig)
  }
  const explanation = await explainRequest(config, imagineRequest(config, method, url, options.header ?? []))
  process.stdout.write(options.json ? `${JSON.stringify(explanation, null, 2)}\n` : report(explanation))
  if (explanation.verdict === 'refused') process.exitCode = EXIT.failure
}

/** What would become of the request. Sends nothing, and needs no secret. */
export async function explainRequest(config: Config, request: ImaginedRequest): Promise<Explanation> {
  // Keys were not read, so they can't be compared; that one is wanted is said instead.
  const keyless = { ...config, guard: { ...config.guard, clientKeys: [] } }
  const wantsKey = config.guard.clientKeys.length > 0
  const notes = [
    ...request.notes,
    ...(wantsKey ? ['a client key is required in Procore-Proxy-Key; it was not judged here'] : []),
  ]
  const tokens = new Tokens(
    () => Promise.reject(new Error('explain asks for no token')),
    () => {},
  )
  const upstreams = new Upstreams(keyless, { tokens, budgets: new Budgets(keyless) })
  const receiveWith = (one: Config) => receiveIn(one, upstreams, request)
  try {
    const { reception, refusal } = receiveWith(keyless)
    if (reception !== undefined && reception.kind !== 'forward') {
      const answer =
        reception.kind === 'own'
          ? 'by the proxy itself, where it has such a page'
          : 'by the proxy: CORS preflight'
      return { verdict: 'answered', answer, notes }
    }
    // Where access alone was refused, the rest is what it would be without.
    const passed =
      reception ?? (refusal?.code === 'access_denied' ? receiveWith(opened(keyless)).reception : undefined)
    const rest = passed?.kind === 'forward' ? onTheWay(keyless, request, passed) : {}
    return refusal === undefined
      ? { verdict: 'forwarded', ...rest, notes }
      : { verdict: 'refused', refusal, ...rest, notes }
  } finally {
    await upstreams.destroy()
  }
}

interface Received {
  readonly reception?: Judgement
  readonly refusal?: NonNullable<Explanation['refusal']>
}

function receiveIn(
  config: Config,
  upstreams: Upstreams,
  { raw, target, listener }: ImaginedRequest,
): Received {
  const exchange: Exchange = startExchange('explain', raw.method, target)
  try {
    const runtime = runtimeOf(config, upstreams)
    const reception = judge(
      { runtime, request: raw, listener, exchange, isDraining: false },
      { viewer: { companies: undefined, caller: undefined }, caller: undefined },
    )

    return { reception }
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    const { code, status, message, help } = error
    return { refusal: { code, status, detail: message, help } }
  }
}

function opened(config: Config): Config {
  const open = <T extends Pick<Company, 'access' | 'rules'>>(one: T): T => ({
    ...one,
    access: 'read-write',
    rules: [],
  })
  return {
    ...config,
    companies: config.companies.map(open),
    anyCompany: config.anyCompany && open(config.anyCompany),
  }
}

type Passed = Extract<Judgement, { kind: 'forward' }>

function onTheWay(config: Config, { raw }: ImaginedRequest, { forwarded, why }: Passed) {
  const { call } = forwarded
  const { companyId, environment, origin, host } = call.upstream
  const company = config.companies.find(({ id }) => id === companyId) ?? config.anyCompany!
  const mark = call.path.indexOf('?')
  const sent = mark === -1 ? call.path : call.path.slice(0, mark)
  const path = origin === environment.apiUrl ? sent : FILES_PATH + host + sent
  const query = mark === -1 ? '' : call.path.slice(mark)
  return {
    company: { name: call.companyName, id: companyId, environment: environment.name, why },
    access: decideAccess(company, { method: raw.method, rawHeaders: raw.rawHeaders, path, query }),
    upstream: origin + call.path,
    headers: headerChanges(raw, call),
  }
}

interface Header {
  readonly name: string
  readonly value: string
}

/** The caller's headers held against those that would be sent. */
function headerChanges({ rawHeaders }: ImaginedRequest['raw'], call: Forwarded['call']) {
  const sent = pairs(requestHeaders(call, { value: '…' }))
  const own = pairs(rawHeaders)
  const isIn = (list: readonly Header[], one: Header) =>
    list.some(({ name, value }) => name === one.name && value === one.value)
  const removed = own.filter((one) => !isIn(sent, one) && !['host', 'via'].includes(one.name.toLowerCase()))
  return {
    added: sent.filter((one) => !isIn(own, one)),
    removed: [...new Set(removed.map(({ name }) => name))],
  }
}

function pairs(flat: readonly string[]): Header[] {
  return flat.flatMap((name, index) => (index % 2 === 0 ? [{ name, value: flat[index + 1]! }] : []))
}

function report(explanation: Explanation): string {
  const { verdict, answer, refusal, company, access, upstream, headers, notes } = explanation
  const rows: [string, string][] = []
  if (refusal)
    rows.push(['refused', `${refusal.status} ${refusal.code}: ${refusal.detail}`], ['do', refusal.help])
  else rows.push([verdict, answer ?? 'to Procore'])
  if (company)
    rows.push(['company', `${company.name} (id ${company.id}, ${company.environment}), by ${company.why}`])
  if (access) rows.push(['access', `${access.allowed ? 'allowed' : 'denied'}: ${access.why}`])
  if (upstream) rows.push(['upstream', upstream])
  for (const { name, value } of headers?.added ?? []) rows.push(['added', `${name}: ${value}`])
  for (const name of headers?.removed ?? []) rows.push(['removed', name])
  for (const note of notes) rows.push(['note', note])
  return rows
    .map(([label, text], index) => `${(label === rows[index - 1]?.[0] ? '' : label).padEnd(10)}${text}\n`)
    .join('')
}
