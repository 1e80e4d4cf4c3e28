import t from 'tap'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/environments.ts'

t.test('the built-in environments are those of the contract', async (t) => {
  t.strictSame(
    BUILT_IN_ENVIRONMENTS.map(({ name, loginUrl, apiUrl, fileDomain }) => [
      name,
      loginUrl,
      apiUrl,
      fileDomain,
    ]),
    [
      ['production', 'https://login.procore.com', 'https://api.procore.com', 'procore.com'],
      ['sandbox', 'https://login-sandbox.procore.com', 'https://sandbox.procore.com', 'procore.com'],
      [
        'monthly-sandbox',
        'https://login-sandbox-monthly.procore.com',
        'https://api-monthly.procore.com',
        'procore.com',
      ],
      ['federal', 'https://login.procoregov.com', 'https://api.procoregov.com', 'procoregov.com'],
    ],
  )
  t.ok(BUILT_IN_ENVIRONMENTS.every(Object.isFrozen))
})
