// The command `explain`: says what the proxy would do with a request, and why.
import type { Company, Config } from '../config/config.ts'
import { Secret } from '../config/secret.ts'
import type { ProxyError } from '../errors.ts'
import { type AccessDecision, decideAccess } from '../guards/access.ts'
import { FILES_PATH } from '../guards/file-hosts.ts'
import { readConfig } from './config.ts'
import { EXIT, usageError } from './exit.ts'
import { type Forwarded, judgeImagined } from './explain-judge.ts'
import { reportExplanation } from './explain-report.ts'
import { type ImaginedRequest, imagineRequest } from './explain-request.ts'
import type { Options } from './options.ts'

/** The result of `explain`, which `--json` prints unchanged. */
export interface Explanation {
  readonly verdict: 'forwarded' | 'answered' | 'refused'
  /** What answers if the request is neither forwarded nor refused. */
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
  readonly caller?: string
  readonly access?: Pick<AccessDecision, 'allowed' | 'why'>
  readonly upstream?: string
  readonly headers?: {
    readonly added: readonly { readonly name: string; readonly value: string }[]
    /** Names only, because the values may be secret. */
    readonly removed: readonly string[]
  }
  /** What the cache would do with it. */
  readonly cache?: string
  readonly notes: readonly string[]
}

export async function explain(method: string, url: string, options: Options): Promise<void> {
  const config = await readConfig(options, { resolveSecrets: false })
  if (config.companies.length === 0 && config.anyCompany === undefined) {
    throw usageError(
      'no company is configured: write a configuration file, or set PROCORE_COMPANY_ID and the rest',
    )
  }
  const request = imagineRequest(config, { method, url, headerLines: options.header ?? [] })
  const explanation = await explainRequest(config, request, options.caller)
  if (explanation.verdict === 'refused') process.exitCode = EXIT.failure
  process.stdout.write(
    options.json ? `${JSON.stringify(explanation, null, 2)}\n` : reportExplanation(explanation),
  )
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
    return { verdict: 'forwarded', ...caller, ...onTheWay(request, judgement), notes }
  }
  if (judgement.kind !== 'refused') {
    const isPreflight = judgement.kind === 'preflight'
    const answer = isPreflight
      ? 'by the proxy: CORS preflight'
      : 'by the proxy itself, where it has such a page'
    return { verdict: 'answered', answer, ...caller, notes }
  }
  const refusal = refusalOf(judgement.error, config)
  // If only access is refused, the rest is shown as if it were allowed.
  const passed = refusal.code === 'access_denied' ? await judgeImagined(opened(judged), sent) : undefined
  const rest =
    passed?.kind === 'forward'
      ? { ...onTheWay(request, passed), access: { allowed: false, why: refusal.detail } }
      : {}
  return { verdict: 'refused', refusal, ...caller, ...rest, notes }
}

const PLACEHOLDER_KEY = 'explain-does-not-read-any-key'

/** Keys are not read. A named caller gets a placeholder as its key; without a caller, no key is required. */
function withKey(config: Config, request: ImaginedRequest, callerName: string | undefined) {
  const { callers = [], guard } = config
  const keyless = { ...config, guard: { ...guard, clientKeys: [] } }
  if (callerName === undefined) {
    const wantsKey = guard.clientKeys.length + callers.length > 0
    const note = 'the proxy asks for a key, in Procore-Proxy-Key for example; the key was not judged here'
    return {
      config: { ...keyless, callers: [] },
      request,
      notes: wantsKey ? [...request.notes, note] : request.notes,
    }
  }
  const caller = callers.find(({ name }) => name === callerName)
  if (caller === undefined) {
    const known = callers.map(({ name }) => name).join(', ') || 'none'
    throw usageError(`--caller ${callerName}: there is no such caller; configured are: ${known}`)
  }
  const { raw } = request
  const rawHeaders = [...raw.rawHeaders, 'Procore-Proxy-Key', PLACEHOLDER_KEY]
  return {
    config: { ...keyless, callers: [{ ...caller, keys: [new Secret(PLACEHOLDER_KEY)] }] },
    request: { ...request, raw: { ...raw, rawHeaders } },
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
  const open = <T extends Pick<Company, 'access' | 'rules'>>(one: T): T => ({
    ...one,
    access: 'read-write',
    rules: [],
  })
  const { companies, anyCompany, callers = [] } = config
  return {
    ...config,
    companies: companies.map(open),
    anyCompany: anyCompany && open(anyCompany),
    callers: callers.map((caller) => ({ ...open(caller), companies: undefined, projects: undefined })),
  }
}

function onTheWay({ raw }: ImaginedRequest, forwarded: Forwarded) {
  const { company, companyName, companyId, environment, why, origin, host, path, cache } = forwarded
  const [sent = '', ...rest] = path.split('?')
  const query = rest.length === 0 ? '' : `?${rest.join('?')}`
  const judgedPath = origin === environment.apiUrl ? sent : FILES_PATH + host + sent
  const asked = { method: raw.method, rawHeaders: raw.rawHeaders, path: judgedPath, query }
  const { allowed, why: reason } = decideAccess(company, asked)
  return {
    company: { name: companyName, id: companyId, environment: environment.name, why },
    access: { allowed, why: reason },
    upstream: origin + path,
    headers: headerChanges(raw.rawHeaders, forwarded.headers),
    ...(cache === undefined ? {} : { cache }),
  }
}

interface Header {
  readonly name: string
  readonly value: string
}

/** The difference between the caller's headers and those that would be sent. */
function headerChanges(rawHeaders: readonly string[], sentHeaders: readonly string[]) {
  const own = pairs(rawHeaders)
  const sent = pairs(sentHeaders)
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
