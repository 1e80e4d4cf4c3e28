import t from 'tap'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/config.ts'

t.test('the built-in environments are those of the contract', async (t) => {
  const expected = `
    production https://login.procore.com https://api.procore.com procore.com
    sandbox https://login-sandbox.procore.com https://sandbox.procore.com procore.com
    monthly-sandbox https://login-sandbox-monthly.procore.com https://api-monthly.procore.com procore.com
    federal https://login.procoregov.com https://api.procoregov.com procoregov.com`
  const lines = BUILT_IN_ENVIRONMENTS.map((one) =>
    [one.name, one.loginUrl, one.apiUrl, one.fileDomain].join(' '),
  )
  t.strictSame(lines, expected.trim().split(/\n */))
  t.ok(BUILT_IN_ENVIRONMENTS.every(Object.isFrozen))
})
