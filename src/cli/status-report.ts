// Formats the report of `status`: tables of companies, accounts and last errors.
import { styleText } from 'node:util'
import { printable } from '../observe/readable.ts'
import type { AccountStatus, CompanyStatus, ErrorStatus, Status } from '../observe/status.ts'
import { renderTable, wrapped } from './table.ts'

const COMPANY_HEAD = ['company', 'id', 'account', 'access', 'requests', 'errors', 'in flight', 'budget']
const ACCOUNT_HEAD = ['account', 'environment', 'token', 'age', 'expires in', 'last failure']
const ERROR_HEAD = ['at', 'request', 'status', 'code', 'detail']

/** The status as tables. Control characters are shown as text, so that they cannot affect the terminal. */
export function reportStatus(url: string, shown: Status): string {
  const { version, uptimeSeconds, ready, inFlight, listeners, companies, accounts } = shown
  const { lastErrors, warnings } = shown
  const state = ready ? styleText('green', 'ready') : styleText('red', 'not ready')
  const addresses = listeners.map(
    ({ url, company }) => `listening on ${url}${company === null ? '' : ` (${company})`}\n`,
  )
  const parts = [
    `procore-proxy ${printable(version)} at ${url}: ${state}, up ${span(uptimeSeconds)}, ${inFlight} in flight\n`,
    safe(addresses.join('')),
    table(COMPANY_HEAD, companies.map(companyRow)),
    table(ACCOUNT_HEAD, accounts.map(accountRow)),
  ]
  if (lastErrors.length > 0) parts.push(`last errors\n${table(ERROR_HEAD, lastErrors.map(errorRow))}`)
  if (warnings.length > 0) parts.push(`warnings\n${warnings.map(warningLines).join('')}`)
  return parts.join('\n')
}

/** Also where the output is no terminal. */
function width(): number {
  return process.stdout.columns || 100
}

function table(head: readonly string[], rows: readonly string[][]): string {
  return safe(renderTable(head, rows, width()))
}

function warningLines(text: string): string {
  return `- ${wrapped(printable(text), width() - 2).join('\n  ')}\n`
}

function safe(text: string): string {
  return text.split('\n').map(printable).join('\n')
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
