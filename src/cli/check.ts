// The command `check`: gets tokens, makes one harmless call for each company, and prints a table with what to do.
import type { IssuedToken } from '../auth/request-token.ts'
import type { TokenFailure } from '../auth/token-failure.ts'
import type { Company, Config, ServiceAccount } from '../config/config.ts'
import { ResponseTimeoutError, upstreamError } from '../forward/upstream-error.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import { likelyCauses, REFUSED_CREDENTIALS } from '../observe/likely-causes.ts'
import { reportChecks } from './check-report.ts'
import { companiesNamed, readConfig } from './config.ts'
import { EXIT } from './exit.ts'
import type { Options } from './options.ts'
import { type Ask, connectToProcore, type ProcoreConnections } from './procore.ts'

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
  readonly fixes: readonly string[]
}

/** A service account's own record has less than 2 KB. */
const MOST_ME_BYTES = 256 * 1024

export async function check(names: readonly string[], options: Options): Promise<void> {
  const config = await readConfig(options)
  const companies = companiesNamed(config, names)
  const accounts =
    names.length === 0 ? config.accounts : [...new Set(companies.map((company) => company.account))]
  const findings = options.offline ? [] : await checkOnline(config, companies, accounts)
  const ok = findings.every((finding) => finding.ok)
  // Set before the output is written, because a reader that leaves early must not turn a failure into a success.
  if (!ok) process.exitCode = EXIT.failure
  const { file, warnings } = config
  const text = options.json
    ? `${JSON.stringify({ ok, file, warnings, findings }, null, 2)}\n`
    : reportChecks(config, findings, options.offline === true)
  process.stdout.write(text)
}

/** Tries accounts, then companies. */
export async function checkOnline(
  config: Config,
  companies: readonly Company[],
  accounts: readonly ServiceAccount[],
): Promise<Finding[]> {
  const procore = connectToProcore(config)
  try {
    const tokens = new Map<string, IssuedToken>()
    const ofAccounts = await Promise.all(accounts.map((account) => checkAccount(account, procore, tokens)))
    const ofCompanies = await Promise.all(
      companies.map((company) => {
        const token = tokens.get(company.account.key)
        return token === undefined
          ? withoutToken(company)
          : callMe(company, token, { ask: procore.ask, timeoutMs: config.upstream.responseTimeoutMs })
      }),
    )
    return [...ofAccounts, ...ofCompanies]
  } finally {
    await procore.close()
  }
}

/** Gets one token and puts it into `tokens` by the account's key. */
export async function checkAccount(
  account: ServiceAccount,
  { requestToken }: Pick<ProcoreConnections, 'requestToken'>,
  tokens: Map<string, IssuedToken>,
): Promise<Finding> {
  const base = { kind: 'account', name: account.name, environment: account.environment.name } as const
  try {
    const token = await requestToken(account)
    tokens.set(account.key, token)
    const detail = `token issued, valid for ${Math.round(token.lifetimeMs / 1000)} s`
    return { ...base, ok: true, detail, fixes: [] }
  } catch (error) {
    const failure = error as TokenFailure
    const fixes = failure.final ? refusedCredentials(account) : [connectionFix(failure, account)]
    return { ...base, ok: false, detail: failure.message, fixes }
  }
}

/** A visible flaw of the secret comes first, because resetting the secret would wipe the account's permissions. */
function refusedCredentials(account: ServiceAccount): string[] {
  const causes = REFUSED_CREDENTIALS.map(({ cause, fix }) => `${cause} ${fix}`)
  return account.secretFlaw === undefined ? causes : [account.secretFlaw, ...causes]
}

function connectionFix(failure: TokenFailure, { environment }: ServiceAccount): string {
  if (failure.cause instanceof OutboundProxyError) return failure.cause.help
  if (failure.reason === 'tls') return `This machine does not trust its certificate. ${CA_HELP}`
  return `Check that this machine reaches ${environment.loginUrl} (network, DNS, firewall, network.proxy), then try again.`
}

function baseOf({ name, id, account }: Company) {
  return { kind: 'company', name, environment: account.environment.name, id } as const
}

function withoutToken(company: Company): Finding {
  const fixes = [`Fix service account ${company.account.name} first.`]
  return { ...baseOf(company), ok: false, detail: 'not tried: there is no token', fixes }
}

interface Way {
  readonly ask: Ask
  readonly timeoutMs: number
}

async function callMe(company: Company, token: IssuedToken, { ask, timeoutMs }: Way): Promise<Finding> {
  const base = baseOf(company)
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const { status, text = '' } = await ask({
      origin: company.account.environment.apiUrl,
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
    const detail = `/rest/v1.0/me answered ${status}`
    return status === 200
      ? { ...base, ok: true, detail, fixes: [] }
      : { ...base, ok: false, detail, fixes: fixesFor(status, text) }
  } catch (error) {
    const failure = upstreamError(signal.aborted ? new ResponseTimeoutError() : error)
    return { ...base, ok: false, detail: failure.message, fixes: [failure.help] }
  }
}

function fixesFor(status: number, text: string): string[] {
  const causes = likelyCauses(status, text).map(({ cause, fix }) => `${cause} ${fix}`)
  if (causes.length > 0) return causes
  if (status === 429)
    return ['The rate limit of this account and company is used up. Wait an hour, or call less often.']
  return ['Procore seems to have a problem. See https://status.procore.com and try again later.']
}
