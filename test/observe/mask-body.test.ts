// Covers src/observe/mask-body.ts: what looks secret in a body is `*`, wherever it is and wherever it is cut off.
import fc from 'fast-check'
import t from 'tap'
import { isSecretName } from '../../src/observe/mask.ts'
import { type BodyMask, maskBody } from '../../src/observe/mask-body.ts'

const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'

const masked = (text: string, type = JSON_TYPE, over: Partial<BodyMask> = {}) =>
  maskBody(text, { type, cut: false, showQueryValues: false, ...over })

const SECRET_NAMES =
  'password,PASSWORD,user_password,passwd,pass phrase,secret,client_secret,clientSecret,access_token,refreshToken,token,api_key,apiKey,X-Api-Key,' +
  'Authorization,private_key,x-amz-signature,X-Amz-Credential,Set-Cookie,session_id,user[password],pin,user[pin],two_factor.otp,basic auth'

t.test('names that announce a secret', async (t) => {
  for (const name of SECRET_NAMES.split(',')) t.ok(isSecretName(name), name)
  for (const name of 'id,name,passed,author,key,shipping,opinion,code,signed_at,'.split(','))
    t.notOk(isSecretName(name), name)
})

t.test('JSON', async (t) => {
  const cases: [text: string, shown: string][] = [
    ['{"id":1,"name":"x"}', '{"id":1,"name":"x"}'],
    ['{"password":"s3cr3t"}', '{"password":"*"}'],
    ['{ "Access_Token" : "s3cr3t" , "a": 1 }', '{ "Access_Token" : "*" , "a": 1 }'],
    ['[{"user":{"client_secret":"s3cr3t"}}]', '[{"user":{"client_secret":"*"}}]'],
    ['{"pin":12345,"a":[1.5e3,-2]}', '{"pin":"*","a":[1.5e3,-2]}'],
    ['{"token":null,"secret":true,"pwd":false}', '{"token":null,"secret":true,"pwd":false}'],
    ['{"tokens":["s3cr3t",{"a":["s3cr3t"]}],"b":2}', '{"tokens":"*","b":2}'],
    ['{"secret":{"a":{"b":"s3cr3t"}},"b":2}', '{"secret":"*","b":2}'],
    ['{"secret":[],"token":{},"b":{}}', '{"secret":"*","token":"*","b":{}}'],
    ['{"pass\\u0077ord":"s3cr3t"}', '{"pass\\u0077ord":"*"}'],
    ['{"password":"a\\"s3cr3t","b":"\\\\"}', '{"password":"*","b":"\\\\"}'],
    ['{"secret":"","b":1}', '{"secret":"*","b":1}'],
    // Several texts, and blanks between.
    ['{"a":1}\n{"token":"s3cr3t"}\n', '{"a":1}\n{"token":"*"}\n'],
    // Cut off.
    ['{"password":"s3c', '{"password":"*"'],
    ['{"password":', '{"password":'],
    ['{"password":123', '{"password":"*"'],
    ['{"password":tru', '{"password":"*"'],
    ['{"password":{"a":"s3c', '{"password":"*"'],
    ['{"a":"b\\u00', '{"a":"b\\u00'],
    ['{"a":"b\\', '{"a":"b\\'],
    ['{"a":tr', '{"a":tr'],
    ['{"a":1.', '{"a":1.'],
    ['{"a', '{"a'],
    // Text within.
    ['{"u":"https://h/x?X-Amz-Signature=s3cr3t\\u0026b=c"}', '{"u":"https://h/x?X-Amz-Signature=*&b=*"}'],
    ['{"u":"https:\\/\\/h\\/x","v":"why?"}', '{"u":"https:\\/\\/h\\/x","v":"why?"}'],
    ['{"u":"/rest/x?a=s3cr3t"}', '{"u":"/rest/x?a=*"}'],
    ['{"u":"https://me:s3cr3t@h/x"}', '{"u":"https://*@h/x"}'],
    ['{"u":"http://localhost:8377"}', '{"u":"http://localhost:8377"}'],
    ['{"u":"https://me:s3cr', '{"u":"https://*'],
    ['{"u":"https://h/cb#access_token=s3cr3t&a=b"}', '{"u":"https://h/cb#access_token=*&a=b"}'],
    ['{"m":"sent Bearer s3cr3t, ok"}', '{"m":"sent Bearer *, ok"}'],
    ['{"m":"Authorization: Basic s3cr3t"}', '{"m":"Authorization: *"}'],
    ['{"m":"password = \'s3cr3t s3cr3t\'; b"}', '{"m":"password = *; b"}'],
    ['{"j":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyM3QifQ.abc-_9"}', '{"j":"*"}'],
    ['{"k":"-----BEGIN RSA PRIVATE KEY-----\\ns3cr3t\\n-----END RSA PRIVATE KEY-----\\n"}', '{"k":"*\\n"}'],
    ['{"k":"-----BEGIN PRIVATE KEY-----\\ns3c', '{"k":"*'],
    ['{"m":"The token has expired"}', '{"m":"The token has expired"}'],
    ['{"m":"<p>The signature is missing</p>"}', '{"m":"<p>The signature is missing</p>"}'],
    ['{"m":"<a><token x=\'1\'>s3cr3t</token></a>"}', '{"m":"<a><token*"}'],
    ['{"password=s3cr3t":"s3cr3t"}', '{"password=*":"*"}'],
    // JSON within a string.
    ['{"j":"{\\"password\\":\\"s3cr3t\\",\\"b\\":1}"}', '{"j":"{\\"password\\":\\"*\\",\\"b\\":1}"}'],
    ['{"j":"{\\"b\\":1}"}', '{"j":"{\\"b\\":1}"}'],
    ['{"m":"[urgent] fix the roof"}', '{"m":"[urgent] fix the roof"}'],
    ['{"m":"{\'password\': \'s3cr3t\'}"}', '{"m":"{\'password\': *}"}'],
    ['{"m":"{:token=>[\\"s3cr3t\\"]} s3cr3t"}', '{"m":"{:token=>*"}'],
    // No JSON.
    ['{"a":1,password:"s3cr3t"}', '{"a":1,*'],
    ['{"a" "s3cr3t"}', '{"a" *'],
    ['{"a":\'s3cr3t\'}', '{"a":*'],
    ['{"a":s3cr3t}', '{"a":*'],
    ['{"a":"\\x s3cr3t"}', '{"a":*'],
    ['{"\\x":"s3cr3t"}', '{*'],
    ['{"a":1]', '{"a":1*'],
    ['{"secret":"s3cr3t" s3cr3t', '{"secret":"*" *'],
    ['{"secret":{s3cr3t', '{"secret":"*"'],
    ['s3cr3t', '*'],
    ['<html>s3cr3t', '*'],
  ]
  for (const [text, shown] of cases) t.equal(masked(text, JSON_TYPE, { cut: true }), shown, text)
  t.equal(masked('{"a":tru'), '{"a":*', 'not cut off: broken')
  const deep = (text: string, times: number): string =>
    times === 0 ? text : JSON.stringify({ j: deep(text, times - 1) })
  for (const times of [1, 2, 3, 4, 5, 6])
    t.notMatch(masked(deep('{"password":"s3cr3t"}', times)), 's3cr3t', `${times} times within a string`)
  t.match(masked(deep('{"a":"plain"}', 6)), 'plain')
  t.equal(masked('['.repeat(2048), JSON_TYPE, { cut: true }), '['.repeat(2048))
})

