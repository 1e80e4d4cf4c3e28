// Covers test/fixtures/needs.ts: no test is skipped in CI.
import t from 'tap'
import { needsProgram } from '../fixtures/needs.ts'

t.test('a missing program skips a test, but fails it in CI', async (t) => {
  const path = process.env['PATH']
  t.teardown(() => {
    process.env['PATH'] = path
  })
  process.env['PATH'] = t.testdir()
  for (const CI of [undefined, '', 'false'])
    t.equal(
      needsProgram('redis-server', { CI }),
      'redis-server is not installed: apt-get install redis-server',
    )
  for (const CI of ['1', 'true']) t.throws(() => needsProgram('redis-server', { CI }), /is not installed/)
})
