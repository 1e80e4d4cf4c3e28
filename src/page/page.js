// The page at /_proxy/. What it shows is others' data: it only ever becomes text, never markup.

const SVG = 'http://www.w3.org/2000/svg'
const MOST_ROWS = 500
const SILENCE_MS = 15_000
const AGAIN_MS = 3_000
const SAFE_METHODS = ['GET', 'HEAD']

const at = (id) => document.getElementById(id)

/** An element with attributes; children are elements or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function duration(seconds) {
  if (seconds === null) return 'unknown time'
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3600)} h`
}

function milliseconds(ms) {
  if (ms === null || ms === undefined) return '–'
  return ms < 10 ? String(ms) : String(Math.round(ms))
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour12: false })
}

function size(bytes) {
  return `${bytes.toLocaleString('en')} byte${bytes === 1 ? '' : 's'}`
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}

// --- health ------------------------------------------------------------------------------------------------------------

const FAILING = ['rejected', 'unavailable', 'renewal failing']

function showHealth(status) {
  setText(at('version'), status.version)
  const failing = status.accounts.filter(({ token }) => FAILING.includes(token))
  const used = status.companies.filter(({ budget }) => budget !== null && budget.remaining === 0)
  const problems = []
  if (!status.ready) problems.push('it is not ready')
  if (failing.length > 0) problems.push(`no good token for ${failing.map(({ name }) => name).join(', ')}`)
  if (used.length > 0) problems.push(`rate budget used up for ${used.map(({ name }) => name).join(', ')}`)
  const health = at('health')
  const { warnings } = status
  if (problems.length > 0) {
    health.className = 'bad'
    setText(health, `✕ Something is wrong: ${problems.join('; ')}.`)
  } else if (warnings.length > 0) {
    health.className = 'warn'
    setText(health, `! It works; ${plural(warnings.length, 'warning')}.`)
  } else {
    health.className = 'ok'
    setText(health, '✓ All is well.')
  }
  const list = at('warnings')
  const shown = [...list.children].map(({ textContent }) => textContent)
  if (shown.join('\n') !== warnings.join('\n'))
    list.replaceChildren(...warnings.map((text) => make('li', {}, text)))
  list.hidden = warnings.length === 0
}

// --- companies ---------------------------------------------------------------------------------------------------------

const TOKEN_SIGNS = {
  valid: ['ok', '✓'],
  'renewal failing': ['warn', '!'],
  rejected: ['bad', '✕'],
  unavailable: ['bad', '✕'],
  idle: ['', '○'],
  waiting: ['', '…'],
}

const cards = new Map()

class Card {
  constructor(name) {
    this.title = make('h3')
    this.facts = make('p', { class: 'facts' })
    this.token = make('p')
    this.load = make('p')
    this.budget = make('p')
    this.gauge = make('div', {
      class: 'gauge',
      role: 'meter',
      'aria-label': `Rate budget of ${name}`,
      'aria-valuemin': '0',
    })
    this.plots = make('div', { class: 'plots' })
    this.rows = make('tbody')
    const head = ['Minute', 'Requests', '4xx', '5xx, none', 'p50 ms', 'p95 ms', 'Budget'].map((text) =>
      make('th', { scope: 'col', class: text === 'Minute' ? '' : 'number' }, text),
    )
    const table = make('table', {}, make('thead', {}, make('tr', {}, ...head)), this.rows)
    this.numbers = make('details', {}, make('summary', {}, 'Plots as numbers'), table)
    this.element = make(
      'article',
      { class: 'card' },
      this.title,
      this.facts,
      this.token,
      this.load,
      this.budget,
    )
    this.element.append(this.gauge, this.plots, this.numbers)
    this.name = name
    this.showSeries([])
  }

  showStatus(company, account) {
    const { id, environment, access, rules } = company
    const isAll = company.name === '*'
    setText(this.title, isAll ? '* (any other id)' : `${company.name}${company.default ? ' (default)' : ''}`)
    const facts = [id === null ? '' : `id ${id}`, environment, access, rules > 0 ? plural(rules, 'rule') : '']
    if (company.listen !== null) facts.push(`own address ${company.listen}`)
    setText(this.facts, facts.filter((fact) => fact !== '').join(' · '))
    this.#showToken(account)
    const { requests } = company
    const total = Object.values(requests).reduce((sum, count) => sum + count, 0)
    const failed = requests['5xx'] + requests.none
    setText(
      this.load,
      `${plural(total, 'request')}, ${requests['4xx']} × 4xx, ${failed} failed; ${company.inFlight} under way, ${company.queued} waiting`,
    )
    this.#showBudget(company.budget)
  }

  #showToken(account) {
    const state = account?.token ?? 'waiting'
    const [kind, sign] = TOKEN_SIGNS[state] ?? ['', '?']
    this.token.className = kind
    let text = `${sign} Token ${state}`
    if (account !== undefined) {
      if (account.expiresInSeconds !== null) text += `, ends in ${duration(account.expiresInSeconds)}`
      text += ` (account ${account.name})`
      if (account.lastFailure !== null) text += `: ${account.lastFailure.detail}`
    }
    setText(this.token, text)
  }

  #showBudget(budget) {
    this.gauge.hidden = budget === null
    if (budget === null) {
      setText(this.budget, 'Rate budget: unknown before the first answer')
      return
    }
    const { limit, remaining, resetSeconds } = budget
    const text = `${remaining} of ${limit} requests left, new in ${duration(resetSeconds)}`
    setText(this.budget, `Rate budget: ${text}`)
    const share = limit > 0 ? Math.max(0, Math.min(1, remaining / limit)) : 0
    this.gauge.setAttribute('aria-valuemax', String(limit))
    this.gauge.setAttribute('aria-valuenow', String(Math.min(limit, remaining)))
    this.gauge.setAttribute('aria-valuetext', text)
    const kind = share < 0.05 ? 'bad' : share < 0.2 ? 'warn' : 'fill-ok'
    const bar = draw('rect', { width: String(share * 100), height: '10', class: kind })
    this.gauge.replaceChildren(
      draw('svg', { viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, bar),
    )
  }

  showSeries(buckets) {
    this.plots.replaceChildren(trafficPlot(buckets), latencyPlot(buckets), budgetPlot(buckets))
    this.rows.replaceChildren(...minutes(buckets).map(minuteRow))
  }
}

const WIDTH = 300
const HEIGHT = 60

function figure(title, label, ...shapes) {
  const svg = draw('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: 'none',
    role: 'img',
    'aria-label': label,
  })
  svg.append(...shapes)
  return make('figure', {}, svg, make('figcaption', {}, title))
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0)
}

const bucketTotal = ({ counts }) => sum(Object.values(counts))

function trafficPlot(buckets) {
  const most = Math.max(1, ...buckets.map(bucketTotal))
  const step = WIDTH / Math.max(1, buckets.length)
  const shapes = buckets.flatMap(({ counts }, index) => {
    let top = HEIGHT
    const parts = [
      [counts['2xx'] + counts['3xx'], { class: 'fill-ok' }],
      [counts['4xx'], { fill: 'url(#hatch)' }],
      [counts['5xx'] + counts.none, { class: 'fill-bad' }],
    ]
    return parts
      .filter(([count]) => count > 0)
      .map(([count, look]) => {
        const height = (count / most) * (HEIGHT - 4)
        top -= height
        return draw('rect', {
          x: String(index * step),
          y: String(top),
          width: String(step * 0.85),
          height: String(height),
          ...look,
        })
      })
  })
  const total = sum(buckets.map(bucketTotal))
  const failed = sum(buckets.map(({ counts }) => counts['5xx'] + counts.none))
  const refused = sum(buckets.map(({ counts }) => counts['4xx']))
  const most10 = total === 0 ? 0 : most
  const label = `Requests in the last ten minutes: ${total}, ${refused} answered 4xx, ${failed} failed; at most ${most10} in ten seconds.`
  return figure(`Requests, ≤ ${most10}/10 s`, label, ...shapes)
}

/** A line with gaps where there is no value. */
function line(values, most, kind) {
  const step = WIDTH / Math.max(1, values.length)
  let path = ''
  let gap = true
  values.forEach((value, index) => {
    if (value === null) {
      gap = true
      return
    }
    const x = ((index + 0.1) * step).toFixed(1)
    const y = (HEIGHT - 3 - (value / most) * (HEIGHT - 8)).toFixed(1)
    // A value alone shows as a short dash.
    path += `${gap ? 'M' : 'L'}${x} ${y}h${(step * 0.8).toFixed(1)}`
    gap = false
  })
  return draw('path', { d: path === '' ? 'M0 0' : path, class: kind })
}

