// The questions of `init`: what may be answered to them.
import t from 'tap'
import {
  checkCompany,
  checkCredential,
  checkOrigin,
  ENVIRONMENTS,
  guessEnvironment,
} from '../../src/cli/init.ts'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/environments.ts'

t.test('the company is an id or the address of one of its pages', async (t) => {
  for (const answer of ['7656', ' 562949953443325 ', 'https://app.procore.com/7656/company/home/list']) {
    t.equal(checkCompany(answer), undefined, answer)
  }
  for (const answer of [undefined, '', 'Acme Construction', '123456789012345678901']) {
    t.match(checkCompany(answer), { message: /^Write the digits of the id, or paste/ }, String(answer))
  }
  t.match(checkCompany('https://app.procore.com/123/project/home'), { message: /a project's address/ })
})

t.test('the environment that an address belongs to', async (t) => {
  const cases: [string, string | undefined][] = [
    ['7656', undefined],
    ['https://app.procore.com/7656/company/home/list', 'production'],
    ['us02.procore.com/7656/company', 'production'],
    ['https://SANDBOX.procore.com/7656/company/home', 'sandbox'],
    ['https://api-sandbox-monthly.procore.com/7656/company/home', 'monthly-sandbox'],
    ['https://app.procoregov.com/7656/company/home', 'federal'],
    ['https://procore.example/7656/company/home', undefined],
  ]
  for (const [answer, name] of cases) t.equal(guessEnvironment(answer), name, answer)
  const names = BUILT_IN_ENVIRONMENTS.map(({ name }) => name)
  t.strictSame(
    ENVIRONMENTS.map(({ value }) => value),
    names,
  )
})

t.test('client id, secret and origins', async (t) => {
  const check = checkCredential('client id')
  t.equal(check(' 0123abcd '), undefined)
  t.match(check(undefined), { message: 'Write the client id: ' })
  t.match(check(' '), { message: 'Write the client id: ' })
  t.match(check('abc\ndef'), { message: 'A client id has no blanks: copy it once more.' })
  t.equal(checkOrigin(' https://gateway.example '), undefined)
  t.match(checkOrigin('http://gateway.example'), { message: /https.*\.$/ })
  t.match(checkOrigin(undefined), Error)
})
