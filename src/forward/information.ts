// Passes 102 and 103 on to the caller (RFC 9110 section 15.2, RFC 8297), never at the cost of the response that follows them.
import type { ServerResponse } from 'node:http'
import { rewriteLink } from './links.ts'
import type { AnswerContext } from './response-headers.ts'
import type { ResponseHead } from './upstream-response.ts'

/** Where the next link of a `Link` header begins. */
const BETWEEN_LINKS = /,\s*(?=<)/
/** A link as Node's `writeEarlyHints` takes it; it throws for others. Few parameters, because its own pattern tries them in several ways. */
const PLAIN_LINK = /^<[^<>]{0,2000}>(?:\s?;\s?[\w*-]+(?:=(?:"[^";\s]*"|[^";=,\s]+))?){0,8}$/

/** Of a 103 its links are passed on, as they would be in the response; all else that it says is repeated there. */
export function passInformation(
  response: ServerResponse,
  status: number,
  head: ResponseHead,
  { apiOrigin, base }: Pick<AnswerContext, 'apiOrigin' | 'base'>,
): void {
  // A caller that does not read would make them pile up.
  if (response.headersSent || response.destroyed || response.socket?.writableNeedDrain) return
  if (status === 102) response.writeProcessing()
  if (status !== 103) return
  const link = [head['link'] ?? []]
    .flat()
    .flatMap((value) => rewriteLink(value, apiOrigin, base).split(BETWEEN_LINKS))
    .filter((value) => PLAIN_LINK.test(value))
  if (link.length > 0) response.writeEarlyHints({ link })
}
