// Decides whether an origin is reached through the outbound proxy.
import { isLoopbackHost } from '../config/addresses.ts'
import type { NetworkSettings, OutboundProxy } from '../config/config.ts'

/** The proxy for an origin; undefined if it is reached directly. */
export function proxyFor(
  origin: string,
  { proxy, noProxy }: Pick<NetworkSettings, 'proxy' | 'noProxy'>,
): OutboundProxy | undefined {
  const { protocol, hostname, port } = new URL(origin)
  const host = hostname.replace(/\.$/, '')
  // Invariant: plain HTTP, which is used for loopback only, never goes to a proxy.
  if (protocol !== 'https:' || isLoopbackHost(host) || host.endsWith('.localhost')) return undefined
  const isExempt = noProxy.some((entry) => {
    if (entry.port !== undefined && entry.port !== Number(port || 443)) return false
    return entry.host === '*' || host === entry.host || host.endsWith(`.${entry.host}`)
  })
  return isExempt ? undefined : proxy
}
