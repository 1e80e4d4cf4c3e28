// What `status` does: asks a running proxy for its status page, and lays it out for a terminal.
import { errorCode } from '../network/connection-error.ts'
import { printable } from '../observe/readable.ts'
import type { AccountStatus, CompanyStatus, ErrorStatus, Status } from '../observe/status.ts'
import { readConfig } from './config-options.ts'
import { CommandError } from './exit.ts'
import { askLocal, type LocalAnswer, localUrl } from './local-url.ts'
import type { StatusOptions } from './status.ts'
import { renderTable } from './table.ts'

const TIMEOUT_MS = 5_000

export async function status(options: StatusOptions): Promise<void> {
  const url = await localUrl(options.url, { config: options.config })
  const headers = { 'procore-proxy-request': 'true', ...(await keyHeader(options)) }
  const answer = await ask(url, headers)
  const shown = answer.status === 200 ? readStatus(answer.body) : undefined
  if (shown === undefined)
    throw new CommandError(`${url} answered ${answer.status}${problemText(answer.body)}`)
  process.stdout.write(options.json ? `${JSON.stringify(shown, null, 2)}\n` : report(url, shown))
}

/** Invariant: a key of the configuration goes to the address of the configuration alone. */
async function keyHeader(options: StatusOptions): Promise<Record<string, string>> {
  const given = process.env['PROCORE_PROXY_KEY']
  if (given) return { 'procore-proxy-key': given }
  if (options.url !== undefined) return {}
  // Whoever may not read the secrets may still ask a proxy that wants no key.
  const config = await readConfig({ config: options.config }).catch(() => undefined)
  const key = config?.guard.clientKeys[0]
  return key === undefined ? {} : { 'procore-proxy-key': key.reveal() }
}

async function ask(url: string, headers: Record<string, string>): Promise<LocalAnswer> {
  try {
    return await askLocal(url, '/_proxy/status', TIMEOUT_MS, headers)
  } catch (error) {
    const code = errorCode(error)
    const why =
      code === undefined ? `no answer within ${TIMEOUT_MS / 1000} s` : `it can't be reached (${code})`
    throw new CommandError(`no proxy answers at ${url}: ${why}`)
  }
}

function readStatus(body: string): Status | undefined {
  try {
    const parsed = JSON.parse(body) as Partial<Status> | null
    return Array.isArray(parsed?.companies) && Array.isArray(parsed.accounts) ? (parsed as Status) : undefined
  } catch {
    return undefined
  }
}

/** What the proxy says of its refusal; another server's answer is not repeated. */
function problemText(body: string): string {
  try {
    const { detail, help } = JSON.parse(body) as { detail?: unknown; help?: unknown }
    if (typeof detail === 'string' && typeof help === 'string') return printable(`: ${detail} ${help}`)
  } catch {
    // Not one of ours.
  }
  return ', which is no status of a procore-proxy'
}

/** The status as tables; nothing in it can steer a terminal. */
export function report(url: string, shown: Status): string {
  const { version, uptimeSeconds, ready, inFlight, listeners, companies, accounts, lastErrors, warnings } =
    shown
  const parts = [
    `procore-proxy ${version} at ${url}: ${ready ? 'ready' : 'not ready'}, up ${span(uptimeSeconds)}, ${inFlight} in flight\n`,
    listeners
      .map((one) => `listening on ${one.url}${one.company === null ? '' : ` (${one.company})`}\n`)
      .join(''),
    renderTable(
      [
        'company',
        'id',
        'environment',
        'account',
        'access',
        'requests',
        'errors',
        'in flight',
        'queued',
        'budget',
      ],
      companies.map(companyRow),
    ),
    renderTable(
      ['account', 'environment', 'token', 'age', 'expires in', 'last failure'],
      accounts.map(accountRow),
    ),
  ]
  if (lastErrors.length > 0) {
    parts.push(
      `last errors\n${renderTable(['at', 'request', 'status', 'code', 'detail'], lastErrors.map(errorRow))}`,
    )
  }
  if (warnings.length > 0) parts.push(`warnings\n${warnings.map((each) => `- ${each}\n`).join('')}`)
  // Paths may hold anything.
  return `${parts.join('\n').split('\n').map(printable).join('\n')}`
}

function companyRow(company: CompanyStatus): string[] {
  const { name, id, environment, account, access, rules, requests, budget } = company
  return [
    company.default ? `${name} (default)` : name,
    id ?? '-',
    environment,
    account,
    rules === 0 ? access : `${access}, ${rules} rule${rules === 1 ? '' : 's'}`,
    String(Object.values(requests).reduce((sum, count) => sum + count, 0)),
    String(requests['4xx'] + requests['5xx'] + requests.none),
    String(company.inFlight),
    String(company.queued),
    budget === null
      ? '-'
      : `${budget.remaining} of ${budget.limit}${budget.resetSeconds === null ? '' : `, new in ${span(budget.resetSeconds)}`}`,
  ]
}

function accountRow({
  name,
  environment,
  token,
  ageSeconds,
  expiresInSeconds,
  lastFailure,
}: AccountStatus): string[] {
  return [
    name,
    environment,
    token,
    ageSeconds === null ? '-' : span(ageSeconds),
    expiresInSeconds === null ? '-' : span(expiresInSeconds),
    lastFailure === null ? '-' : `${lastFailure.reason}: ${lastFailure.detail}`,
  ]
}

function errorRow({ at, method, path, status, code, detail }: ErrorStatus): string[] {
  return [at, `${method} ${path}`, String(status ?? '-'), code, detail]
}

/** `3 d 4 h`, `2 h 5 min`, `1 min 30 s`, `12 s`. */
function span(seconds: number): string {
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ]
  const first = units.findIndex(([, size]) => seconds >= size)
  if (first === -1) return '0 s'
  let left = seconds
  return units
    .slice(first, first + 2)
    .map(([unit, size]) => {
      const count = Math.floor(left / size)
      left -= count * size
      return count > 0 ? `${count} ${unit}` : ''
    })
    .filter(Boolean)
    .join(' ')
}
