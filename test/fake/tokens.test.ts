// Twin of src/fake/tokens.ts.
import t from 'tap'
import { Tokens } from '../../src/fake/tokens.ts'

const CLIENT = { clientId: 'a', clientSecret: 's', companyIds: ['1', '2'] }

t.test('a token is unique, long, numbered, and dies at its end', async (t) => {
  let now = 1_000_500
  const tokens = new Tokens([CLIENT], 900, () => now)
  const body = tokens.issue('a', 's')!
  t.match(body, { token_type: 'bearer', expires_in: 900, created_at: 1000 })
  t.match(body.access_token, /^eyJ[\w-]+\.[\w-]+\.[\w-]{176}$/)
  t.not(tokens.issue('a', 's')!.access_token, body.access_token)
  t.equal(tokens.issued()[0], body.access_token)
  const token = tokens.ofHeader(`Bearer ${body.access_token}`)!
  t.equal(token.serial, 1)
  t.ok(tokens.isAlive(token))
  now += 900_000
  t.notOk(tokens.isAlive(token))
})

t.test('wrong credentials get none', async (t) => {
  const tokens = new Tokens([CLIENT], 900, Date.now)
  t.equal(tokens.issue('a', 'x'), undefined)
  t.equal(tokens.issue('x', 's'), undefined)
  t.equal(tokens.find('x'), undefined)
})

t.test('tokens are revoked all at once, or with a new secret', async (t) => {
  const tokens = new Tokens([CLIENT, { ...CLIENT, clientId: 'b' }], 900, Date.now)
  const issue = (id: string, secret = 's') => tokens.issue(id, secret)!.access_token
  const alive = (token: string) => tokens.isAlive(tokens.find(token)!)
  const [a, b] = [issue('a'), issue('b')]
  tokens.resetSecret('a', 'new')
  t.same([a, b].map(alive), [false, true])
  t.equal(tokens.issue('a', 's'), undefined)
  t.ok(alive(issue('a', 'new')))
  tokens.revokeAll()
  t.notOk(alive(b))
  t.throws(() => tokens.resetSecret('x', 'x'), /no client x/)
})

t.test('a client has the companies that it was given', async (t) => {
  const tokens = new Tokens([CLIENT], 900, Date.now)
  t.same(tokens.companiesOf('a'), ['1', '2'])
  t.same(tokens.companiesOf('x'), [])
})
