// The commands `check` (tokens, one harmless call for each company, and what to do) and `token` (the token alone).
import { styleText } from 'node:util'
import type { TokenFailure } from '../auth/request-token.ts'
import { type IssuedToken, requestToken } from '../auth/request-token.ts'
import type { Company, Config, ServiceAccount } from '../config/config.ts'
import { ResponseTimeoutError, upstreamError } from '../forward/problem.ts'
import { type Ask, createAsker } from '../network/ask.ts'
import { likelyCauses, REFUSED_CREDENTIALS } from '../observe/likely-causes.ts'
import { printableLines } from '../observe/mask.ts'
import type { Options } from './commands.ts'
import { companyNamed, readConfig } from './config.ts'
import { CommandError, EXIT, usageError } from './exit.ts'
import { renderTable } from './table.ts'

/** One thing that was checked. */
export interface CheckResult {
  readonly kind: 'account' | 'company'
  readonly name: string
  readonly environment: string
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
  const isAll = names.length === 0
  const companies = isAll ? config.companies : names.map((name) => companyNamed(config, name))
  const accounts = isAll ? config.accounts : [...new Set(companies.map(({ account }) => account))]
  const findings = options.offline ? [] : await checkOnline(config, companies, accounts)
  const ok = findings.every((finding) => finding.ok)
  // Set before the output is written, because a reader that leaves early must not turn a failure into a success.
  if (!ok) process.exitCode = EXIT.failure
  const { file, warnings } = config
  const text = options.json
    ? `${printableLines(JSON.stringify({ ok, file, warnings, findings }, null, 2))}\n`
    : reportChecks(config, findings, options.offline === true)
  process.stdout.write(text)
}

/** The report. `offline` means that nothing was tried. */
export function reportChecks(
  { file, network, warnings }: Pick<Config, 'file' | 'network' | 'warnings'>,
  findings: readonly CheckResult[],
  offline: boolean,
): string {
  const head = [
    `configuration: ${file ?? 'variables and flags'}\n`,
    network.proxy === undefined ? '' : `outbound proxy: ${network.proxy.origin}\n`,
    ...warnings.map((warning) => `${styleText('yellow', 'warning')}: ${warning}\n`),
  ].join('')
  if (offline) return `${head}The configuration is valid. Procore was not called (--offline).\n`
  const rows = findings.map(({ ok, kind, name, id = '', environment, detail }) => [
    ok ? styleText('green', 'ok') : styleText('red', 'FAIL'),
    ...[kind, name, id, environment, detail],
  ])
  const table = renderTable(['', 'kind', 'name', 'id', 'environment', 'result'], rows)
  const failures = findings.filter(({ ok }) => !ok)
  const whatToDo = failures.map(
    ({ kind, name, fixes }) =>
      `\n${kind} ${name}, what to do:\n${fixes.map((fix) => `  - ${fix}\n`).join('')}`,
  )
  return head + table + whatToDo.join('')
}

/** Tries accounts, then companies. */
export async function checkOnline(
  config: Config,
  companies: readonly Company[],
  accounts: readonly ServiceAccount[],
): Promise<CheckResult[]> {
  return askProcore(config, async (ask) => {
    const tried = await Promise.all(accounts.map((account) => checkAccount(account, ask)))
    const tokens = new Map(tried.map(({ token }, index) => [accounts[index]?.key, token]))
    const { responseTimeoutMs } = config.upstream
    const ofCompanies = companies.map((company) =>
      checkCompany(company, tokens.get(company.account.key), { ask, responseTimeoutMs }),
    )
    return [...tried.map(({ finding }) => finding), ...(await Promise.all(ofCompanies))]
  })
}

/** Lets `use` send requests to Procore as `network` and `upstream` of the configuration say. */
async function askProcore<T>(config: Config, use: (ask: Ask) => Promise<T>): Promise<T> {
  const { ask, destroy } = createAsker(config)
  try {
    return await use(ask)
  } finally {
    await destroy()
  }
}

/** Gets one token. There is none if the finding is not ok. */
async function checkAccount(account: ServiceAccount, ask: Ask) {
  const base = { kind: 'account', name: account.name, environment: account.environment.name } as const
  try {
    const token = await requestToken(account, ask, new AbortController().signal)
    const detail = `token issued, valid for ${Math.round(token.lifetimeMs / 1000)} s`
    return { finding: { ...base, ok: true, detail, fixes: [] }, token }
  } catch (error) {
    const fixes = accountFixes(error as TokenFailure, account)
    return { finding: { ...base, ok: false, detail: (error as Error).message, fixes }, token: undefined }
  }
}

/** A visible flaw of client id or secret comes first, because resetting the secret would wipe the account's permissions. */
function accountFixes(failure: TokenFailure, { secretFlaw, environment }: ServiceAccount): string[] {
  if (failure.final) {
    const causes = REFUSED_CREDENTIALS.map(({ cause, fix }) => `${cause} ${fix}`)
    return secretFlaw === undefined ? causes : [secretFlaw, ...causes]
  }
  if (failure.help !== undefined) return [failure.help]
  return [
    `Check that this machine reaches ${environment.loginUrl} (network, DNS, firewall, network.proxy), then try again.`,
  ]
}

async function checkCompany(
  { name, id, account }: Company,
  token: IssuedToken | undefined,
  { ask, responseTimeoutMs }: { ask: Ask; responseTimeoutMs: number },
): Promise<CheckResult> {
  const base = { kind: 'company', name, environment: account.environment.name, id } as const
  if (token === undefined) {
    const fixes = [`Fix service account ${account.name} first.`]
    return { ...base, ok: false, detail: 'not tried: there is no token', fixes }
  }
  const signal = AbortSignal.timeout(responseTimeoutMs)
  try {
    const { status, text = '' } = await ask({
      origin: account.environment.apiUrl,
      path: '/rest/v1.0/me',
      method: 'GET',
      headers: [
        ...['Authorization', `Bearer ${token.value}`, 'Procore-Company-Id', id],
        ...['Via', '1.1 procore-proxy', 'Accept', 'application/json'],
      ],
      signal,
      mostBytes: MOST_ME_BYTES,
    })
    const detail = `/rest/v1.0/me answered ${status}`
    return { ...base, ok: status === 200, detail, fixes: companyFixes(status, text) }
  } catch (error) {
    const failure = upstreamError(signal.aborted ? new ResponseTimeoutError() : error)
    return { ...base, ok: false, detail: failure.message, fixes: [failure.help] }
  }
}

function companyFixes(status: number, text: string): string[] {
  if (status === 200) return []
  const causes = likelyCauses(status, text).map(({ cause, fix }) => `${cause} ${fix}`)
  if (causes.length > 0) return causes
  return status === 429
    ? [
        'The rate limit of this account and company is used up. Wait until its window ends (an hour at most), or call less often.',
      ]
    : ['Procore seems to have a problem. See https://status.procore.com and try again later.']
}

export async function token(name: string, options: Options): Promise<void> {
  if (process.stdout.isTTY && !options.show) {
    throw usageError(
      'a token that is printed on a terminal stays readable there: use a pipe or $(…), or add --show',
    )
  }
  const config = await readConfig(options)
  const { account } = companyNamed(config, name)
  const { finding, token } = await askProcore(config, (ask) => checkAccount(account, ask))
  if (token === undefined) {
    const list = finding.fixes.map((fix) => `\n  - ${fix}`).join('')
    throw new CommandError(`no token for ${name}: ${finding.detail}; what to do:${list}`)
  }
  process.stdout.write(`${token.value}\n`)
}
