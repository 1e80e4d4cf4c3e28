// `usage`, from outside; and its sums, columns and formats.

import { join } from 'node:path'
import t, { type Test } from 'tap'
import { addUpUsage, formatUsage, routeTemplate, usageColumns } from '../../src/cli/usage.ts'
import { runToEnd } from '../fixtures/cli.ts'

function fileOf(t: Test, lines: readonly (object | string)[]): string {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
  return join(t.testdir({ 'audit.jsonl': text }), 'audit.jsonl')
}

/** In the order in which the proxy writes it. */
const AS_WRITTEN = {
  ...{ time: '2026-01-02T23:59:59.999Z', reqId: 'a-1', caller: 'excel', company: 'acme' },
  ...{ environment: 'production', method: 'GET', path: '/rest/v1.0/projects/7/rfis', status: 200 },
  ...{ durationMs: 10, cause: 'caller_gone' },
}
const entry = (more: object = {}) => ({ ...AS_WRITTEN, ...more })

t.test('adds an audit file up as a table and as CSV', async (t) => {
  const file = fileOf(t, [
    entry(),
    entry({ path: '/rest/v1.0/projects/2/rfis', time: '2026-01-03T10:00:00.000Z' }),
    entry({ caller: 'agent', method: 'POST', path: '/rest/v1.0/projects' }),
    '{"torn',
  ])
  const table = await runToEnd(t, ['usage', 'audit.jsonl'])
  t.match(table, { code: 0, err: 'procore-proxy: 1 line is damaged and was left out\n' })
  t.match(table.out, /^caller +route +status +requests +meanMs$/m)
  t.match(table.out, /^excel +GET \/rest\/v1\.0\/projects\/\{id\}\/rfis +200 +2 +10$/m)
  const csv = await runToEnd(t, ['usage', file, '--by', 'day,caller', '--csv'])
  t.match(csv.out, /^day,caller,requests,meanMs\r\n2026-01-02,agent,1,10\r\n2026-01-02,excel,1,10\r\n/)
})

t.test('a file that cannot be read ends with 1, an unknown column with 2', async (t) => {
  fileOf(t, [])
  t.match(await runToEnd(t, ['usage', 'none']), {
    code: 1,
    err: /none does not exist\. Create it, or correct the path\.\n$/,
  })
  t.match(await runToEnd(t, ['usage', 'audit.jsonl', '--by', 'month']), {
    code: 2,
    err: /--by month: "month" is not one of caller, route, status, day\.\n$/,
  })
})

t.test('An audit file is added up by caller, route and status, or as asked', async (t) => {
  const file = fileOf(t, [
    entry(),
    entry({ path: '/rest/v1.0/projects/8/rfis?a=*', durationMs: 30 }),
    entry({ caller: undefined, method: 'POST', status: null, durationMs: undefined }),
    entry({ caller: undefined, status: null, path: '/x' }),
    '{"time":"2026',
    'null',
    '7',
    { time: 1 },
    '',
    entry({ caller: '=cmd', time: '2026-01-03T00:00:00.000Z', path: '/a\tb,"' }),
  ])
  const usage = await addUpUsage(file)
  t.equal(usage.skippedLines, 4)
  t.same(
    usage.rows.map(({ values, requests, meanMs }) => [...values, requests, meanMs]),
    [
      ['excel', 'GET /rest/v1.0/projects/{id}/rfis', '200', 2, 20],
      ['', 'GET /x', '', 1, 10],
      ['', 'POST /rest/v1.0/projects/{id}/rfis', '', 1, 0],
      ['=cmd', 'GET /a b,"', '200', 1, 10],
    ],
  )
  t.equal(
    formatUsage(usage, 'csv'),
    'caller,route,status,requests,meanMs\r\nexcel,GET /rest/v1.0/projects/{id}/rfis,200,2,20\r\n' +
      ',GET /x,,1,10\r\n,POST /rest/v1.0/projects/{id}/rfis,,1,0\r\n"\'=cmd","GET /a b,""",200,1,10\r\n',
  )
  t.match(
    formatUsage(usage, 'table'),
    /^caller {2}route .* requests {2}meanMs\nexcel {3}GET .* 200 {5}2 {9}20\n/,
  )
  const days = await addUpUsage(file, usageColumns('day, caller,day'))
  t.same(days.by, ['day', 'caller'])
  t.same(days.rows[0], { values: ['2026-01-02', ''], requests: 2, meanMs: 5 })
  t.throws(() => usageColumns('caller,colour'), /"colour" is not one of caller, route, status, day/)
  await t.rejects(addUpUsage(join(t.testdirName, 'missing')), { code: 'ENOENT' })
})

t.test('A path cannot affect the terminal', async (t) => {
  const usage = await addUpUsage(fileOf(t, [entry({ path: '/x\u009b2J\u001b[31m' })]))
  t.match(formatUsage(usage, 'table'), 'GET /x\\u009b2J\\u001b[31m  200')
})

t.test('Ids in paths are one route', async (t) => {
  const cases: [path: string, route: string][] = [
    ['/rest/v1.0/projects/7', '/rest/v1.0/projects/{id}'],
    ['/rest/v1.0/rfis/7.pdf?x=1', '/rest/v1.0/rfis/{id}.pdf'],
    ['/7656/rest/v1.0/me', '/{id}/rest/v1.0/me'],
    ['/rest/v2.0/files/0b7f3c1e-6c1d-4f0e-9a53-1f6f0f1f2d11/x', '/rest/v2.0/files/{id}/x'],
    ['/rest/v2.0/files/0123456789abcdef', '/rest/v2.0/files/{id}'],
    ['/rest/v2.1/uploads/01JDXMPK0MTP0H41D4PYZ62R6R/x', '/rest/v2.1/uploads/{id}/x'],
    ['/rest/v1.0/administrativesettings/x', '/rest/v1.0/administrativesettings/x'],
    ['/rest/v1.0/7a/b7', '/rest/v1.0/7a/b7'],
  ]
  for (const [path, route] of cases) t.equal(routeTemplate(path), route)
})

t.test('Made-up paths and endless lines fill no memory', async (t) => {
  const file = fileOf(t, [
    ...Array.from({ length: 10_500 }, (_, i) => entry({ path: `/x${i}y` })),
    'x'.repeat(3_000_000),
    entry({ path: '/x0y' }),
  ])
  const { rows, skippedLines } = await addUpUsage(file)
  t.equal(rows.length, 10_001)
  t.same(rows[0], { values: ['(others)', '(others)', '(others)'], requests: 500, meanMs: 10 })
  t.equal(skippedLines, 1)
})