function latencyPlot(buckets) {
  const upper = buckets.map(({ p95Ms }) => p95Ms)
  const values = upper.filter((value) => value !== null)
  const most = Math.max(1, ...values)
  const last = buckets.findLast(({ p95Ms }) => p95Ms !== null)
  const label =
    last === undefined
      ? 'Latency: no request in the last ten minutes.'
      : `Latency in the last ten minutes: lately half within ${last.p50Ms} ms and 95 % within ${last.p95Ms} ms; 95th percentile at most ${most} ms.`
  const middle = line(
    buckets.map(({ p50Ms }) => p50Ms),
    most,
    'stroke',
  )
  const title = last === undefined ? 'Latency' : `p50, p95 (- -), ≤ ${milliseconds(most)} ms`
  return figure(title, label, middle, line(upper, most, 'stroke upper'))
}

function budgetPlot(buckets) {
  // Between two answers it stays as it was.
  let known = null
  const values = buckets.map(({ budgetRemaining }) => {
    known = budgetRemaining ?? known
    return known
  })
  const seen = values.filter((value) => value !== null)
  const most = Math.max(1, ...seen)
  const label =
    seen.length === 0
      ? 'Rate budget over time: unknown.'
      : `Rate budget in the last ten minutes: now ${seen.at(-1)} left, at least ${Math.min(...seen)}, at most ${most}.`
  return figure(
    seen.length === 0 ? 'Budget left' : `Budget left, ≤ ${most}`,
    label,
    line(values, most, 'stroke'),
  )
}

