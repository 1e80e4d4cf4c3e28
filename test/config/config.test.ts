import { inspect } from 'node:util'
import t from 'tap'
import { BUILT_IN_ENVIRONMENTS, Secret } from '../../src/config/config.ts'

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
})

const secret = new Secret('s3cret')

t.test('a secret does not show its value however it is turned into text', async (t) => {
  t.equal(`${secret}`, '[secret]')
  t.equal(String(secret), '[secret]')
  t.equal(JSON.stringify({ secret }), '{"secret":"[secret]"}')
  t.equal(inspect({ secret }, { showHidden: true }), '{ secret: [secret] }')
  t.strictSame(Object.keys(secret), [])
})

t.test('a secret gives its value to whom asks for it, and compares with others', async (t) => {
  t.equal(secret.reveal(), 's3cret')
  t.equal(secret.equals('s3cret'), true)
  for (const other of ['', 's3cre', 's3crets', 'S3cret']) t.equal(secret.equals(other), false, other)
})
