// The dialog of one request: how to make it again, what happened, how to fix it, and everything that explains it.
import { at, causeList, clock, draw, facts, headerTable, make, plural, setText, size } from './dom.js'

/** Class, symbol and text of a request's status, and who responded if that is not obvious. */
export function statusOf({ status, error, answeredBy }) {
  if (status === null) return ['bad', '✕', 'none', '']
  const by =
    answeredBy === 'cache' ? 'cache' : status < 400 ? '' : answeredBy === 'procore' ? 'Procore' : 'proxy'
  if (status >= 500) return ['bad', '✕', String(status), by]
  if (status >= 400) return ['warn', '!', String(status), by]
  return error === undefined ? ['ok', '✓', String(status), by] : ['warn', '!', String(status), 'broken off']
}

/** How many dialogs were opened: bodies that arrive late are not shown with another request. */
let openings = 0

export async function openDetail(request) {
  const opening = ++openings
  show(request)
  at('detail').showModal()
  at('detail-body').scrollTop = 0
  at('detail-title').focus()
  if (!request.bodies) return
  const detail = await fetchDetail(request)
  if (opening === openings) showBodies(request, detail)
}

/** Fetches the request with its bodies; undefined if the proxy no longer has it. */
export async function fetchDetail({ id, seq }) {
  try {
    const response = await fetch(`requests/${id}/${seq}`, { cache: 'no-store', credentials: 'omit' })
    return response.ok ? await response.json() : undefined
  } catch {
    return undefined
  }
}

function show(request) {
  setText(at('detail-title'), `${request.method} ${request.target}`)
  at('detail-body').replaceChildren(
    outcome(request),
    make('div', { id: 'curl' }, ...curlPart(request)),
    ...repeatPart(request),
    ...explanation(request),
    make('h3', {}, 'Request'),
    requestFacts(request),
    ...sentPart(request),
    make('h3', {}, 'Time'),
    ...timeline(request.timing),
    make('h3', {}, 'Response headers'),
    headerTable(request.responseHeaders),
    ...(request.bodies
      ? [...bodyPlace('Request', 'request-body'), ...bodyPlace('Response', 'response-body')]
      : []),
  )
}

function outcome(request) {
  const [kind, sign, status, by] = statusOf(request)
  const text = status === 'none' ? 'No response was sent' : status
  return make('p', { class: `${kind} outcome` }, `${sign} ${text}`, by === '' ? '' : ` (${by})`)
}

/** Why it was refused or failed, and what to do about it. */
function explanation({ error, causes }) {
  if (error === undefined && causes.length === 0) return []
  const title = make('h3', {}, 'What happened')
  if (error !== undefined) {
    // `caller_gone` is not on the page with all error codes.
    const { code, detail, help } = error
    const link = code === 'caller_gone' ? code : make('a', { href: `errors#${code}` }, code)
    return [title, facts(['Error', [link]], ['Details', detail], ['What to do', help])]
  }
  const [{ cause, fix }] = causes
  return causes.length === 1
    ? [title, facts(['Cause', cause], ['What to do', fix])]
    : [title, make('p', {}, 'Procore refused the request. Likely causes:'), causeList(causes)]
}

function requestFacts(request) {
  const { bytesIn, bytesOut, bodies, pages, listener = 'an unknown address' } = request
  return facts(
    ['Company', request.company ?? 'none'],
    ['Company chosen by', request.why],
    ['Caller', request.caller],
    ['Received', `${clock(request.at, 'date')}, at ${listener}`],
    ['Request id', request.id],
    ["Procore's request id", request.procoreRequestId],
    ['Pages read', pages > 0 ? String(pages) : undefined],
    ['Cache', request.cacheStatus],
    ['Bodies', `${size(bytesIn)} in, ${size(bytesOut)} out${bodies ? '' : '; not kept'}`],
  )
}

