// Covers src/server/placeholder-login.ts
import t from 'tap'
import { loginSecrets } from '../../src/server/placeholder-login.ts'

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

const multipart = (name: string) =>
  `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\nk\r\n--B--\r\n`

t.test('A login sends its secret in a form, as JSON or by Basic', async (t) => {
  const form = 'application/x-www-form-urlencoded'
  const cases: [
    contentType: string | undefined,
    authorization: string | undefined,
    body: string,
    secrets: string[],
  ][] = [
    [form, undefined, 'grant_type=client_credentials&client_id=x&client_secret=k%2B1', ['k+1']],
    [undefined, undefined, 'client_secret=k', ['k']],
    ['application/json; charset=utf-8', undefined, '{"client_secret":"k"}', ['k']],
    ['application/json', undefined, '{"client_secret":7}', []],
    ['application/json', undefined, 'null', []],
    ['application/json', undefined, '{"client_secret":"k"', []],
    [form, basic('id:k%2B1'), 'grant_type=client_credentials', ['k%2B1', 'k+1']],
    [form, basic('id:k'), 'client_secret=k', ['k']],
    [form, 'Bearer k', '', []],
    [form, undefined, 'client_secret=', []],
    [form, undefined, '', []],
    ['multipart/form-data; boundary=B', undefined, multipart('client_secret'), ['k']],
    ['multipart/form-data; boundary=B', undefined, multipart('other'), []],
    ['multipart/form-data; boundary=B', undefined, multipart('client_secret"; filename="k'), []],
    ['multipart/form-data', undefined, multipart('client_secret'), []],
  ]
  for (const [contentType, authorization, body, secrets] of cases) {
    t.same(await loginSecrets({ contentType, authorization, body }), secrets, `${body} ${authorization}`)
  }
})