/** Buckets by the minute, newest first, without those in which nothing was. */
function minutes(buckets) {
  const byMinute = new Map()
  for (const bucket of buckets) {
    const minute = bucket.at - (bucket.at % 60_000)
    byMinute.set(minute, [...(byMinute.get(minute) ?? []), bucket])
  }
  return [...byMinute].reverse().filter(([, parts]) => sum(parts.map(bucketTotal)) > 0)
}

function minuteRow([minute, parts]) {
  const count = (...names) => sum(parts.flatMap(({ counts }) => names.map((name) => counts[name])))
  const most = (key) => {
    const values = parts.map((part) => part[key]).filter((value) => value !== null)
    return values.length === 0 ? '–' : milliseconds(Math.max(...values))
  }
  const left = parts.findLast(({ budgetRemaining }) => budgetRemaining !== null)?.budgetRemaining ?? '–'
  const numbers = [
    sum(parts.map(bucketTotal)),
    count('4xx'),
    count('5xx', 'none'),
    most('p50Ms'),
    most('p95Ms'),
    left,
  ]
  const cells = numbers.map((number) => make('td', { class: 'number' }, String(number)))
  return make('tr', {}, make('th', { scope: 'row' }, clock(minute).slice(0, 5)), ...cells)
}

function showCompanies(status) {
  const names = status.companies.map(({ name }) => name)
  for (const [name, card] of cards) {
    if (names.includes(name)) continue
    card.element.remove()
    cards.delete(name)
  }
  for (const company of status.companies) {
    let card = cards.get(company.name)
    if (card === undefined) {
      card = new Card(company.name)
      cards.set(company.name, card)
      at('companies').append(card.element)
    }
    const { account, environment } = company
    card.showStatus(
      company,
      status.accounts.find((each) => each.name === account && each.environment === environment),
    )
  }
}

