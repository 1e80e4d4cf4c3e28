// `usage`, from outside.
import { join } from 'node:path'
import t from 'tap'
import { runToEnd } from '../fixtures/cli.ts'

const entry = (caller: string, method: string, path: string, day = '01') =>
  `${JSON.stringify({ time: `2026-02-${day}T10:00:00.000Z`, caller, method, path, status: 200, durationMs: 10 })}\n`

t.test('adds an audit file up as a table and as CSV', async (t) => {
  const cwd = t.testdir({
    'audit.jsonl': [
      entry('excel', 'GET', '/rest/v1.0/projects/1/rfis'),
      entry('excel', 'GET', '/rest/v1.0/projects/2/rfis', '02'),
      entry('agent', 'POST', '/rest/v1.0/projects'),
      '{"torn',
    ].join(''),
  })
  const table = await runToEnd(t, ['usage', 'audit.jsonl'], { cwd })
  t.match(table, { code: 0, err: 'procore-proxy: 1 line is damaged and was left out\n' })
  t.match(table.out, /^caller +route +status +requests +meanMs$/m)
  t.match(table.out, /^excel +GET \/rest\/v1\.0\/projects\/\{id\}\/rfis +200 +2 +10$/m)
  const csv = await runToEnd(t, ['usage', join(cwd, 'audit.jsonl'), '--by', 'day,caller', '--csv'], { cwd })
  t.match(csv.out, /^day,caller,requests,meanMs\r\n2026-02-01,agent,1,10\r\n2026-02-01,excel,1,10\r\n/)
})

t.test('a file that cannot be read ends with 1, an unknown column with 2', async (t) => {
  const cwd = t.testdir({ 'audit.jsonl': '' })
  t.match(await runToEnd(t, ['usage', 'none'], { cwd }), { code: 1, err: /none cannot be read: ENOENT/ })
  t.match(await runToEnd(t, ['usage', 'audit.jsonl', '--by', 'month'], { cwd }), {
    code: 2,
    err: /--by month: "month" is not one of caller, route, status, day\.\n$/,
  })
})
