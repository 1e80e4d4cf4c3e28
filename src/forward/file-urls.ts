// Turns URLs of files that Procore hands out into URLs of the proxy.
import type { Environment } from '../config/config.ts'
import { FILES_PATH, fileOrigin, readFileTarget } from '../guards/file-hosts.ts'
import type { CallerBase } from './links.ts'

/** A whole string that is a URL, without user name or IPv6 address. */
const WHOLE_URL = /^(https?):\/\/([a-z0-9._:-]+)((?:[/?#][^\s\p{Cc}\\]*)?)$/iu

/** The signature parameters of S3. A signed URL needs no bearer token and fails with one. Uploads use such URLs too. */
const PRESIGNED = /[?&](?:x-amz-signature|awsaccesskeyid)=/i

/**
 * The URL that fetches a file through the proxy; undefined unless the whole value is the URL of a file that needs the
 * bearer token.
 */
export function rewriteFileUrl(
  value: string,
  environment: Environment,
  base: CallerBase,
): string | undefined {
  const [, scheme = '', host = '', rest = ''] = WHOLE_URL.exec(value) ?? []
  const origin = fileOrigin(host, environment)
  if (origin === undefined || origin !== `${scheme}://${host}`.toLowerCase() || PRESIGNED.test(rest)) {
    return undefined
  }
  const own = `${FILES_PATH}${host.toLowerCase()}${rest}`
  return isFetched(own, environment) ? base.origin + base.prefix + own : undefined
}

/** Whether the proxy would fetch this file. It must not hand out a URL that it would refuse. */
function isFetched(own: string, environment: Environment): boolean {
  try {
    // As a client would send it.
    const path = encodeURI(own.split(/[?#]/, 1)[0]!).replaceAll('%25', '%')
    readFileTarget(path, environment)
    return true
  } catch {
    return false
  }
}

/** Resolves a Location against the file's URL: behind the proxy's path, a relative one would lose its host. */
export function absoluteReference(reference: string, fetched: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(reference)) return reference
  return URL.parse(reference, fetched)?.href ?? reference
}