function showSeries(series) {
  for (const { company, buckets } of series) cards.get(company)?.showSeries(buckets)
}

// --- requests ----------------------------------------------------------------------------------------------------------

/** Newest first: the request and its row. */
let entries = []
/** Came while the list is held. */
let waiting = []

function answerOf({ status, error }) {
  if (status === null) return ['bad', '✕', 'none']
  if (status >= 500) return ['bad', '✕', String(status)]
  if (status >= 400) return ['warn', '!', String(status)]
  return [error === undefined ? 'ok' : 'warn', error === undefined ? '✓' : '!', String(status)]
}

function rowOf(request) {
  const [kind, sign, status] = answerOf(request)
  const path = make('button', { type: 'button', class: 'path' }, request.target)
  const cells = [
    make('td', {}, make('time', { datetime: new Date(request.at).toISOString() }, clock(request.at))),
    make('td', {}, request.method),
    make('td', { class: 'path-cell' }, path),
    make('td', { class: 'wide' }, request.company ?? '–'),
    make('td', { class: kind }, make('span', { 'aria-hidden': 'true' }, `${sign} `), status),
    make('td', { class: 'number' }, milliseconds(request.timing.totalMs)),
    make('td', { class: 'number wide' }, String(request.retries.length)),
  ]
  const row = make('tr', {}, ...cells)
  row.addEventListener('click', () => {
    // Focus comes back here when the dialog is closed.
    path.focus()
    open(request)
  })
  return row
}

function isWanted({ method, target, id, company, status, error }) {
  const text = at('filter-text').value.trim().toLowerCase()
  if (text !== '' && !`${target} ${id}`.toLowerCase().includes(text)) return false
  const wantedCompany = at('filter-company').value
  if (wantedCompany !== '' && company !== wantedCompany) return false
  const wantedMethod = at('filter-method').value
  if (wantedMethod !== '' && method !== wantedMethod) return false
  const wantedStatus = at('filter-status').value
  if (wantedStatus === '') return true
  if (wantedStatus === 'bad') return status === null || status >= 400
  if (wantedStatus === 'own') return error !== undefined
  return wantedStatus === String(Math.floor((status ?? 0) / 100))
}

function shownRequests() {
  return entries.filter(({ row }) => !row.hidden).map(({ request }) => request)
}

function filter() {
  for (const { request, row } of entries) row.hidden = !isWanted(request)
  showCount()
}

function showCount() {
  const shown = shownRequests().length
  let text = `${shown} of the last ${plural(entries.length, 'request')}`
  if (waiting.length > 0) text += `; ${waiting.length} more came since the list is held`
  setText(at('count'), text)
  const empty = at('empty')
  empty.hidden = shown > 0
  if (entries.length > 0) setText(empty, 'None fits the filters.')
  else {
    const [first] = cards.keys()
    const company = first === undefined || first === '*' ? 'COMPANY' : first
    setText(empty, `No request yet. Try: curl ${location.origin}/${company}/rest/v1.0/me`)
  }
}

/** `requests` is newest first. */
function add(requests) {
  if (at('hold').checked) {
    waiting = [...requests, ...waiting].slice(0, MOST_ROWS)
    showCount()
    return
  }
  const added = requests.map((request) => ({ request, row: rowOf(request) }))
  for (const { request, row } of added) row.hidden = !isWanted(request)
  at('list').tBodies[0].prepend(...added.map(({ row }) => row))
  entries = [...added, ...entries]
  for (const { row } of entries.splice(MOST_ROWS)) row.remove()
  nameCompanies(requests)
  showCount()
}

