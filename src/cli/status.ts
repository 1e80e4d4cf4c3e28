// The command `status`: asks a running proxy for its status and prints it.
import { printable } from '../observe/readable.ts'
import type { Status } from '../observe/status.ts'
import { readConfig } from './config.ts'
import { CommandError } from './exit.ts'
import { askHealth, askLocal, isLoopbackUrl, localUrl } from './local.ts'
import type { Options } from './options.ts'
import { reportStatus } from './status-report.ts'

const TIMEOUT_MS = 5_000

export async function status(options: Options): Promise<void> {
  const url = await localUrl(options)
  const health = await askHealth(url, 'live', TIMEOUT_MS)
  if (health.kind === 'other') throw new CommandError(`no proxy answers at ${url}: ${health.found}`)
  const headers = { 'procore-proxy-request': 'true', ...(await keyHeader(url, options)) }
  const { status, body } = await askLocal(url, { path: '/_proxy/status', timeoutMs: TIMEOUT_MS, headers })
  const shown = fieldsOf(body)
  if (status !== 200 || !Array.isArray(shown.companies) || !Array.isArray(shown.accounts)) {
    throw new CommandError(`${url} answered ${status}${problemText(shown.detail, shown.help)}`)
  }
  const text = options.json ? `${JSON.stringify(shown, null, 2)}\n` : reportStatus(url, shown as Status)
  process.stdout.write(text)
}

/**
 * The key for the proxy: PROCORE_PROXY_KEY, else one of the configuration.
 *
 * Invariant: a key of the configuration is sent only to the configured address, only on this machine, and only after
 * the server there has answered like procore-proxy.
 */
async function keyHeader(url: string, { url: given, config: file }: Options) {
  const fromVariable = process.env['PROCORE_PROXY_KEY']
  if (fromVariable) return { 'procore-proxy-key': fromVariable }
  if (given !== undefined || !isLoopbackUrl(url)) return {}
  // A user who cannot read the secrets may still ask a proxy that requires no key.
  const config = await readConfig({ config: file }).catch(() => undefined)
  const callers = config?.callers ?? []
  const caller = callers.find(({ companies }) => companies === undefined) ?? callers[0]
  const key = config?.guard.clientKeys[0] ?? caller?.keys[0]
  return key === undefined ? {} : { 'procore-proxy-key': key.reveal() }
}

/** The proxy's explanation of a refusal. The body of another server is not shown. */
function problemText(detail: unknown, help: unknown): string {
  if (typeof detail === 'string' && typeof help === 'string') return printable(`: ${detail} ${help}`)
  return ', which is not the status of a procore-proxy'
}

/** The fields of a JSON object; none if it is another text. */
function fieldsOf(body: string): Partial<Status> & { detail?: unknown; help?: unknown } {
  try {
    return Object(JSON.parse(body))
  } catch {
    return {}
  }
}
