// Covers src/observe/likely-causes.ts: the one cause that Procore's text tells, else the likely ones.
import t from 'tap'
import { causeOf, causeText, likelyCauses, REFUSED_CREDENTIALS } from '../../src/observe/likely-causes.ts'

t.test('each format of Procore’s error bodies tells its cause', async (t) => {
  const json = JSON.stringify
  const cases: [status: number, body: string, cause: RegExp | undefined][] = [
    [403, json({ errors: ['App is not connected to this company.'] }), /^The app is not connected/],
    [403, json({ errors: 'App is not connected to this company.' }), /^The app is not connected/],
    [403, json({ errors: { base: ['The app is not installed'] } }), /^The app is not connected/],
    [401, json({ error: 'App is Not Connected to this Company' }), /^The app is not connected/],
    [
      403,
      json({ message: 'You do not have permission to view this.' }),
      /^The service account has no permission/,
    ],
    [403, json({ error: { code: 'FORBIDDEN', message: 'User does not have access' } }), /has no permission/],
    [
      403,
      json({ error: { code: 'FORBIDDEN', message: 'No.', details: [{ message: 'Tool is not enabled' }] } }),
      /^The tool is switched off/,
    ],
    [
      401,
      json({ errors: 'Company or project is not valid, user is not an active contact' }),
      /contact was added/,
    ],
    [404, 'Missing Procore-Company-Id header!\n\nEach call …', /^The Procore-Company-Id header/],
    [
      403,
      json({ errors: ['App is not connected to this company.'] }).slice(0, -2),
      /^The app is not connected/,
    ],
    [403, json({ error: { code: 'FORBIDDEN', message: 'Forbidden' } }), undefined],
    [403, json({ name: 'App is not connected to this company.' }), undefined],
    [403, '', undefined],
    [403, 'null', undefined],
    [401, json({ error: 'The access token is invalid' }), undefined],
    [200, json({ errors: ['App is not connected to this company.'] }), undefined],
    [403, json({ errors: [[[[[['App is not connected to this company.']]]]]] }), undefined],
    [403, json({ errors: [...Array(60).fill('x'), 'App is not connected to this company.'] }), undefined],
  ]
  for (const [status, body, cause] of cases) {
    const found = causeOf(status, body)
    if (cause === undefined) t.equal(found, undefined, body)
    else t.match(found?.cause, cause, body)
    if (cause !== undefined) t.strictSame(likelyCauses(status, body), [found])
  }
})

t.test('without a telling text each status has its likely causes, as whole sentences', async (t) => {
  const first = (status: number) => likelyCauses(status)[0]?.cause
  t.match(first(401), 'secret was reset')
  t.match(first(403), 'permissions are still None')
  t.match(first(404), 'company id is wrong')
  for (const part of ['not connected', 'secret was reset', 'email was edited', 'traditional'])
    for (const status of [401, 403]) t.match(likelyCauses(status).map(causeText).join(' '), part)
  for (const status of [200, 400, 422, 429, 500]) t.strictSame(likelyCauses(status), [])
  for (const each of [...[401, 403, 404].flatMap((status) => likelyCauses(status)), ...REFUSED_CREDENTIALS]) {
    t.match(each.cause, /^[A-Z].*\.$/s)
    t.match(each.fix, /^[A-Z].*\.$/s)
  }
})
