// Exports requests as HAR 1.2, without what the proxy does not keep (values of request headers, whole bodies).
import { pathOf } from './again.js'
import { fetchDetail } from './detail.js'
import { at, make, size, sum } from './dom.js'

/** Saves the requests to a file. Bodies are fetched if they are kept. */
export async function saveHar(requests) {
  const text = JSON.stringify(harOf(requests, await detailsOf(requests)), null, 2)
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }))
  const name = `procore-proxy-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.har`
  make('a', { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

/** The requests with their bodies, by `seq`; four are fetched at once. */
async function detailsOf(requests) {
  const details = new Map()
  const wanted = requests.filter(({ bodies }) => bodies)
  const fetchNext = async () => {
    for (let request = wanted.pop(); request !== undefined; request = wanted.pop()) {
      const detail = await fetchDetail(request)
      if (detail !== undefined) details.set(request.seq, detail)
    }
  }
  await Promise.all([fetchNext(), fetchNext(), fetchNext(), fetchNext()])
  return details
}

function harOf(requests, details) {
  return {
    log: {
      version: '1.2',
      creator: { name: 'procore-proxy', version: at('version').textContent },
      comment:
        'Values of request headers are not recorded, of bodies at most the beginning; query values may be masked.',
      entries: requests.toReversed().map((request) => entryOf(request, details.get(request.seq) ?? {})),
    },
  }
}

const NONE = { cookies: [], headersSize: -1, httpVersion: 'HTTP/1.1' }

function entryOf(request, { requestBody, answerBody }) {
  const { timing, status, error, responseHeaders } = request
  const url = location.origin + pathOf(request)
  const header = (wanted) => responseHeaders.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? ''
  const timings = {
    blocked: timing.queuedMs + timing.tokenMs,
    dns: -1,
    connect: timing.connectMs,
    ssl: -1,
    send: 0,
    wait: timing.upstreamMs ?? 0,
    receive: timing.bodyMs ?? 0,
  }
  return {
    startedDateTime: new Date(request.at).toISOString(),
    time: sum(Object.values(timings).filter((ms) => ms > 0)),
    request: {
      ...NONE,
      method: request.method,
      url,
      headers: [],
      queryString: queryOf(url),
      bodySize: request.bytesIn,
      ...(requestBody?.text !== undefined && { postData: bodyOf(requestBody) }),
    },
    response: {
      ...NONE,
      status: status ?? 0,
      statusText: '',
      headers: responseHeaders.map(([name, value]) => ({ name, value })),
      content: { size: request.bytesOut, ...bodyOf(answerBody), mimeType: header('content-type') },
      redirectURL: header('location'),
      bodySize: request.bytesOut,
    },
    cache: {},
    timings,
    comment: error === undefined ? '' : `${error.code}: ${error.detail}`,
    _requestId: request.id,
    _company: request.company ?? null,
    _why: request.why ?? null,
    _caller: request.caller ?? null,
    _upstreamUrl: request.upstreamUrl ?? null,
    _headersAdded: request.added,
    _headersRemoved: request.removed,
    _retries: request.retries,
    _tokenMs: timing.tokenMs,
    _procoreRequestId: request.procoreRequestId ?? null,
  }
}

function bodyOf(body) {
  if (body?.text === undefined) return {}
  const { type, text, whole, masked, bytes } = body
  const notes = []
  if (!whole) notes.push(`The beginning of ${size(bytes)}.`)
  if (masked) notes.push('What looks secret is *.')
  return { mimeType: type, text, ...(notes.length > 0 && { comment: notes.join(' ') }) }
}

function queryOf(url) {
  return [...(URL.parse(url)?.searchParams ?? [])].map(([name, value]) => ({ name, value }))
}
