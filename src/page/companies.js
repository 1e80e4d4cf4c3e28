// The health of the proxy in one line, its warnings, and a card for each company with plots of the last ten minutes.
import { at, causeList, clock, draw, make, milliseconds, plural, setText, sum } from './dom.js'

const TOKEN_SIGNS = {
  valid: ['ok', '✓'],
  'renewal failing': ['warn', '!'],
  rejected: ['bad', '✕'],
  unavailable: ['bad', '✕'],
  idle: ['', '○'],
  waiting: ['', '…'],
}

/** As on the server, `*` means any id without an entry of its own. */
const nameOf = ({ name }) => (name === '*' ? '* (any other id)' : name)

export function showStatus(status) {
  setText(at('version'), status.version)
  const { companies, accounts, warnings, shared } = status
  const names = (list) => list.map(({ name }) => name).join(', ')
  const failing = accounts.filter(({ token }) => /warn|bad/.test(TOKEN_SIGNS[token]?.[0]))
  const used = companies.filter(({ budget }) => budget?.remaining === 0)
  const refused = companies.filter(({ refusals }) => refusals?.persistent)
  const problems = []
  if (!status.ready) problems.push('the proxy is not ready')
  if (failing.length > 0) problems.push(`no good token for ${names(failing)}`)
  if (refused.length > 0) problems.push(`Procore refuses every request of ${names(refused)}`)
  if (used.length > 0) problems.push(`the rate budget of ${names(used)} is used up`)
  if (shared?.up === false) problems.push('the shared budget cannot be reached')
  if (problems.length > 0) showHealth('bad', `✕ Something is wrong: ${problems.join('; ')}.`)
  else if (warnings.length === 0) showHealth('ok', '✓ All is well.')
  else showHealth('warn', `! The proxy works; ${plural(warnings.length, 'warning')}.`)
  showWarnings(status)
  showReload(status)
  showCompanies(status)
}

/** If it failed, a warning says why. */
function showReload({ lastReload }) {
  at('reload').hidden = lastReload === null
  if (lastReload === null) return
  const { at: time, ok } = lastReload
  setText(
    at('reload'),
    `The last reload of the configuration, at ${clock(time)}, ${ok ? 'worked' : 'failed'}.`,
  )
}

/** `kind`: ok, warn or bad. */
export function showHealth(kind, text) {
  at('health').className = kind
  setText(at('health'), text)
}

/** Warnings. Those about Procore's refusals begin like this and have a list of causes. */
const REFUSAL = /^Procore answered (\d+) for (\S+) at /

function showWarnings({ warnings, companies }) {
  const list = at('warnings')
  const items = warnings.map((text) => {
    const [, status, name] = REFUSAL.exec(text) ?? []
    const { causes = [] } = companies.find((company) => company.name === name)?.refusals ?? {}
    if (causes.length === 0) return make('li', {}, text)
    const what = `Procore refuses requests of ${name} with ${status}.`
    if (causes.length === 1) return make('li', {}, what, causeList(causes))
    const summary = make('summary', {}, `${what} Likely causes`)
    return make('li', {}, make('details', {}, summary, causeList(causes)))
  })
  list.hidden = items.length === 0
  const fresh = items.map(({ textContent }) => textContent).join('\n')
  const shown = [...list.children].map(({ textContent }) => textContent).join('\n')
  if (shown !== fresh) list.replaceChildren(...items)
}