function nameCompanies(requests) {
  const select = at('filter-company')
  const known = new Set([...select.options].map(({ value }) => value))
  for (const { company } of requests) {
    if (company === undefined || known.has(company)) continue
    known.add(company)
    select.append(make('option', { value: company }, company))
  }
}

function replaceAll(requests) {
  // The focus stays where it was, as far as that request is still there.
  const focused = entries.find(({ row }) => row.contains(document.activeElement))?.request.id
  for (const { row } of entries) row.remove()
  entries = []
  waiting = []
  add(requests)
  if (focused !== undefined)
    entries
      .find(({ request }) => request.id === focused)
      ?.row.querySelector('button')
      .focus()
}

// --- one request -------------------------------------------------------------------------------------------------------

/** Its path at this proxy, with the company in front, so that it reaches the same one from this address. */
function pathOf({ target, company }) {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  return company !== undefined && /^\/(rest|vapid)\//.test(path) ? `/${company}${path}` : path
}

const MASKED = /([?&](?:[^=&]*=)?)\*(?=&|$)/g

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** What a terminal might take for more than text when it is pasted. */
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/

/**
 * The same call for a shell. What is masked is left to be filled in, and so is a body that is not known whole; `body` is
 * undefined where none is kept.
 */
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

/** Why curl does not get it; no sign in it means anything to a shell. */
function whyNot({ text, whole, masked }) {
  if (text === undefined) return 'it is not kept'
  if (!whole) return 'only its beginning is kept'
  return masked ? 'a part of it is masked' : 'it has control characters'
}

function facts(...pairs) {
  const list = make('dl')
  for (const [name, value] of pairs) {
    if (value === undefined || value === '') continue
    list.append(make('dt', {}, name), make('dd', {}, value))
  }
  return list
}

/** How many were opened: bodies that come late are not shown with another request. */
let openings = 0

async function open(request) {
  const opening = ++openings
  show(request)
  at('detail').showModal()
  at('detail-body').scrollTop = 0
  at('detail-title').focus()
  if (!request.bodies) return
  const detail = await detailOf(request)
  if (opening === openings) showBodies(request, detail)
}

/** The request with its bodies, which only come when they are asked for; undefined where it is forgotten. */
async function detailOf({ id, seq }) {
  try {
    const answer = await fetch(`requests/${id}/${seq}`, { cache: 'no-store', credentials: 'omit' })
    return answer.ok ? await answer.json() : undefined
  } catch {
    return undefined
  }
}

function showBodies(request, detail) {
  const { requestBody, answerBody } = detail ?? {}
  at('request-body').replaceChildren(...bodyPart(requestBody, 'Request body', detail))
  at('answer-body').replaceChildren(...bodyPart(answerBody, 'Answer body', detail))
  at('curl').replaceChildren(...curlPart(request, requestBody))
}

function bodyPart(body, name, detail) {
  if (detail === undefined) return [make('p', {}, 'Not remembered any more.')]
  if (body === undefined) return [make('p', {}, 'None.')]
  const { type, bytes, text, hidden, whole, masked } = body
  const about = `${type ?? 'no media type'}, ${size(bytes)}`
  if (text === undefined) return [make('p', {}, `${about}: ${hidden}, not shown.`)]
  const notes = [about]
  if (!whole) notes.push('the beginning of it')
  if (masked) notes.push('what looks secret is *')
  const shown = make(
    'pre',
    { class: 'body', tabindex: '0', role: 'region', 'aria-label': name },
    indented(text),
  )
  return [make('p', {}, `${notes.join('; ')}.`), shown]
}

const MOST_INDENT = 20

