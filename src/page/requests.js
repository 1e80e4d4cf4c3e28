// The list of the last requests, and its filters, which are kept in the address.
import { companyNames } from './companies.js'
import { openDetail, statusOf } from './detail.js'
import { at, clock, make, milliseconds, plural, setText } from './dom.js'

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
export function shownRequests() {
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
  nameOptions(requests)
  const added = requests.map((request) => ({ request, row: rowOf(request) }))
  for (const { request, row } of added) row.hidden = !isWanted(request)
  at('list').tBodies[0].prepend(...added.map(({ row }) => row))
  entries = [...added, ...entries]
  for (const { row } of entries.splice(MOST_ROWS)) row.remove()
  showCount()
}

function nameOptions(requests) {
  for (const { company, caller } of requests) {
    addOption('company', company)
    addOption('caller', caller)
  }
}

function addOption(name, value) {
  const select = filters.elements[name]
  if (!value || [...select.options].some((option) => option.value === value)) return
  select.append(make('option', { value }, value))
  if (name !== 'caller') return
  at('callers').hidden = false
  at('list').classList.add('has-callers')
}

/** Replaces everything that was shown. */
export function replaceRequests(requests) {
  // Keep the focus if that request is still there.
  const focused = entries.find(({ row }) => row.contains(document.activeElement))?.request.id
  for (const { row } of entries) row.remove()
  entries = []
  waiting = []
  addRequests(requests)
  const again = entries.find(({ request }) => request.id === focused)
  if (focused !== undefined) again?.row.querySelector('button').focus()
}

/** Reads the filters from the address, and listens for changes. */
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
  showCount()
}