t.test('forms', async (t) => {
  const cases: [text: string, shown: string][] = [
    ['a=b&c=d%20e', 'a=b&c=d%20e'],
    [
      'grant_type=x&client_secret=s3cr3t&client_id=1&Refresh_Token=s3cr3t',
      'grant_type=x&client_secret=*&client_id=1&Refresh_Token=*',
    ],
    ['user%5Bpassword%5D=s3cr3t', 'user%5Bpassword%5D=*'],
    ['pass%77ord=s3cr3t', 'pass%77ord=*'],
    ['password=', 'password='],
    ['a=1&s3cr3t', 'a=1&*'],
    ['a=1&', 'a=1&'],
    ['u=https%3A%2F%2Fh%2Fx%3Fsig%3Ds3cr3t&b=1', 'u=*&b=1'],
    ['p=%7B%22password%22%3A%22s3cr3t%22%7D', 'p=*'],
    ['a=1;password=s3cr3t', 'a=*'],
    ['u=http%3A%2F%2Fh%3A80&v=http%3A%2F%2Fme%3As3cr', 'u=http%3A%2F%2Fh%3A80&v=*'],
    // What curl sends where no type was given.
    ['{"password":"s3cr3t","a":1}', '{"password":"*","a":1}'],
    ['{"a":1,"password":"s3cr3t" s3cr3t', '*'],
    ['{"a":"b=c","password":"s3cr3t" s3cr3t', '{"a":"b=*'],
  ]
  for (const [text, shown] of cases) t.equal(masked(text, FORM, { cut: true }), shown, text)
})

t.test('other text is shown up to the first word that announces a secret', async (t) => {
  const cases: [type: string, text: string, shown: string][] = [
    ['text/plain', 'Not found: https://h/x?sig0=s3cr3t', 'Not found: https://h/x?sig0=*'],
    ['text/plain', 'id 1\npassword: s3cr3t\nmore', 'id 1\npassword*'],
    ['text/plain', 'no password', 'no password'],
    ['text/csv', 'name,token\nx,s3cr3t', 'name,token*'],
    ['text/plain', 'Bearer s3cr3t', 'Bearer*'],
    ['text/plain', 'https://me:s3cr3t@h/ token', 'https://*@h/ token'],
    ['application/xml', '<u><n>x</n><Password>s3cr3t</Password></u>', '<u><n>x</n><Password*'],
    ['text/html', '<p>x</p><input name="pin" value="s3cr3t">', '<p>x</p><input name="pin*'],
    ['text/plain', '{"password":"s3cr3t"}', '{"password":"*"}'],
    ['text/plain', '[12:00] password: s3cr3t', '[12:00] password*'],
  ]
  for (const [type, text, shown] of cases) t.equal(masked(text, type), shown, text)
})