/** JSON that stands on one line, on many; anything else as it is. Nothing but blanks is added. */
function indented(text) {
  if (!/^[[{]/.test(text) || text.trim().includes('\n')) return text
  let shown = ''
  let depth = 0
  let isString = false
  const newLine = () => `\n${'  '.repeat(Math.min(Math.max(depth, 0), MOST_INDENT))}`
  for (const token of text.match(/\\[\s\S]?|\{\}|\[\]|["{}[\],]|[^\\"{}[\],]+/g)) {
    if (token === '"') isString = !isString
    if (isString || token.length > 1 || !'{}[],'.includes(token)) shown += token
    else if (token === '{' || token === '[') {
      depth++
      shown += token + newLine()
    } else if (token === ',') shown += token + newLine()
    else {
      depth--
      shown += newLine() + token
    }
  }
  return shown
}

function show(request) {
  const { error, timing, retries, responseHeaders } = request
  setText(at('detail-title'), `${request.method} ${request.target}`)
  const [kind, sign, status] = answerOf(request)
  const sent = request.added.length > 0
  const answer = make('p', { class: kind }, `${sign} ${status === 'none' ? 'No answer was sent' : status}`)
  at('detail-body').replaceChildren(
    answer,
    facts(
      ['Error', error?.code],
      ['What happened', error?.detail],
      ['What to do', error?.help],
      ['Company', request.company ?? 'none'],
      ['Why this one', request.why],
      ['Came in', `${new Date(request.at).toLocaleString()}, at ${request.listener ?? 'an unknown address'}`],
      ['Request id', request.id],
      ["Procore's request id", request.procoreRequestId],
      [
        'Body',
        `${size(request.bytesIn)} in, ${size(request.bytesOut)} out${request.bodies ? '' : '; not kept'}`,
      ],
    ),
    make('h3', {}, 'What was changed on the way'),
    sent
      ? facts(
          ['Headers put on', request.added.join(', ')],
          ['Headers taken off', request.removed.length === 0 ? 'none' : request.removed.join(', ')],
        )
      : make('p', {}, 'Nothing was sent to Procore.'),
    make('h3', {}, 'Time'),
    ...timeline(timing),
    make(
      'p',
      {},
      retries.length === 0
        ? 'Sent once.'
        : `Sent again ${plural(retries.length, 'time')}, because of: ${retries.join(', ')}`,
    ),
    make('h3', {}, 'Headers of the answer'),
    headerTable(responseHeaders),
    ...(request.bodies ? bodyPlaces() : []),
    make('h3', {}, 'Once more'),
    make('div', { id: 'curl' }, ...curlPart(request)),
    ...replayPart(request),
  )
}

/** Filled in once they are there. */
function bodyPlaces() {
  return [
    make('h3', {}, 'Request body'),
    make('div', { id: 'request-body' }, '…'),
    make('h3', {}, 'Answer body'),
    make('div', { id: 'answer-body' }, '…'),
  ]
}

const PARTS = [
  ['queuedMs', 'waited for the rate budget'],
  ['tokenMs', 'waited for a token'],
  ['connectMs', 'waited for a connection'],
  ['upstreamMs', "Procore's first byte"],
  ['bodyMs', 'the rest of the answer'],
]

function timeline(timing) {
  const total = Math.max(0.1, timing.totalMs)
  let left = 0
  const bars = PARTS.map(([key], index) => {
    const width = ((timing[key] ?? 0) / total) * 100
    const bar = draw('rect', {
      x: String(left),
      y: '0',
      width: String(width),
      height: '10',
      class: `part-${index}`,
    })
    left += width
    return bar
  })
  const svg = draw(
    'svg',
    { class: 'timeline', viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...bars,
  )
  const rows = PARTS.filter(([key]) => timing[key] !== undefined).map(([key, text]) => [
    text,
    `${timing[key]} ms`,
  ])
  return [svg, facts(...rows, ['all in all', `${timing.totalMs} ms`])]
}

function headerTable(headers) {
  if (headers.length === 0) return make('p', {}, 'None of Procore.')
  const head = make('tr', {}, make('th', { scope: 'col' }, 'Name'), make('th', { scope: 'col' }, 'Value'))
  const rows = headers.map(([name, value]) => make('tr', {}, make('td', {}, name), make('td', {}, value)))
  return make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows))
}

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
      // No clipboard outside of https and loopback: select it, to be copied by hand.
      getSelection().selectAllChildren(code)
      setText(said, ' Selected; copy it with the keyboard.')
    }
  })
  return [code, make('p', {}, button, said)]
}

