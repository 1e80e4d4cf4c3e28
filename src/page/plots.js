// Draws the plots of a company: requests, latency and rate budget of the last ten minutes, from the first request on.
import { draw, make, milliseconds, sum } from './dom.js'

const WIDTH = 300
const HEIGHT = 60
/** The smallest range of an axis. */
const LEAST_BUCKETS = 12

export const bucketTotal = ({ counts }) => sum(Object.values(counts))

/** The plots, without those that have nothing to show. */
export function plots(buckets) {
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
    let top = HEIGHT
    const parts = [
      [counts['2xx'] + counts['3xx'], { class: 'fill-ok' }],
      [counts['4xx'], { fill: 'url(#hatch)' }],
      [counts['5xx'] + counts.none, { class: 'fill-bad' }],
    ]
    return parts
      .filter(([count]) => count > 0)
      .map(([count, look]) => {
        const height = (count / most) * (HEIGHT - 2)
        top -= height
        const box = { x: index * step, y: top, width: step * 0.85, height }
        return draw('rect', { ...box, ...look })
      })
  })
  const count = (...names) => sum(buckets.flatMap(({ counts }) => names.map((name) => counts[name])))
  const label = `Requests in the last ten minutes: ${sum(buckets.map(bucketTotal))}, ${count('4xx')} with status 4xx, ${count('5xx', 'none')} failed; at most ${most} in ten seconds.`
  return figure({ title: 'Requests per 10 s', label, most: String(most), buckets }, ...shapes)
}

/** A line with gaps for missing values. A single value is a short dash. */
function line(values, most, look) {
  const step = WIDTH / values.length
  let path = ''
  values.forEach((value, index) => {
    if (value === null) return
    const x = ((index + 0.1) * step).toFixed(1)
    const y = (HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)
    const isGap = index === 0 || values[index - 1] === null
    path += `${isGap ? 'M' : 'L'}${x} ${y}h${(step * 0.8).toFixed(1)}`
  })
  return draw('path', { d: path, class: look })
}

function latencyPlot(buckets) {
  const upper = buckets.map(({ p95Ms }) => p95Ms)
  const most = Math.max(...upper)
  const last = buckets.findLast(({ p95Ms }) => p95Ms !== null)
  const label = `Latency in the last ten minutes: lately half within ${last.p50Ms} ms and 95 % within ${last.p95Ms} ms; 95th percentile at most ${most} ms.`
  const middle = buckets.map(({ p50Ms }) => p50Ms)
  const lines = [line(middle, most, 'stroke'), line(upper, most, 'stroke upper')]
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
  return figure({ title: 'Budget left', label, most: String(most), buckets }, line(values, most, 'stroke'))
}
