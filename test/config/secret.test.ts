import { inspect } from 'node:util'
import t from 'tap'
import { Secret } from '../../src/config/config.ts'

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