function replayPart(request) {
  const { method } = request
  if (!SAFE_METHODS.includes(method)) {
    return [make('p', { class: 'muted' }, `${method} may change something: it is not repeated from here.`)]
  }
  const path = pathOf(request)
  const input = make('input', { type: 'text', spellcheck: 'false', autocomplete: 'off', value: path })
  const said = make('div', { role: 'status' })
  const button = make('button', { type: 'submit' }, 'Replay')
  const hint = path.search(MASKED) !== -1 ? ' (query values are masked: put them in for *)' : ''
  const form = make(
    'form',
    { class: 'replay' },
    make('label', {}, `${method} at this proxy${hint}`, input),
    button,
  )
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    button.disabled = true
    setText(said, '…')
    said.replaceChildren(...(await replay(method, input.value)))
    button.disabled = false
  })
  return [form, said]
}

/** Asks the proxy again, and it alone; the body of the answer is counted, not shown. */
async function replay(method, path) {
  let url
  try {
    url = new URL(path, location.origin)
  } catch {}
  if (!path.startsWith('/') || url?.origin !== location.origin)
    return [make('p', {}, 'Write a path of this proxy, beginning with /.')]
  const start = performance.now()
  try {
    const answer = await fetch(url, { method, cache: 'no-store', credentials: 'omit', redirect: 'manual' })
    let bytes = 0
    if (answer.body !== null) for await (const chunk of answer.body) bytes += chunk.length
    const ms = Math.round(performance.now() - start)
    const status = answer.type === 'opaqueredirect' ? 'a redirect' : String(answer.status)
    return [make('p', {}, `Answer ${status}, ${bytes} bytes in ${ms} ms`), headerTable([...answer.headers])]
  } catch (error) {
    return [make('p', { class: 'bad' }, `✕ No answer: ${error.message}`)]
  }
}

// --- export ------------------------------------------------------------------------------------------------------------

/**
 * HAR 1.2; what the proxy does not keep (values of request headers, masked values, bodies or the rest of them) is not in
 * it. `details` has those whose bodies are kept, by `seq`.
 */
function harOf(requests, details) {
  const none = { cookies: [], headersSize: -1 }
  return {
    log: {
      version: '1.2',
      creator: { name: 'procore-proxy', version: at('version').textContent },
      comment:
        'Values of request headers are not recorded, of bodies at most the beginning; query values may be masked.',
      entries: requests.toReversed().map((request) => {
        const { timing, status, error } = request
        const { requestBody, answerBody } = details.get(request.seq) ?? {}
        const url = location.origin + pathOf(request)
        const split = {
          blocked: timing.queuedMs + timing.tokenMs,
          dns: -1,
          connect: timing.connectMs,
          ssl: -1,
          send: 0,
          wait: timing.upstreamMs ?? 0,
          receive: timing.bodyMs ?? 0,
        }
        const location_ = request.responseHeaders.find(([name]) => name.toLowerCase() === 'location')?.[1]
        const type = request.responseHeaders.find(([name]) => name.toLowerCase() === 'content-type')?.[1]
        return {
          startedDateTime: new Date(request.at).toISOString(),
          time: sum(Object.values(split).filter((ms) => ms > 0)),
          request: {
            ...none,
            method: request.method,
            url,
            httpVersion: 'HTTP/1.1',
            headers: [],
            queryString: pairsOf(url),
            bodySize: request.bytesIn,
            ...(requestBody?.text !== undefined && { postData: harBody(requestBody) }),
          },
          response: {
            ...none,
            status: status ?? 0,
            statusText: '',
            httpVersion: 'HTTP/1.1',
            headers: request.responseHeaders.map(([name, value]) => ({ name, value })),
            content: { size: request.bytesOut, ...harBody(answerBody), mimeType: type ?? '' },
            redirectURL: location_ ?? '',
            bodySize: request.bytesOut,
          },
          cache: {},
          timings: split,
          comment: error === undefined ? '' : `${error.code}: ${error.detail}`,
          _requestId: request.id,
          _company: request.company ?? null,
          _why: request.why ?? null,
          _headersAdded: request.added,
          _headersRemoved: request.removed,
          _retries: request.retries,
          _tokenMs: timing.tokenMs,
          _procoreRequestId: request.procoreRequestId ?? null,
        }
      }),
    },
  }
}

