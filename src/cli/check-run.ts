// What `check` does: tokens, then one harmless call for each company, then a table with the mends.
import { type IssuedToken, LOGIN_CONNECT_MS, requestToken } from '../auth/request-token.ts'
import type { TokenFailure } from '../auth/token-failure.ts'
import type { Company, Config, ServiceAccount } from '../config/config.ts'
import type { Flags } from '../config/overrides.ts'
import { ResponseTimeoutError, upstreamError } from '../forward/upstream-error.ts'
import { type Ask, createAsker } from '../network/ask.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import { likelyCauses, REFUSED_CREDENTIALS } from '../observe/likely-causes.ts'
import { readConfig } from './config-options.ts'
import { CommandError, EXIT } from './exit.ts'
import { renderTable } from './table.ts'

/** One thing that was checked. */
export interface Finding {
  readonly kind: 'account' | 'company'
  readonly name: string
  readonly environment: string
  /** The company's id. */
  readonly id?: string
  readonly ok: boolean
  readonly detail: string
  /** What to do, likeliest first. */
  readonly mends: readonly string[]
}

/** A service account's own record has less than 2 KB. */
const MOST_ME_BYTES = 256 * 1024

export async function check(
  names: readonly string[],
  options: Flags & { offline?: boolean; json?: boolean },
): Promise<void> {
  const config = await readConfig(options)
  const companies = chosen(config, names)
  const findings = options.offline ? [] : await checkOnline(config, companies, names.length > 0)
  const ok = findings.every((finding) => finding.ok)
  if (options.json) {
    process.stdout.write(
      `${JSON.stringify({ ok, file: config.file, warnings: config.warnings, findings }, null, 2)}\n`,
    )
  } else process.stdout.write(report(config, findings, options.offline === true))
  if (!ok) process.exitCode = EXIT.failure
}

export function chosen(config: Config, names: readonly string[]): readonly Company[] {
  if (names.length === 0) return config.companies
  return names.map((name) => {
    const company = config.companies.find((each) => each.name === name || each.id === name)
    if (company !== undefined) return company
    if (config.anyCompany !== undefined && /^\d{1,20}$/.test(name)) {
      return { ...config.anyCompany, name, id: name, isDefault: false, listen: undefined }
    }
    const known = config.companies.map((each) => each.name).join(', ')
    const all = config.anyCompany === undefined ? known : `${known || 'none by name'}, and any other id`
    throw new CommandError(`company ${name} is not configured; configured are: ${all}`, EXIT.badConfig)
  })
}

export async function checkOnline(
  config: Config,
  companies: readonly Company[],
  some: boolean,
): Promise<Finding[]> {
  const timeoutMs = Math.min(config.upstream.connectTimeoutMs, LOGIN_CONNECT_MS)
  const asker = createAsker(config.network, timeoutMs)
  try {
    const accounts = some ? [...new Set(companies.map((company) => company.account))] : config.accounts
    const tokens = new Map<string, IssuedToken>()
    const ofAccounts = await Promise.all(accounts.map((account) => checkAccount(account, asker.ask, tokens)))
    const ofCompanies = await Promise.all(
      companies.map((company) => {
        const token = tokens.get(company.account.key)
        return checkCompany(company, asker.ask, token, config.upstream.responseTimeoutMs)
      }),
    )
    return [...ofAccounts, ...ofCompanies]
  } finally {
    await asker.destroy()
  }
}

export async function checkAccount(
  account: ServiceAccount,
  ask: Ask,
  tokens: Map<string, IssuedToken>,
): Promise<Finding> {
  const base = { kind: 'account', name: account.name, environment: account.environment.name } as const
  try {
    const token = await requestToken(account, ask, new AbortController().signal)
    tokens.set(account.key, token)
    return {
      ...base,
      ok: true,
      detail: `token issued, lives ${Math.round(token.lifetimeMs / 1000)} s`,
      mends: [],
    }
  } catch (error) {
    const failure = error as TokenFailure
    const mends = failure.final
      ? REFUSED_CREDENTIALS.map(({ cause, mend }) => `${cause} ${mend}`)
      : [connectionMend(failure, account)]
    return { ...base, ok: false, detail: failure.message, mends }
  }
}

function connectionMend(failure: TokenFailure, { environment }: ServiceAccount): string {
  if (failure.cause instanceof OutboundProxyError) return failure.cause.help
  if (failure.reason === 'tls') return `Its certificate is not trusted here. ${CA_HELP}`
  return `Check that this machine reaches ${environment.loginUrl} (network, DNS, firewall, network.proxy), then try again.`
}

async function checkCompany(
  company: Company,
  ask: Ask,
  token: IssuedToken | undefined,
  timeoutMs: number,
): Promise<Finding> {
  const { environment } = company.account
  const base = { kind: 'company', name: company.name, environment: environment.name, id: company.id } as const
  if (token === undefined) {
    const mend = `Mend service account ${company.account.name} first.`
    return { ...base, ok: false, detail: 'not tried: no token', mends: [mend] }
  }
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const { status, text = '' } = await ask({
      origin: environment.apiUrl,
      path: '/rest/v1.0/me',
      method: 'GET',
      headers: [
        ...['Authorization', `Bearer ${token.value}`],
        ...['Procore-Company-Id', company.id],
        ...['Via', '1.1 procore-proxy'],
        ...['Accept', 'application/json'],
      ],
      signal,
      mostBytes: MOST_ME_BYTES,
    })
    if (status === 200) return { ...base, ok: true, detail: '/rest/v1.0/me answered 200', mends: [] }
    return {
      ...base,
      ok: false,
      detail: `/rest/v1.0/me answered ${status}`,
      mends: mendsOf(status, text),
    }
  } catch (error) {
    const failure = upstreamError(signal.aborted ? new ResponseTimeoutError() : error)
    return { ...base, ok: false, detail: failure.message, mends: [failure.help] }
  }
}

function mendsOf(status: number, text: string): string[] {
  const causes = likelyCauses(status, text).map(({ cause, mend }) => `${cause} ${mend}`)
  if (causes.length > 0) return causes
  if (status === 429)
    return ['The rate limit of this account and company is used up: wait an hour, or call less often.']
  return ['Procore itself seems to be in trouble: see https://status.procore.com and try again later.']
}

export function report(config: Config, findings: readonly Finding[], offline: boolean): string {
  const { proxy } = config.network
  const way = proxy === undefined ? '' : `outbound proxy: ${proxy.origin}\n`
  const head = `configuration: ${config.file ?? 'variables and flags'}\n${way}`
  const warnings = config.warnings.map((warning) => `warning: ${warning}\n`).join('')
  if (offline) return `${head}${warnings}It is valid. Nobody was called (--offline).\n`
  const rows = findings.map((finding) => [
    finding.ok ? 'ok' : 'FAIL',
    finding.kind,
    finding.name,
    finding.id ?? '',
    finding.environment,
    finding.detail,
  ])
  const mends = findings
    .filter((finding) => !finding.ok)
    .map(
      ({ kind, name, mends: list }) =>
        `\n${kind} ${name}, what to do:\n${list.map((mend) => `  - ${mend}\n`).join('')}`,
    )
  return `${head}${warnings}${renderTable(['', 'kind', 'name', 'id', 'environment', 'result'], rows)}${mends.join('')}`
}
