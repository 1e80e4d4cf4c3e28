// The list of the last requests, its filters, which are kept in the address, and its export as HAR.
import { companyNames } from './companies.js'
import { fetchDetail, openDetail, pathOf, statusOf } from './detail.js'
import { at, clock, make, milliseconds, plural, setText, size, sum } from './dom.js'

const MOST_ROWS = 500

/** Newest first: the request and its row. */
let entries = []
/** Arrived while the list is paused. */
let waiting = []

const filters = at('filters')
const FILTERS = ['text', 'company', 'caller', 'method', 'status']

function rowOf(request) {
  const [kind, sign, status, by] = statusOf(request)
  const path = make('button', { type: 'button', class: 'path' }, request.target)
  const pages = request.pages > 0 ? [make('span', { class: 'tag' }, ` ${plural(request.pages, 'page')}`)] : []
  const tag = by === '' ? [] : [make('span', { class: 'tag' }, ` ${by}`)]
  const cells = [
    make('td', {}, make('time', { datetime: new Date(request.at).toISOString() }, clock(request.at))),
    make('td', {}, request.method),
    make('td', { class: 'path-cell' }, path, ...pages),
    make('td', { class: 'wide' }, request.company ?? '–'),
    make('td', { class: 'wide caller' }, request.caller ?? '–'),
    make('td', { class: kind }, make('span', { 'aria-hidden': 'true' }, `${sign} `), status, ...tag),
    make('td', { class: 'number' }, milliseconds(request.timing.totalMs)),
    make('td', { class: 'number wide' }, String(request.retries.length)),
  ]
  const row = make('tr', {}, ...cells)
  row.addEventListener('click', () => {
    // Focus comes back here when the dialog is closed.
    path.focus()
    openDetail(request)
  })
  return row
}

const STATUS_FILTERS = {
  failed: ({ status }) => status === null || status >= 400,
  proxy: ({ status, answeredBy }) => status >= 400 && answeredBy === 'proxy',
  procore: ({ status, answeredBy }) => status >= 400 && answeredBy === 'procore',
  saved: ({ answeredBy }) => answeredBy === 'cache',
}

function isWanted(request) {
  const wanted = Object.fromEntries(new FormData(filters))
  const text = wanted.text.trim().toLowerCase()
  if (text !== '' && !`${request.target} ${request.id}`.toLowerCase().includes(text)) return false
  for (const name of ['company', 'caller', 'method'])
    if (wanted[name] !== '' && request[name] !== wanted[name]) return false
  if (wanted.status === '') return true
  const fits = STATUS_FILTERS[wanted.status]
  return fits?.(request) ?? wanted.status === String(Math.floor((request.status ?? 0) / 100))
}

/** The requests that pass the filters. */
function shownRequests() {
  return entries.filter(({ row }) => !row.hidden).map(({ request }) => request)
}

function filter() {
  for (const { request, row } of entries) row.hidden = !isWanted(request)
  showCount()
  const url = new URL(location.href)
  for (const name of FILTERS) {
    const { value } = filters.elements[name]
    if (value === '') url.searchParams.delete(name)
    else url.searchParams.set(name, value)
  }
  history.replaceState(null, '', url)
}

function showCount() {
  const shown = shownRequests().length
  let text = `${shown} of the last ${plural(entries.length, 'request')}`
  if (waiting.length > 0) text += `; ${waiting.length} more since the list was paused`
  setText(at('count'), text)
  const empty = at('empty')
  empty.hidden = shown > 0
  if (entries.length > 0) setText(empty, 'No matching requests.')
  else {
    const [first = '*'] = companyNames()
    const company = first === '*' ? 'COMPANY' : first
    setText(empty, `No requests yet. Try: curl ${location.origin}/${company}/rest/v1.0/me`)
  }
}

/** `requests` is newest first. */
export function addRequests(requests) {
  if (at('pause').checked) {
    waiting = [...requests, ...waiting].slice(0, MOST_ROWS)
    showCount()
    return
  }
  for (const name of ['company', 'caller']) for (const request of requests) addOption(name, request[name])
  const added = requests.map((request) => ({ request, row: rowOf(request) }))
  for (const { request, row } of added) row.hidden = !isWanted(request)
  at('list').tBodies[0].prepend(...added.map(({ row }) => row))
  entries = [...added, ...entries]
  for (const { row } of entries.splice(MOST_ROWS)) row.remove()
  showCount()
}

function addOption(name, value) {
  const select = filters.elements[name]
  if (!value || [...select.options].some((option) => option.value === value)) return
  select.append(make('option', { value }, value))
  // There may be any number of ids under `*`. The first option is for all.
  const { options } = select
  if (options.length > MOST_ROWS + 1) options[options[1].selected ? 2 : 1].remove()
  if (name !== 'caller') return
  at('callers').hidden = false
  at('list').classList.add('has-callers')
}

/** Replaces everything that was shown, unless the list is paused: then it is added to later. */
export function replaceRequests(requests) {
  if (at('pause').checked) {
    const isShown = ({ id, seq }) => entries.some(({ request }) => request.id === id && request.seq === seq)
    waiting = requests.filter((request) => !isShown(request))
    showCount()
    return
  }
  // Keep the focus if that request is still there.
  const focused = entries.find(({ row }) => row.contains(document.activeElement))?.request.id
  for (const { row } of entries) row.remove()
  entries = []
  waiting = []
  addRequests(requests)
  const again = entries.find(({ request }) => request.id === focused)
  if (focused !== undefined) again?.row.querySelector('button').focus()
}

/** Reads the filters from the address, and listens to the controls of the list. */
export function startFilters() {
  for (const name of FILTERS) {
    const value = new URLSearchParams(location.search).get(name) ?? ''
    if (name === 'company' || name === 'caller') addOption(name, value)
    filters.elements[name].value = value
    // The list does not have this value.
    if (filters.elements[name].selectedIndex === -1) filters.elements[name].value = ''
  }
  filters.addEventListener('submit', (event) => event.preventDefault())
  filters.addEventListener('input', filter)
  at('pause').addEventListener('change', () => {
    if (at('pause').checked) return
    const held = waiting
    waiting = []
    addRequests(held)
  })
  at('har').addEventListener('click', () => saveHar(shownRequests()))
  showCount()
}

// --- HAR 1.2, without what the proxy does not keep (values of request headers, whole bodies) ----------------------------

/** Saves the requests to a file. Bodies are fetched if they are kept. */
async function saveHar(requests) {
  const details = await detailsOf(requests)
  const log = {
    version: '1.2',
    creator: { name: 'procore-proxy', version: at('version').textContent },
    comment:
      'Values of request headers are not recorded, of bodies at most the beginning; query values may be masked.',
    entries: requests.toReversed().map((request) => entryOf(request, details.get(request.seq) ?? {})),
  }
  const text = JSON.stringify({ log }, null, 2)
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }))
  const name = `procore-proxy-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.har`
  make('a', { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

/** The requests with their bodies, by `seq`. The browser fetches a few at once. */
async function detailsOf(requests) {
  const wanted = requests.filter(({ bodies }) => bodies)
  return new Map(await Promise.all(wanted.map(async (request) => [request.seq, await fetchDetail(request)])))
}

const NONE = { cookies: [], headersSize: -1, httpVersion: 'HTTP/1.1' }

function entryOf(request, { requestBody, responseBody }) {
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
      content: { size: request.bytesOut, ...bodyOf(responseBody), mimeType: header('content-type') },
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