function harBody(body) {
  if (body?.text === undefined) return {}
  const { type, text, whole, masked, bytes } = body
  const notes = []
  if (!whole) notes.push(`The beginning of ${size(bytes)}.`)
  if (masked) notes.push('What looks secret is *.')
  return { mimeType: type, text, ...(notes.length > 0 && { comment: notes.join(' ') }) }
}

function pairsOf(url) {
  const mark = url.indexOf('?')
  if (mark === -1) return []
  return url
    .slice(mark + 1)
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=')
      return equals === -1
        ? { name: pair, value: '' }
        : { name: pair.slice(0, equals), value: pair.slice(equals + 1) }
    })
}

/** Those of the requests whose bodies are kept, by `seq`; a few are asked for at once. */
async function detailsOf(requests) {
  const details = new Map()
  const wanted = requests.filter(({ bodies }) => bodies)
  const fetchNext = async () => {
    for (let request = wanted.pop(); request !== undefined; request = wanted.pop()) {
      const detail = await detailOf(request)
      if (detail !== undefined) details.set(request.seq, detail)
    }
  }
  await Promise.all([fetchNext(), fetchNext(), fetchNext(), fetchNext()])
  return details
}

async function saveHar() {
  const requests = shownRequests()
  const text = JSON.stringify(harOf(requests, await detailsOf(requests)), null, 2)
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }))
  const name = `procore-proxy-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.har`
  make('a', { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

// --- live --------------------------------------------------------------------------------------------------------------

function showConnection(isLive, text) {
  const connection = at('connection')
  connection.className = isLive ? 'ok' : 'warn'
  setText(connection.querySelector('.sign'), isLive ? '●' : '○')
  setText(connection.querySelector('.text'), text)
}

function showStatus(status) {
  showHealth(status)
  showCompanies(status)
}

let source
let watchdog

function connect() {
  clearTimeout(watchdog)
  source?.close()
  source = new EventSource('events')
  const on = (name, take) =>
    source.addEventListener(name, ({ data }) => {
      heard()
      take(JSON.parse(data))
    })
  on('hello', ({ status, series, requests, keepsBodies }) => {
    showConnection(true, 'Live')
    at('bodies').hidden = !keepsBodies
    showStatus(status)
    showSeries(series)
    replaceAll(requests)
  })
  on('status', showStatus)
  on('series', showSeries)
  on('requests', add)
  source.addEventListener('error', () => {
    showConnection(false, 'Not connected, trying again…')
    const health = at('health')
    health.className = 'warn'
    setText(health, '! The proxy does not answer; what is shown is old.')
    // Where it refused, the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) again()
  })
  heard()
}

/** The status comes every other second; silence means that the connection is dead although nobody said so. */
function heard() {
  clearTimeout(watchdog)
  watchdog = setTimeout(connect, SILENCE_MS)
}

function again() {
  clearTimeout(watchdog)
  watchdog = setTimeout(connect, AGAIN_MS)
}

at('filters').addEventListener('submit', (event) => event.preventDefault())
at('filters').addEventListener('input', filter)
at('hold').addEventListener('change', () => {
  if (at('hold').checked) return
  const held = waiting
  waiting = []
  add(held)
})
at('har').addEventListener('click', saveHar)
at('close').addEventListener('click', () => at('detail').close())
showCount()
connect()
