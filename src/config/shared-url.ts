// Checks the URL of Redis or Valkey. No message contains any part of it, because it may contain a password.
import { isLoopbackHost } from './addresses.ts'
import type { Mistake } from './problems.ts'

const FIX =
  'Write rediss://USER:PASSWORD@HOST:PORT (or redis://), with characters such as @ : / # ? % of the password as %40 %3A %2F %23 %3F %25'

/** Checks the text of `shared.url`. */
export function checkSharedUrl(text: string): Mistake | undefined {
  const url = URL.parse(text)
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === '')
    return { message: 'it is not a redis:// or rediss:// URL', fix: FIX }
  if (!/^\/?\d*$/.test(url.pathname) || url.search !== '' || url.hash !== '')
    return { message: 'it has more than a host, a port and the number of a database', fix: FIX }
  return undefined
}

/** Whether a password would be sent unencrypted over a network. */
export function sendsPasswordInClear(text: string): boolean {
  const url = URL.parse(text)
  return url?.protocol === 'redis:' && url.password !== '' && !isLoopbackHost(url.hostname)
}