function duration(seconds) {
  if (seconds === null) return 'unknown time'
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

const cards = new Map()

/** Names of the companies that have cards. */
export const companyNames = () => [...cards.keys()]

class Card {
  constructor(name) {
    this.title = make('h3')
    this.facts = make('p', { class: 'facts' })
    this.token = make('p')
    this.load = make('p')
    this.budget = make('p')
    this.meter = make('meter', { 'aria-label': `Rate budget of ${name}` })
    this.plots = make('div', { class: 'plots' })
    this.rows = make('tbody')
    const head = ['Minute', 'Requests', '4xx', '5xx, none', 'Median ms', '95 % ms', 'Budget'].map((text) =>
      make('th', { scope: 'col', class: text === 'Minute' ? '' : 'number' }, text),
    )
    const table = make('table', {}, make('thead', {}, make('tr', {}, ...head)), this.rows)
    this.numbers = make('details', {}, make('summary', {}, 'Plots as numbers'), table)
    // On a phone the requests come first.
    const open = matchMedia('(min-width: 42rem)').matches ? { open: '' } : {}
    this.series = make('details', open, make('summary', {}, 'Last ten minutes'), this.plots, this.numbers)
    const parts = [this.title, this.facts, this.token, this.load, this.budget, this.meter, this.series]
    this.element = make('article', { class: 'card' }, ...parts)
    this.showSeries([])
  }

  showStatus(company, account, needsTokens) {
    const { id, environment, access, rules, listen, requests, saved, inFlight, queued } = company
    setText(this.title, `${nameOf(company)}${company.default ? ' (default)' : ''}`)
    const about = [id === null ? '' : `id ${id}`, environment, access, rules > 0 ? plural(rules, 'rule') : '']
    if (listen !== null) about.push(`own address ${listen}`)
    setText(this.facts, about.filter((fact) => fact !== '').join(' · '))
    this.#showToken(account, needsTokens, company.refusals)
    const total = plural(sum(Object.values(requests)), 'request')
    const failed = requests['5xx'] + requests.none
    const counts = [`${total}: ${requests['4xx']} with status 4xx, ${failed} failed`]
    if (sum(Object.values(saved)) > 0) counts.push(`${sum(Object.values(saved))} saved by the cache`)
    if (inFlight > 0) counts.push(`${inFlight} in flight, ${queued} waiting`)
    setText(this.load, counts.join('; '))
    this.#showBudget(company.budget)
  }

  #showToken(account, needsTokens, refusals) {
    if (account === undefined) {
      // A replay logs in nowhere. Two accounts with the same credentials are listed as one.
      this.token.className = ''
      setText(
        this.token,
        needsTokens ? 'Token of an account with the same credentials' : 'No token is needed',
      )
      return
    }
    let [kind, sign] = TOKEN_SIGNS[account.token] ?? ['', '?']
    let text = `Token ${account.token}`
    if (account.expiresInSeconds !== null) text += ` for ${duration(account.expiresInSeconds)}`
    text += `, account ${account.name}`
    if (account.lastFailure !== null) text += `: ${account.lastFailure.detail}`
    // A valid token does not help if Procore refuses the requests.
    if (refusals?.persistent && kind === 'ok') {
      ;[kind, sign] = ['bad', '✕']
      text += `, but Procore answers ${refusals.status}`
    }
    this.token.className = kind
    setText(this.token, `${sign} ${text}`)
  }

  #showBudget(budget) {
    this.meter.hidden = budget === null
    if (budget === null) {
      setText(this.budget, 'Budget: unknown before the first response')
      return
    }
    const { limit, remaining, resetSeconds } = budget
    const text = `${remaining} of ${limit} left, renewed in ${duration(resetSeconds)}`
    setText(this.budget, `Budget: ${text}`)
    const colors = { low: 0.05 * limit, high: 0.2 * limit, optimum: limit }
    Object.assign(this.meter, { max: limit, value: remaining, ...colors, ariaValueText: text })
  }

  showSeries(buckets) {
    const shown = plots(buckets)
    this.series.hidden = shown.length === 0
    this.plots.replaceChildren(...shown)
    this.rows.replaceChildren(...minutes(buckets).map(minuteRow))
  }
}

/** The buckets summed up by minute, newest first, without empty ones. */
function minutes(buckets) {
  const byMinute = Map.groupBy(buckets, ({ at: begin }) => begin - (begin % 60_000))
  return [...byMinute].reverse().filter(([, parts]) => sum(parts.map(bucketTotal)) > 0)
}

function minuteRow([minute, parts]) {
  const count = (...names) => sum(parts.flatMap(({ counts }) => names.map((name) => counts[name])))
  const most = (key) => milliseconds(Math.max(...parts.map((part) => part[key] ?? 0)))
  const left = parts.findLast(({ budgetRemaining }) => budgetRemaining !== null)?.budgetRemaining ?? '–'
  const counts = [sum(parts.map(bucketTotal)), count('4xx'), count('5xx', 'none')]
  const numbers = [...counts, most('p50Ms'), most('p95Ms'), left]
  const cells = numbers.map((number) => make('td', { class: 'number' }, String(number)))
  return make('tr', {}, make('th', { scope: 'row' }, clock(minute).slice(0, 5)), ...cells)
}

function showCompanies({ companies, accounts }) {
  for (const [name, card] of cards) {
    if (companies.some((company) => company.name === name)) continue
    card.element.remove()
    cards.delete(name)
  }
  for (const company of companies) {
    const { name, account, environment } = company
    const card = cards.get(name) ?? new Card(name)
    if (!cards.has(name)) at('companies').append(card.element)
    cards.set(name, card)
    const own = accounts.find((each) => each.name === account && each.environment === environment)
    card.showStatus(company, own, accounts.length > 0)
  }
}

