// Refuses configurations that other machines or web pages could reach without identifying themselves.
import { isLoopbackHost, listenText } from './addresses.ts'
import type { CheckInput } from './checks.ts'
import { namedCompanies, placedAddresses } from './placed.ts'
import type { Finding, Path } from './problems.ts'
import type { Settings } from './schema.ts'

const KEYS = 'give callers keys (callers or guard.clientKeys)'
const ALLOW =
  'or, if something else in front of the proxy authenticates callers, set guard.allowUnauthenticated: true'

/** Checks `listen`, `publicUrl` and `guard.allowedHosts`. */
export function checkGuard({ settings, wrong }: CheckInput) {
  const { guard, callers } = settings
  // Mistakes within `guard` itself have been reported already.
  const isWrong = [...wrong].some((key) => /^(guard|callers)\b/.test(key))
  const hasKeys = guard.clientKeys.length > 0 || Object.keys(callers).length > 0
  if (hasKeys || isWrong) return { findings: [], warnings: [] }
  const open = placedAddresses(settings).filter(
    ({ address }) => address.kind === 'tcp' && !isLoopbackHost(address.host),
  )
  if (guard.allowUnauthenticated) {
    const addresses = open.map(({ address }) => listenText(address)).join(', ')
    const warning = `guard.allowUnauthenticated is on: anyone who can connect to ${addresses} can use your service accounts.`
    return { findings: [], warnings: open.length === 0 ? [] : [warning] }
  }
  const findings = open.map(({ path, address }) => ({
    path,
    message: `${listenText(address)} is open to other machines, and anyone who can connect could use your service accounts`,
    fix: `Listen on 127.0.0.1, or ${KEYS}, ${ALLOW}`,
  }))
  return { findings: [...findings, ...(guard.requireHeader ? [] : openNames(settings))], warnings: [] }
}

/** Browsers send no Sec-Fetch headers to plain HTTP origins beyond loopback, so web pages could make requests. */
function openNames(settings: Settings): Finding[] {
  const { guard, publicUrl } = settings
  const hosts = guard.allowedHosts.map((host, index): [Path, string] => [
    ['guard', 'allowedHosts', index],
    host,
  ])
  const urls: [Path, string | undefined][] = namedCompanies(settings).map(([name, company]) => [
    ['companies', name, 'publicUrl'],
    company.publicUrl,
  ])
  const plain = [[['publicUrl'], publicUrl] as const, ...urls].flatMap(([path, url]): [Path, string][] =>
    url?.startsWith('http:') ? [[path, new URL(url).hostname]] : [],
  )
  return [...hosts, ...plain]
    .filter(([, host]) => !isLoopbackHost(host))
    .map(([path, host]) => ({
      path,
      message: `any web page could make a browser send requests to ${host}`,
      fix: `Set guard.requireHeader: true, or ${KEYS}, ${ALLOW}`,
    }))
}
