// Covers src/observe/cause-warnings.ts: the log says now and then why Procore may have refused.
import t from 'tap'
import { CauseWarnings } from '../../src/observe/cause-warnings.ts'
import { type Exchange, startExchange } from '../../src/observe/exchange.ts'
import { createLogger } from '../../src/observe/log.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { startRig } from '../fixtures/proxy.ts'

const said = (log: Record<string, unknown>[]) => log.filter(({ msg }) => /likely causes/.test(String(msg)))

t.test('once for each status and company, and only for what Procore said', async (t) => {
  const { get, fake, log } = await startRig(t)
  fake.faults.notConnected({ match: '/rest/v1.0/me' })
  for (let n = 0; n < 3; n++) await get('/acme/rest/v1.0/me?secret=query0')
  await get('/globex/rest/v1.0/me')
  await get('/acme/rest/v1.0/nope')
  await get('/nobody/rest/v1.0/me')
  await get('/_proxy/none')
  await get('/acme/rest/v1.0/echo')
  const warnings = said(log())
  t.match(
    warnings.map(({ level, company, status, msg }) => [level, company, status, msg]),
    [
      ['warn', 'acme', 403, 'Procore answered 403: likely causes'],
      ['warn', 'globex', 403, 'Procore answered 403: likely causes'],
      ['warn', 'acme', 404, 'Procore answered 404: likely causes'],
    ],
  )
  const [first] = warnings
  t.match(first, { reqId: /./, causes: [/permissions are still None\. In the Company level Directory/] })
  t.notMatch(JSON.stringify(warnings), 'query0')
})

t.test('again after ten minutes; all ids of "*" are one company', async (t) => {
  const time = fakeTime(t)
  const lines: string[] = []
  const log = createLogger(
    { level: 'info', format: 'json' },
    { write: (line: string) => void lines.push(line) },
  )
  const warnings = new CauseWarnings(log)
  const answer = (over: Partial<Exchange> = {}) =>
    warnings.consider({
      ...startExchange('id', 'GET', '/x'),
      ...{ company: '1', group: '*', status: 401, upstreamMs: 1, ...over },
    })
  answer()
  answer({ company: '2' })
  answer({ upstreamMs: undefined, status: 404 })
  answer({ cause: 'upstream_protocol', status: 404 })
  answer({ group: undefined, status: 404 })
  t.equal(lines.length, 1)
  answer({ cause: 'caller_gone', status: 404 })
  t.equal(lines.length, 2)
  t.match(warnings.recent(), [
    { company: '*', status: 401 },
    { company: '*', status: 404 },
  ])
  await time.pass(600_000)
  t.strictSame(warnings.recent(), [])
  answer()
  t.equal(lines.length, 3)
})
