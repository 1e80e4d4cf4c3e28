// What lies in deploy/ for other programs: the metrics that it names exist.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { metricsPage } from '../scripts/operations.ts'
import { METRICS, type MetricDefinition } from '../src/observe/metrics-registry.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const DASHBOARD = 'deploy/grafana/procore-proxy.json'
const RULES = 'deploy/prometheus/procore-proxy.rules.yaml'

const definitions: readonly MetricDefinition[] = Object.values(METRICS)
const labels = new Map(definitions.map(({ name, labels: known }) => [name, known]))

/** Each metric that an expression names, with the labels that it selects by. */
function named(expression: string): { name: string; by: string[] }[] {
  return [...expression.matchAll(/\b((?:procore_proxy|process)_[a-z_]+)(?:\{([^}]*)\})?/g)].map(
    ([, name = '', selector = '']) => ({
      name: name.replace(/_(bucket|sum|count)$/, (suffix, _, at) =>
        labels.has(name.slice(0, at)) ? '' : suffix,
      ),
      by: [...selector.matchAll(/(\w+)\s*[=!]/g)].map(([, label = '']) => label),
    }),
  )
}

function check(t: Test, expression: string) {
  const used = named(expression)
  for (const { name, by } of used) {
    const known = labels.get(name)
    t.ok(known, `${name} exists`)
    for (const label of by)
      t.ok(label === 'instance' || known?.includes(label), `${name} has the label ${label}`)
  }
  return used.map(({ name }) => name)
}

t.test('every metric of the dashboard and of the alert rules exists, with its labels', async (t) => {
  const { panels, templating } = JSON.parse(read(DASHBOARD)) as {
    panels: { title: string; targets: { expr: string }[] }[]
    templating: { list: { query: string | { query: string } }[] }
  }
  const shown = new Set<string>()
  for (const { title, targets } of panels) {
    for (const { expr } of targets) {
      const names = check(t, expr)
      t.not(names.length, 0, title)
      for (const name of names) shown.add(name)
    }
  }
  for (const { query } of templating.list) if (typeof query !== 'string') check(t, query.query)
  const unseen = [...labels.keys()].filter((name) => !shown.has(name))
  t.strictSame(
    unseen.filter((name) => !/token_age|token_lifetime/.test(name)),
    [],
    'and the dashboard leaves none out',
  )
  const { groups } = parse(read(RULES)) as {
    groups: { rules: { alert: string; expr: string; annotations: { summary: string } }[] }[]
  }
  const alerts = groups.flatMap(({ rules }) => rules)
  for (const { alert, expr, annotations } of alerts) {
    if (!expr.startsWith('up')) t.not(check(t, expr).length, 0, alert)
    t.match(annotations.summary, /./)
  }
  const page = read('docs/operations.md')
  for (const { alert } of alerts) t.match(page, `\`${alert}\``, 'documented')
})

t.test('docs/operations.md shows the metrics and the status fields of the code', async (t) => {
  t.equal(metricsPage(root), read('docs/operations.md'), 'fresh: else run npm run generate')
})
