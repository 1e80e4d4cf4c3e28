// URLs of files that Procore hands out, turned into URLs of the proxy (CONTRACT section 9).
import type { Environment } from '../config/config.ts'
import { FILES_PATH, fileOrigin, readFileTarget } from '../guards/file-hosts.ts'
import type { CallerBase } from './links.ts'

/** A URL and nothing else; user names and IPv6 have no place in it. */
const WHOLE_URL = /^(https?):\/\/([a-z0-9._:-]+)((?:[/?#][^\s\p{Cc}\\]*)?)$/iu

/** What S3 itself checks: such a URL needs no bearer, and fails with one; uploads go to them, too. */
const PRESIGNED = /[?&](?:x-amz-signature|awsaccesskeyid)=/i

/**
 * The URL by which a file is fetched through the proxy; undefined for whatever is not, as a whole, the URL of a file that
 * wants the bearer.
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

/** Whether the proxy would fetch it: never hand out a URL that it refuses itself. */
function isFetched(own: string, environment: Environment): boolean {
  try {
    // As clients send it.
    const path = encodeURI(own.split(/[?#]/, 1)[0]!).replaceAll('%25', '%')
    readFileTarget(path, environment)
    return true
  } catch {
    return false
  }
}

/** A Location as it was meant: a relative one would lose its host behind the proxy's own path. */
export function absoluteReference(reference: string, fetched: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(reference)) return reference
  return URL.parse(reference, fetched)?.href ?? reference
}
