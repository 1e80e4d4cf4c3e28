import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { MEASURES } from '../../bench/options.ts'
import { drawings, intoPage, type Results, report } from '../../bench/report.ts'
import { compared, grown, head, protocols, several, soaked, withoutMeasures } from '../fixtures/bench.ts'

const results: Results = {
  compare: compared({}),
  growth: grown,
  soak: soaked,
  http2: protocols,
  processes: several,
}

t.test(
  'every result says when, with what command, on which machine and with which versions it was made',
  async (t) => {
    const text = report(results)
    const origin = `Measured 2025-01-02 with \`${head.command}\` on 2 × Some CPU; 8 GB; ${head.cores}.\nVersions: node 24.0.0, nginx 1.22.1.`
    t.equal(text.split(origin).length - 1, 5)
  },
)

t.test('what was skipped is said', async (t) => {
  t.match(report(results), 'Skipped: haproxy (not installed).')
  t.notMatch(report({ compare: { ...compared({}), skipped: {} } }), 'Skipped')
})

t.test('a part that was not measured is left out', async (t) => {
  t.notMatch(report({ compare: withoutMeasures() }), 'When tokens end')
  t.equal(report({}), '')
})

t.test('figures of code that was still being compiled are said to be that', async (t) => {
  const result = compared({})
  t.notMatch(report({ compare: result }), 'warmed up', 'nothing is known of it')
  result.contenders['http-proxy-middleware']!.warmUp = 50_000
  t.match(report({ compare: result }), 'was warmed up by 50000 requests. ')
  result.contenders['procore-proxy']!.warmUp = 12_000
  t.match(
    report({ compare: result }),
    'by 50000 requests (**here fewer**, so that it costs more than it should: procore-proxy 12000). ',
  )
})

t.test('what a pause costs is shown of those of which it was measured', async (t) => {
  const result = compared({})
  t.notMatch(report({ compare: result }), 'After a pause')
  const cost = { requestsPerSecond: [100, 100], cpuUs: [50, 50], afterPauseUs: [75, 75] }
  result.contenders['procore-proxy']!.plain = cost
  const text = report({ compare: result })
  t.match(text, /^\| procore-proxy, all features on \| 75\.0 +\| 1\.50 +\| – +\| – +\|$/m)
  t.notMatch(text.slice(text.indexOf('### After a pause')), 'Caddy')
})

t.test('what the recorder costs is one ratio, where both were measured', async (t) => {
  const result = compared({ ownCpu: 60 })
  t.notMatch(report({ compare: result }), 'With the recorder')
  const cost = { requestsPerSecond: [100, 100], cpuUs: [50, 50] }
  result.contenders['procore-proxy-no-recorder'] = { title: 'without', plain: cost }
  t.match(report({ compare: result }), 'With the recorder a request costs 1.20 of what it costs without.')
})

t.test('growth shows cost by the megabyte where bodies are large enough for that', async (t) => {
  const text = report({ growth: grown })
  t.match(text, /^\| 1000 companies of one account +\| – +\| 120 +\|$/m, 'a failed round is a dash')
  t.match(text, /^\| 1 KB +\| 60\.0 +\| – +\| 60\.0 +\| 60\.0 +\| – +\| 60\.0 +\|$/m)
  t.match(text, /^\| 1 MB +\| 1000 +\| 1\.00 +\|/m)
  t.match(text, /^\| 1 GB +\| 900000 +\| 0\.88 +\| 900000 +\| – +\|/m)
})

t.test('a soak shows memory over time and what is left at its end', async (t) => {
  const text = report({ soak: soaked })
  t.match(text, 'second quarter of the time: median 61.0 (60.0–62.0) MB; in the last: 61.0 (60.0–62.0) MB')
  t.match(text, /^\| open files +\| 20 +\| 21 +\|$/m)
  t.match(text, '1 TCPServerWrap, 2 PipeWrap')
})

t.test('the section of the page is replaced and what stands around it stays', async (t) => {
  const page = '# Performance\n\n## Compression\n\nText.\n'
  const first = intoPage(page, { http2: protocols })
  t.match(
    first,
    /^# Performance\n\n## Compression\n\nText\.\n\n<!-- bench: [^\n]+-->\n\n## HTTP\/2 to the API/,
  )
  const second = intoPage(`${first}\n## After\n`, { processes: several })
  t.match(second, /^# Performance\n\n## Compression\n\nText\.\n\n<!-- bench: /)
  t.match(second, /<!-- end of bench -->\n\n## After\n$/)
  t.match(second, '## More than one process')
  t.notMatch(second, '## HTTP/2 to the API')
})

t.test('every image of the page is drawn', async (t) => {
  const page = intoPage('', results)
  const shown = [...page.matchAll(/\]\(performance\/([\w-]+\.svg)\)/g)].map(([, name]) => name)
  t.strictSame(shown.sort(), Object.keys(drawings(results)).sort())
  t.strictSame(drawings({}), {})
})

t.test('plots are SVG that follows the colours of the page', async (t) => {
  for (const [name, svg] of Object.entries(drawings(results))) {
    t.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox=/, name)
    t.match(svg, '@media (prefers-color-scheme: dark)', name)
    t.notMatch(svg, /NaN|undefined|Infinity/, name)
    t.equal(svg.match(/<text /g)?.length, svg.match(/<\/text>/g)?.length, name)
  }
})

t.test('bars stand from least to most, and the own one is marked', async (t) => {
  const svg = drawings(results)['cpu.svg'] ?? ''
  const order = [...svg.matchAll(/text-anchor="end"[^>]*>([^<]+)</g)].map(([, label]) => label)
  t.strictSame(order, [
    'Caddy',
    'nginx, tuned',
    'procore-proxy, all features on',
    '@fastify/http-proxy',
    'http-proxy-middleware',
  ])
  t.match(svg, /<g class="own"><text [^>]+>procore-proxy, all features on</)
})

t.test('docs/performance.md and its plots say what bench/results hold', async (t) => {
  const root = join(import.meta.dirname, '..', '..')
  const read = (path: string) => readFileSync(join(root, path), 'utf8')
  const kept: Results = Object.fromEntries(
    MEASURES.map((command) => [command, `bench/results/${command}.json`] as const)
      .filter(([, path]) => existsSync(join(root, path)))
      .map(([command, path]) => [command, JSON.parse(read(path))]),
  )
  const page = read('docs/performance.md')
  t.equal(intoPage(page, kept), page, 'fresh: else run npm run bench -- docs')
  for (const [name, svg] of Object.entries(drawings(kept))) {
    t.equal(svg, read(`docs/performance/${name}`), `${name} is fresh: else run npm run bench -- docs`)
  }
})
