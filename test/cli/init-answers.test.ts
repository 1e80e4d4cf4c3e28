// What may be answered to the questions of `init`.
import t from 'tap'
import {
  checkCredential,
  checkOrigin,
  ENVIRONMENTS,
  guessEnvironment,
  readCompany,
} from '../../src/cli/init-answers.ts'
import { BUILT_IN_ENVIRONMENTS } from '../../src/config/environments.ts'

t.test('the company: its id, or the address of one of its pages', async (t) => {
  const good: [string, string][] = [
    ['7656', '7656'],
    [' 562949953443325 ', '562949953443325'],
    ['https://app.procore.com/7656/company/home/list', '7656'],
    ['https://us02.procore.com/562949953443325/company/home', '562949953443325'],
    ['app.procore.com/7656/company', '7656'],
    ['https://app.procore.com/webclients/host/companies/7656/tools/hubs?a=1#b', '7656'],
    ['https://app.procoregov.com/12/company/home/list', '12'],
  ]
  for (const [answer, id] of good) t.equal(readCompany(answer), id, answer)
  const bad: [string | undefined, RegExp][] = [
    [undefined, /digits of the id, or paste/],
    ['', /digits of the id/],
    ['Acme Construction', /digits of the id/],
    ['76 56', /digits of the id/],
    ['123456789012345678901', /digits of the id/],
    ['https://app.procore.com/', /digits of the id/],
    ['https://app.procore.com/123/project/home', /a project's address/],
    ['file:///7656/company', /digits of the id/],
  ]
  for (const [answer, message] of bad) {
    const error = readCompany(answer)
    t.ok(error instanceof Error, String(answer))
    t.match(error, { message })
  }
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
  t.match(check('abc\ndef'), { message: 'A client id holds no blanks: copy it once more.' })
  t.equal(checkOrigin(' https://gateway.example '), undefined)
  t.match(checkOrigin('http://gateway.example'), { message: /https.*\.$/ })
  t.match(checkOrigin(undefined), Error)
})