function sentPart({ upstreamUrl, added, removed, retries, answeredBy }) {
  const title = make('h3', {}, 'Sent to Procore')
  if (upstreamUrl === undefined && added.length === 0) {
    const why = { cache: 'the cache had the response', proxy: 'the proxy answered by itself' }[answeredBy]
    return [title, make('p', {}, `Nothing was sent: ${why ?? 'the caller left before'}.`)]
  }
  const again = `${plural(retries.length + 1, 'time')}; again because of ${retries.join(', ')}`
  return [
    title,
    facts(['URL', upstreamUrl], ['Sent', retries.length === 0 ? 'once' : again]),
    make('h3', {}, 'Headers added and removed'),
    facts(['Added', added.join(', ')], ['Removed', removed.join(', ') || 'none']),
  ]
}

const PARTS = [
  ['queuedMs', 'Wait for the rate budget', 'url(#hatch)'],
  ['tokenMs', 'Wait for a token', 'var(--warn)'],
  ['connectMs', 'Wait for a connection', 'var(--muted)'],
  ['upstreamMs', "Procore's first byte", 'var(--bar)'],
  ['bodyMs', 'Rest of the response', 'var(--ok)'],
]

function timeline(timing) {
  const total = Math.max(0.1, timing.totalMs)
  let x = 0
  const bars = PARTS.map(([key, , fill]) => {
    const width = ((timing[key] ?? 0) / total) * 100
    const bar = draw('rect', { x, y: 0, width, height: 10, fill })
    x += width
    return bar
  })
  const look = {
    class: 'timeline',
    viewBox: '0 0 100 10',
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
  }
  const rows = [...PARTS, ['totalMs', 'Total']].filter(([key]) => timing[key] !== undefined)
  return [draw('svg', look, ...bars), facts(...rows.map(([key, text]) => [text, `${timing[key]} ms`]))]
}

// --- bodies ------------------------------------------------------------------------------------------------------------

/** Filled in once the bodies are there. */
const bodyPlace = (of, id) => [make('h3', {}, `${of} body`), make('div', { id }, '…')]

function showBodies(request, detail) {
  const { requestBody, responseBody } = detail ?? {}
  at('request-body').replaceChildren(...bodyPart(requestBody, 'Request body', detail))
  at('response-body').replaceChildren(...bodyPart(responseBody, 'Response body', detail))
  at('curl').replaceChildren(...curlPart(request, requestBody))
}

function bodyPart(body, name, detail) {
  if (detail === undefined) return [make('p', {}, 'No longer remembered.')]
  if (body === undefined) return [make('p', {}, 'None.')]
  const { type, bytes, text, hidden, whole, masked } = body
  const about = `${type ?? 'no media type'}, ${size(bytes)}`
  if (text === undefined) return [make('p', {}, `${about}: ${hidden}, not shown.`)]
  const notes = [about]
  if (!whole) notes.push('only its beginning')
  if (masked) notes.push('what looks secret is *')
  const look = { class: 'body', tabindex: '0', role: 'region', 'aria-label': name }
  return [make('p', {}, `${notes.join('; ')}.`), make('pre', look, indented(text))]
}

const MOST_INDENT = 20

/** Spreads JSON on one line over many; anything else stays unchanged. Only white space is added. */
function indented(text) {
  if (!/^[[{]/.test(text) || text.trim().includes('\n')) return text
  let depth = 0
  const newLine = () => `\n${'  '.repeat(Math.min(Math.max(depth, 0), MOST_INDENT))}`
  return text.replace(/"(?:\\[\s\S]|[^"\\])*(?:"|\\?$)|\{\}|\[\]|[{}[\],]/g, (token) => {
    if (token === ',') return token + newLine()
    if (token === '{' || token === '[') depth++
    else if (token === '}' || token === ']') depth--
    else return token
    return '{['.includes(token) ? token + newLine() : newLine() + token
  })
}

// --- again: as a curl command to copy, or in the browser ---------------------------------------------------------------

const SAFE_METHODS = ['GET', 'HEAD']