/** `series` has every company that was called in this run of the proxy. */
export function showSeries(series) {
  for (const [name, card] of cards) {
    card.showSeries(series.find(({ company }) => company === name)?.buckets ?? [])
  }
}

// --- plots -------------------------------------------------------------------------------------------------------------

const WIDTH = 300
const HEIGHT = 60
/** The smallest range of an axis. */
const LEAST_BUCKETS = 12

const bucketTotal = ({ counts }) => sum(Object.values(counts))

/** Requests, latency and rate budget from the first request on, without what has nothing to show. */
function plots(buckets) {
  const first = buckets.findIndex((bucket) => bucketTotal(bucket) > 0)
  if (first === -1) return []
  const shown = buckets.slice(Math.min(first, buckets.length - LEAST_BUCKETS))
  return [trafficPlot(shown), latencyPlot(shown), budgetPlot(shown)].filter((plot) => plot !== undefined)
}

/** `title` names what is plotted, `most` is the upper end of the axis, and `label` describes the plot in words. */
function figure({ title, label, most, buckets }, ...shapes) {
  const look = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' }
  const svg = draw('svg', { ...look, 'aria-label': label }, ...shapes)
  const minutes = Math.round((buckets.length * 10) / 60)
  const axis = make('div', { class: 'axis' }, make('span', {}, most), make('span', {}, '0'))
  const plot = make('div', { class: 'plot' }, axis, svg)
  const times = [make('span', {}, `${minutes} min ago`), make('span', {}, 'now')]
  return make('figure', {}, make('figcaption', {}, title), plot, make('div', { class: 'times' }, ...times))
}

function trafficPlot(buckets) {
  const most = Math.max(...buckets.map(bucketTotal))
  const step = WIDTH / buckets.length
  const shapes = buckets.flatMap(({ counts }, index) => {
    let y = HEIGHT
    const parts = [
      [counts['2xx'] + counts['3xx'], 'var(--bar)'],
      [counts['4xx'], 'url(#hatch)'],
      [counts['5xx'] + counts.none, 'var(--bad)'],
    ].filter(([count]) => count > 0)
    return parts.map(([count, fill]) => {
      const height = (count / most) * (HEIGHT - 2)
      y -= height
      return draw('rect', { x: index * step, y, width: step * 0.85, height, fill })
    })
  })
  const count = (...names) => sum(buckets.flatMap(({ counts }) => names.map((name) => counts[name])))
  const label = `Requests in the last ten minutes: ${sum(buckets.map(bucketTotal))}, ${count('4xx')} with status 4xx, ${count('5xx', 'none')} failed; at most ${most} in ten seconds.`
  return figure({ title: 'Requests per 10 s', label, most: String(most), buckets }, ...shapes)
}

/** A line with gaps for missing values. A single value is a short dash. */
function line(values, most, look = { stroke: 'var(--bar)' }) {
  const step = WIDTH / values.length
  let path = ''
  values.forEach((value, index) => {
    if (value === null) return
    const x = ((index + 0.1) * step).toFixed(1)
    const y = (HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)
    const isGap = index === 0 || values[index - 1] === null
    path += `${isGap ? 'M' : 'L'}${x} ${y}h${(step * 0.8).toFixed(1)}`
  })
  const width = { 'stroke-width': 2, 'vector-effect': 'non-scaling-stroke' }
  return draw('path', { d: path, fill: 'none', ...width, ...look })
}

function latencyPlot(buckets) {
  const upper = buckets.map(({ p95Ms }) => p95Ms)
  const most = Math.max(...upper)
  const last = buckets.findLast(({ p95Ms }) => p95Ms !== null)
  const label = `Latency in the last ten minutes: lately half within ${last.p50Ms} ms and 95 % within ${last.p95Ms} ms; 95th percentile at most ${most} ms.`
  const middle = buckets.map(({ p50Ms }) => p50Ms)
  const dashed = { stroke: 'var(--text)', 'stroke-dasharray': '3 2' }
  const lines = [line(middle, most), line(upper, most, dashed)]
  return figure({ title: 'Latency (- - 95 %)', label, most: `${milliseconds(most)} ms`, buckets }, ...lines)
}

function budgetPlot(buckets) {
  // Between two responses the value does not change.
  let known = null
  const values = buckets.map(({ budgetRemaining }) => {
    known = budgetRemaining ?? known
    return known
  })
  const seen = values.filter((value) => value !== null)
  if (seen.length === 0) return undefined
  const most = Math.max(1, ...seen)
  const label = `Rate budget in the last ten minutes: now ${seen.at(-1)} left, at least ${Math.min(...seen)}, at most ${most}.`
  return figure({ title: 'Budget left', label, most: String(most), buckets }, line(values, most))
}