t.test('with query values shown, those under telling names are not', async (t) => {
  const shown = { showQueryValues: true }
  t.equal(
    masked('{"u":"https://h/x?page=2&X-Amz-Signature=s3cr3t&b=c"}', JSON_TYPE, shown),
    '{"u":"https://h/x?page=2&X-Amz-Signature=*&b=c"}',
  )
  t.equal(masked('u=https://h/x?page=2', FORM, shown), 'u=https://h/x?page=2')
})

// --- properties --------------------------------------------------------------------------------------------------------

const SECRET = 'S3CR3Tvalue'
/** As little of it as must not be seen. */
const PART = SECRET.slice(0, 4)

const telling = fc
  .constantFrom('password', 'secret', 'client_secret', 'access_token', 'refresh_token', 'token', 'api_key')
  .chain((name) => {
    return fc.constantFrom(...[name, name.toUpperCase(), `user_${name}`, `${name}s`], `x.${name}.y`)
  })

/** A secret, or something with one in it. */
const planted = fc.oneof(
  fc.constant(SECRET),
  fc.string({ maxLength: 5 }).map((before) => before + SECRET),
  fc.array(fc.constant(SECRET), { minLength: 1, maxLength: 3 }),
  fc.dictionary(fc.string({ maxLength: 4 }), fc.constant(SECRET), { minKeys: 1, maxKeys: 3 }),
)

const harmless = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.webUrl({ withQueryParameters: true }),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
)

/** JSON with a secret under a telling name, at any depth, with anything around; also as JSON within a string. */
const { tree } = fc.letrec<{ tree: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.tuple(telling, planted).map(([name, value]) => ({ [name]: value })),
  tree: fc.oneof(
    { maxDepth: 6, depthSize: 'large' },
    tie('leaf'),
    fc
      .tuple(fc.array(harmless, { maxLength: 3 }), tie('tree'), fc.array(harmless, { maxLength: 3 }))
      .map(([before, value, after]) => [...before, value, ...after]),
    fc
      .tuple(fc.dictionary(fc.string({ unit: 'binary', maxLength: 6 }), harmless), tie('tree'))
      .map(([around, value]) => ({ ...around, inner: value, last: 1 })),
    tie('tree').map((value) => ({ text: JSON.stringify(value) })),
  ),
}))

/** JSON as somebody may have written it: blanks, and letters of it as escapes. */
const written = fc
  .tuple(tree, fc.constantFrom(undefined, 1, '\t'), fc.boolean())
  .map(([value, indent, escapes]) => {
    const text = JSON.stringify(value, null, indent)
    return escapes
      ? text.replace(/(?<=")(?:pass|secr|to)/g, (part) => `\\u00${hex(part[0]!)}${part.slice(1)}`)
      : text
  })

function hex(letter: string): string {
  return letter.charCodeAt(0).toString(16)
}

const anyType = fc.constantFrom(JSON_TYPE, FORM, 'text/plain', 'application/vnd.api+json')

t.test('a secret under a telling name never shows in JSON, wherever it is or is cut off', async (t) => {
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(written, share, anyType, fc.boolean(), (text, share, type, showQueryValues) => {
      const cut = share < 0.9
      const excerpt = cut ? text.slice(0, Math.floor((share / 0.9) * text.length)) : text
      return !maskBody(excerpt, { type, cut, showQueryValues }).includes(PART)
    }),
    { numRuns: 3_000 },
  )
  t.pass()
})

t.test('nor in a form', async (t) => {
  const pair = fc.tuple(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }))
  fc.assert(
    fc.property(fc.array(pair), telling, fc.array(pair), fc.nat(), (before, name, after, at) => {
      const text = new URLSearchParams([...before, [name, SECRET], ...after]).toString()
      const excerpt = text.slice(0, at % (text.length + 1))
      return !maskBody(excerpt, { type: FORM, cut: true, showQueryValues: true }).includes(PART)
    }),
    { numRuns: 1_000 },
  )
  t.pass()
})

t.test('what holds no secret stays as it is, and what is masked is JSON still', async (t) => {
  const plain = fc.array(
    fc.record({
      id: fc.integer(),
      name: fc.constantFrom('Roof', 'Café', 'a "b"'),
      tags: fc.array(fc.nat()),
    }),
  )
  fc.assert(
    fc.property(plain, fc.nat(), (value, at) => {
      const text = JSON.stringify(value)
      const excerpt = text.slice(0, at % (text.length + 1))
      return maskBody(excerpt, { type: JSON_TYPE, cut: true, showQueryValues: false }) === excerpt
    }),
  )
  fc.assert(
    fc.property(written, (text) => {
      JSON.parse(maskBody(text, { type: JSON_TYPE, cut: false, showQueryValues: false }))
    }),
  )
  t.pass()
})