/** Its path at this proxy, with the company in front, so that it reaches the same company from this address. */
export function pathOf({ target, company }) {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  return company !== undefined && /^\/(rest|vapid)\//.test(path) ? `/${company}${path}` : path
}

const MASKED = /([?&](?:[^?=&]*=)?)\*(?=&|$)/g
/** Characters that a terminal might interpret when they are pasted. */
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** The same call for a shell. Masked values and unknown bodies are placeholders. */
function curlOf(request, body) {
  const { method, bytesIn } = request
  const words = ['curl', '--globoff', '--path-as-is']
  if (method === 'HEAD') words.push('--head')
  else if (method !== 'GET' || bytesIn > 0) words.push('--request', quoted(method))
  let comment = ''
  if (bytesIn > 0) {
    words.push('--header', quoted(`Content-Type: ${body?.type ?? 'application/json'}`))
    if (body?.text !== undefined && body.whole && !body.masked && !CONTROL.test(body.text)) {
      words.push('--data-raw', quoted(body.text))
    } else {
      words.push('--data-binary', '@BODY.json')
      if (body !== undefined) comment = `# Put the body into the file BODY.json: ${whyNot(body)}\n`
    }
  }
  words.push(quoted(location.origin + pathOf(request).replaceAll(MASKED, '$1VALUE')))
  return comment + words.join(' ')
}

/** Why the command has no body. The text contains no character that is special to a shell. */
function whyNot({ text, whole, masked }) {
  if (text === undefined) return 'it is not kept'
  if (!whole) return 'only its beginning is kept'
  return masked ? 'a part of it is masked' : 'it has control characters'
}

/** The command with a button that copies it; `body` is undefined if none is kept. */
function curlPart(request, body) {
  const text = curlOf(request, body)
  const code = make('pre', {}, text)
  const button = make('button', { type: 'button' }, 'Copy as curl')
  const said = make('span', { role: 'status' })
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text)
      setText(said, ' Copied.')
    } catch {
      // Outside of HTTPS and loopback there is no clipboard, so select the text for copying by hand.
      getSelection().selectAllChildren(code)
      setText(said, ' Selected; copy it with the keyboard.')
    }
  })
  return [make('p', {}, button, said), code]
}

/** A form that repeats a request that changes nothing. */
function repeatPart(request) {
  const { method } = request
  if (!SAFE_METHODS.includes(method)) {
    const why = `A ${method} may change something, so it can't be repeated from here.`
    return [make('p', { class: 'muted' }, why)]
  }
  const path = pathOf(request)
  const input = make('input', { type: 'text', spellcheck: 'false', autocomplete: 'off', value: path })
  const said = make('div', { role: 'status' })
  const button = make('button', { type: 'submit' }, 'Repeat')
  const hint = path.search(MASKED) === -1 ? '' : ' (query values are masked: replace each * by its value)'
  const label = make('label', {}, `${method} at this proxy${hint}`, input)
  const form = make('form', { class: 'repeat' }, label, button)
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    button.disabled = true
    setText(said, '…')
    said.replaceChildren(...(await repeat(method, input.value)))
    button.disabled = false
  })
  return [form, said]
}

/** Asks this proxy again, and no other server. The body of the response is counted, not shown. */
async function repeat(method, path) {
  const url = URL.parse(path, location.origin)
  if (!path.startsWith('/') || url?.origin !== location.origin)
    return [make('p', {}, 'Enter a path of this proxy that begins with /.')]
  const start = performance.now()
  try {
    const response = await fetch(url, { method, cache: 'no-store', credentials: 'omit', redirect: 'manual' })
    let bytes = 0
    if (response.body !== null) for await (const chunk of response.body) bytes += chunk.length
    const ms = Math.round(performance.now() - start)
    const status = response.type === 'opaqueredirect' ? 'a redirect' : String(response.status)
    return [make('p', {}, `Status ${status}, ${bytes} bytes in ${ms} ms`), headerTable([...response.headers])]
  } catch (error) {
    return [make('p', { class: 'bad' }, `✕ No response: ${error.message}`)]
  }
}
