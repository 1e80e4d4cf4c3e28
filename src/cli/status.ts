// The command `status`: asks a running proxy for its status and prints it.
import { styleText } from 'node:util'
import { printable, printableLines } from '../observe/mask.ts'
import type { AccountStatus, CompanyStatus, ErrorStatus, Status } from '../observe/status.ts'
import type { Options } from './commands.ts'
import { readConfig } from './config.ts'
import { CommandError } from './exit.ts'
import { renderTable } from './table.ts'
import { askHealth, askLocal, localUrl, whyNot } from './wait.ts'

const TIMEOUT_MS = 5_000
/** A unix socket, and an address that only this machine reaches. */
const ON_THIS_MACHINE = /^unix:|^http:\/\/(localhost|127(\.\d+){3}|\[::1\]):/

export async function status(options: Options): Promise<void> {
  const url = await localUrl(options)
  const health = await askHealth(url, 'live', TIMEOUT_MS)
  if (typeof health === 'object') throw new CommandError(`no proxy answers at ${url}: ${health.found}`)
  const { key, unread } = await readKey(url, options)
  const headers = { 'procore-proxy-request': 'true', ...(key !== undefined && { 'procore-proxy-key': key }) }
  const question = { path: '/_proxy/status', timeoutMs: TIMEOUT_MS, headers }
  const { status, body } = await askLocal(url, question).catch((error: unknown) => {
    throw new CommandError(`no proxy answers at ${url}: ${whyNot(error)}`)
  })
  const shown = fieldsOf(body)
  if (status !== 200 || !Array.isArray(shown.companies) || !Array.isArray(shown.accounts)) {
    const { detail, help } = shown
    // The proxy's explanation of a refusal. The body of another server is not shown.
    const isOurs = typeof detail === 'string' && typeof help === 'string'
    const why = isOurs ? printable(`: ${detail} ${help}`) : ', which is not the status of a procore-proxy'
    const hint =
      status === 401 && unread ? `\nThe configuration's key could not be read: ${unread.message}` : ''
    throw new CommandError(`${url} answered ${status}${why}${hint}`)
  }
  const text = options.json
    ? `${printableLines(JSON.stringify(shown, null, 2))}\n`
    : reportStatus(url, shown as Status)
  process.stdout.write(text)
}

/**
 * The key for the proxy: PROCORE_PROXY_KEY, else one of the configuration; `unread`: why the configuration has none to give.
 *
 * Invariant: a key of the configuration is sent only to the configured address, only on this machine, and only after
 * the server there has answered like procore-proxy.
 */
async function readKey(
  url: string,
  { url: given, config: file }: Options,
): Promise<{ readonly key?: string | undefined; readonly unread?: Error }> {
  const fromVariable = process.env['PROCORE_PROXY_KEY']
  if (fromVariable) return { key: fromVariable }
  if (given !== undefined || !ON_THIS_MACHINE.test(url)) return {}
  try {
    const { callers, guard } = await readConfig({ config: file })
    const caller = callers.find(({ companies }) => companies === undefined) ?? callers[0]
    return { key: (guard.clientKeys[0] ?? caller?.keys[0])?.reveal() }
  } catch (error) {
    // A user who cannot read the secrets may still ask a proxy that requires no key.
    return { unread: error as Error }
  }
}

/** The fields of a JSON object; none if it is another text. */
function fieldsOf(body: string): Partial<Status> & { detail?: unknown; help?: unknown } {
  try {
    return Object(JSON.parse(body))
  } catch {
    return {}
  }
}

const COMPANY_HEAD = ['company', 'id', 'account', 'access', 'requests', 'errors', 'in flight', 'budget']
const ACCOUNT_HEAD = ['account', 'environment', 'token', 'age', 'expires in', 'last failure']
const ERROR_HEAD = ['at', 'request', 'status', 'code', 'detail']

/** The status as tables. Control characters are shown as text, so that they cannot affect the terminal. */
export function reportStatus(url: string, shown: Status): string {
  const { version, uptimeSeconds, ready, inFlight, listeners, companies, accounts } = shown
  const { lastErrors, warnings } = shown
  const state = ready ? styleText('green', 'ready') : styleText('red', 'not ready')
  const head = `procore-proxy ${printable(version)} at ${url}: ${state}, up ${span(uptimeSeconds)}, ${inFlight} in flight\n`
  const addresses = listeners.map(
    ({ url, company }) => `listening on ${url}${company === null ? '' : ` (${company})`}\n`,
  )
  const parts = [
    addresses.join(''),
    renderTable(COMPANY_HEAD, companies.map(companyRow)),
    renderTable(ACCOUNT_HEAD, accounts.map(accountRow)),
  ]
  if (lastErrors.length > 0) {
    parts.push(`last errors\n${renderTable(ERROR_HEAD, lastErrors.map(errorRow))}`)
  }
  const items = warnings.map((text) => `- ${printable(text)}\n`)
  if (items.length > 0) parts.push(`warnings\n${items.join('')}`)
  return [head, ...parts.map(printableLines)].join('\n')
}

function companyRow(company: CompanyStatus): string[] {
  const { name, id, account, access, rules, requests, inFlight, queued, budget } = company
  return [
    company.default ? `${name} (default)` : name,
    id ?? '-',
    account,
    rules === 0 ? access : `${access}, ${rules} rule${rules === 1 ? '' : 's'}`,
    String(Object.values(requests).reduce((sum, count) => sum + count, 0)),
    String(requests['4xx'] + requests['5xx'] + requests.none),
    queued === 0 ? String(inFlight) : `${inFlight}, ${queued} wait`,
    budgetText(budget),
  ]
}

function budgetText(budget: CompanyStatus['budget']): string {
  if (budget === null) return '-'
  const reset = budget.resetSeconds === null ? '' : ` for ${span(budget.resetSeconds)}`
  return `${budget.remaining} of ${budget.limit}${reset}`
}

function accountRow({ lastFailure, ...account }: AccountStatus): string[] {
  return [
    account.name,
    account.environment,
    account.token,
    account.ageSeconds === null ? '-' : span(account.ageSeconds),
    account.expiresInSeconds === null ? '-' : span(account.expiresInSeconds),
    lastFailure === null ? '-' : `${lastFailure.reason}: ${lastFailure.detail}`,
  ]
}

function errorRow({ at, method, path, status, code, detail }: ErrorStatus): string[] {
  // Seconds are precise enough here.
  return [at.replace(/\.\d+Z$/, 'Z'), `${method} ${path}`, String(status ?? '-'), code, detail]
}

/** `3 d 4 h`, `2 h 5 min`, `1 min 30 s`, `12 s`. */
function span(seconds: number): string {
  const days = Math.floor(seconds / 86_400)
  const rest = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60]
  const counts = [days, ...rest].map((count, index) => ({ count, unit: ['d', 'h', 'min', 's'][index] }))
  const first = counts.findIndex(({ count }) => count > 0)
  if (first === -1) return '0 s'
  const shown = counts.slice(first, first + 2).filter(({ count }) => count > 0)
  return shown.map(({ count, unit }) => `${count} ${unit}`).join(' ')
}
