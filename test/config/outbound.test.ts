// Covers src/config/outbound.ts and the section `network` from the file and variables to the Config.
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { holdsCredentials, noProxyEntries, parseNoProxy, parseProxyUrl } from '../../src/config/outbound.ts'
import { ConfigFolder, oneCompany } from '../fixtures/config-folder.ts'
import { pem } from '../fixtures/tls.ts'

const CA = pem('ca.pem')
const network = (text: string) => oneCompany(`network: ${text}\n`)
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

t.test("a proxy's URL", async (t) => {
  const good: [string, string, string?][] = [
    ['http://proxy.example:3128', 'http://proxy.example:3128'],
    ['http://Proxy.Example:3128/', 'http://proxy.example:3128'],
    ['https://proxy.example', 'https://proxy.example'],
    [' http://proxy.example:3128\n', 'http://proxy.example:3128'],
    ['proxy.example:3128', 'http://proxy.example:3128'],
    [' proxy.example:3128\n', 'http://proxy.example:3128'],
    ['10.0.0.1:3128', 'http://10.0.0.1:3128'],
    ['[::1]:3128', 'http://[::1]:3128'],
    ['HTTP://user:pass@proxy:1', 'http://proxy:1', 'user:pass'],
    ['user:pass@proxy:1', 'http://proxy:1', 'user:pass'],
    ['http://user@proxy:1', 'http://proxy:1', 'user:'],
    ['http://:pass@proxy:1', 'http://proxy:1', ':pass'],
    ['http://us%C3%A9r:p%40%3A%2Fs@proxy:1', 'http://proxy:1', 'usér:p@:/s'],
    ['http://user:p:w@proxy:1', 'http://proxy:1', 'user:p:w'],
  ]
  for (const [text, origin, credentials] of good) {
    const authorization = credentials === undefined ? undefined : basic(credentials)
    t.strictSame(parseProxyUrl(text), { origin, authorization }, text)
  }
  const logins = ['user:s3cret%', 'user%zz:s3cret', 'us%3Aer:s3cret', 'user:s3cret%0A', 'user%7F:s3cret']
  const noUrls =
    ' http:// http:proxy:3128 http:/s3cret@proxy http://proxy:99999 http://user:s3#cret@proxy:1 http://user:s3cret@proxy:1/path http://proxy:1/?s3cret http://proxy:1/#s3cret'
  const schemes = ['socks5://user:s3cret@proxy:1080', 'ftp://proxy', 'xhttp://proxy', 'httpx://proxy']
  const bad: [RegExp, string[]][] = [
    [/it is not the URL of a proxy/, noUrls.split(' ')],
    [/proxies with the scheme "(socks5|ftp|xhttp|httpx)" are not supported/, schemes],
    [/can't be sent/, logins.map((login) => `http://${login}@proxy:1`)],
  ]
  for (const [message, texts] of bad)
    for (const text of texts) {
      const mistake = parseProxyUrl(text)
      t.match(mistake, { message, fix: /.+/ }, text)
      t.notMatch(JSON.stringify(mistake), /s3cret|s3#/, text)
    }
  t.ok(holdsCredentials('http://user:pw@proxy:1'))
  t.notOk(holdsCredentials('http://proxy:1'))
})

t.test('hosts that are reached without it', async (t) => {
  const good: [string, string, number?][] = [
    ['*', '*'],
    ['example.com', 'example.com'],
    ['.Example.com.', 'example.com'],
    ['*.example.com:8443', 'example.com', 8443],
    ['10.0.0.1:80', '10.0.0.1', 80],
    ['::1', '[::1]'],
    ['[2001:DB8::0]:443', '[2001:db8::]', 443],
  ]
  for (const [text, host, port] of good) t.strictSame(parseNoProxy(text), { host, port }, text)
  for (const text of ['', '*.', 'http://a.b', 'a/b', '10.0.0.0/8', 'a:b', 'a:123456', 'a b', '1.2', 'a.*']) {
    t.match(parseNoProxy(text), { message: /is neither a host name nor/, fix: /subdomains/ }, text)
  }
  t.strictSame(noProxyEntries(' a.b, .c.d  10.0.0.0/8,*,\t'), ['a.b', '.c.d', '*'])
})

t.test('without any of it: no proxy, no hosts, no certificates', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const { network: bare } = await folder.load(oneCompany())
  t.match(bare, { proxy: undefined, noProxy: { length: 0 }, certificates: { length: 0 }, key: /^.{43}$/ })
  t.equal((await folder.load(oneCompany('network:\n'))).network.key, bare.key)
  t.equal((await folder.load(network('{ proxy: none }'))).network.key, bare.key)
  t.ok(Object.isFrozen(bare) && Object.isFrozen(bare.noProxy))
})

t.test('the proxy, from all the places a secret may be in', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  folder.write('url', 'http://u:s3cret@proxy:1\n')
  const command = JSON.stringify([process.execPath, '-p', '"http://u:s3cret@proxy:1"'])
  const env = { PROXY: 'http://u:s3cret@proxy:1', HTTPS_PROXY: 'http://other:1' }
  const program = `{ command: ${command}, timeout: 60s }`
  for (const source of ['http://u:s3cret@proxy:1', '{ env: PROXY }', '{ file: url }', program]) {
    const config = await folder.load(network(`{ proxy: ${source} }`), { env })
    t.equal(config.network.proxy?.origin, 'http://proxy:1', source)
    t.equal(config.network.proxy?.authorization?.reveal(), basic('u:s3cret'), source)
    for (const text of [inspect(config, { depth: 9 }), JSON.stringify(config)]) {
      t.notMatch(text, 's3cret')
      t.notMatch(text, basic('u:s3cret').slice(6))
    }
  }
  const { watchedFiles } = await folder.load(network('{ proxy: { file: url } }'))
  t.ok(watchedFiles.includes(join(folder.path, 'url')))
})

t.test('a key beats the variables, small letters beat capitals, empty is not set', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const cases: [string, NodeJS.ProcessEnv, string | undefined, string][] = [
    ['{}', { HTTPS_PROXY: 'http://upper:1' }, 'http://upper:1', ''],
    ['{}', { https_proxy: 'http://lower:1', HTTPS_PROXY: 'http://upper:1' }, 'http://lower:1', ''],
    ['{}', { https_proxy: '', HTTPS_PROXY: 'http://upper:1' }, 'http://upper:1', ''],
    ['{}', { HTTPS_PROXY: ' ' }, undefined, ''],
    ['{}', { HTTP_PROXY: 'http://upper:1', ALL_PROXY: 'http://upper:1' }, undefined, ''],
    ['{ proxy: http://key:1 }', { HTTPS_PROXY: 'http://upper:1' }, 'http://key:1', ''],
    ['{ proxy: none }', { HTTPS_PROXY: 'http://upper:1' }, undefined, ''],
    ['{}', { HTTPS_PROXY: 'none' }, undefined, ''],
    ['{}', { NO_PROXY: 'a.b,10.0.0.0/8,c.d:1' }, undefined, 'a.b,c.d:1'],
    ['{}', { no_proxy: 'x.y', NO_PROXY: 'a.b' }, undefined, 'x.y'],
    ['{ noProxy: [k.l] }', { NO_PROXY: 'a.b' }, undefined, 'k.l'],
    ['{ noProxy: [] }', { NO_PROXY: 'a.b' }, undefined, ''],
    ['{ proxy: http://key:1 }', { NO_PROXY: 'a.b' }, 'http://key:1', 'a.b'],
  ]
  for (const [text, env, origin, noProxy] of cases) {
    const { network: settings } = await folder.load(network(text), { env })
    const hosts = settings.noProxy.map(({ host, port }) => (port ? `${host}:${port}` : host)).join()
    t.strictSame([settings.proxy?.origin, hosts], [origin, noProxy], `${text} ${JSON.stringify(env)}`)
  }
  const pieces = { PROCORE_COMPANY_ID: '1', PROCORE_CLIENT_ID: 'id', PROCORE_CLIENT_SECRET: 's3cret' }
  folder.write('procore-proxy.yaml', '')
  const env = { ...pieces, HTTPS_PROXY: 'http://upper:1' }
  const { proxy } = (await folder.load(undefined, { env })).network
  t.strictSame(proxy, { origin: 'http://upper:1', authorization: undefined })
})

t.test('mistakes, at their place and with their fix', async (t) => {
  const folder = new ConfigFolder(t.testdir({ sub: {} }))
  folder.write('empty.pem', '')
  folder.write('key.pem', pem('good.key'))
  folder.write('broken.pem', CA.replace(/MII/, 'MIX'))
  folder.write('open', 'http://u:s3cret@proxy:1', 0o644)
  const file = 'FOLDER/procore-proxy.yaml:5:'
  const env = { HTTPS_PROXY: 's3cret socks', https_proxy: 'socks5://s3cret@a' }
  const cases: Record<string, string | RegExp> = {
    x: /^\S+:5:1 network: /,
    '{ prox: none }': /network\.prox: is not a known key/,
    '{ proxy: ~ }': /network\.proxy: is empty\. Write \{env: NAME\}/,
    '{ proxy: [] }': /network\.proxy: is neither text nor one of/,
    '{ proxy: 3128 }': /network\.proxy: is neither text/,
    '{ proxy: "" }': /network\.proxy: /,
    '{ proxy: "http://u:s3cret#@proxy" }':
      /^\S+:5:12 network\.proxy: it is not the URL of a proxy\. Write http:/,
    '{ proxy: "socks5://u:s3cret@proxy" }': /network\.proxy: proxies with the scheme "socks5" .*write none$/,
    '{ proxy: { env: PROXY } }': /network\.proxy: the variable PROXY is not set/,
    '{ proxy: { file: open } }': /network\.proxy: other users can read FOLDER\/open/,
    '{ noProxy: a.b }': /network\.noProxy: must be a list\. Write a list/,
    '{ noProxy: [a.b, 10.0.0.0/8] }': /network\.noProxy\[1\]: "10\.0\.0\.0\/8" is neither a host name/,
    '{ noProxy: [1] }': /network\.noProxy\[0\]: must be a host name/,
    '{ caFile: "" }': /network\.caFile: /,
    '{ caFile: none.pem }': `${file}12 network.caFile: FOLDER/none.pem does not exist. Create it, or correct the path`,
    '{ caFile: sub }': /network\.caFile: FOLDER\/sub is a folder/,
    '{ caFile: empty.pem }': /network\.caFile: FOLDER\/empty\.pem has no certificate in it\. Save the CA/,
    '{ caFile: key.pem }': /network\.caFile: FOLDER\/key\.pem has no certificate in it/,
    '{ caFile: broken.pem }': /network\.caFile: FOLDER\/broken\.pem has a broken certificate in it/,
    HTTPS_PROXY: /^HTTPS_PROXY: it is not the URL of a proxy/,
    https_proxy: /^https_proxy: proxies with the scheme/,
  }
  for (const [text, expected] of Object.entries(cases)) {
    const variable = Object.entries(env).filter(([name]) => name === text)
    const yaml = network(variable.length > 0 ? '{}' : text)
    const message = await folder.message(yaml, { env: Object.fromEntries(variable) })
    t.match(message, expected, text)
    t.notMatch(message, 's3cret', text)
    t.notMatch(message, '\n', 'one mistake, told once')
  }
})

t.test("a password in the file's own URL is refused where other users can read it", async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const yaml = (proxy: string) =>
    `companies: { acme: { id: "1", serviceAccount: { clientId: a, clientSecret: { env: S } } } }\nnetwork: { proxy: ${proxy} }\n`
  const message = (proxy: string, mode: number) => {
    folder.write('procore-proxy.yaml', yaml(proxy), mode)
    return folder.message(undefined, { env: { S: 's', P: 'http://u:pw@proxy:1' } })
  }
  for (const mode of [0o644, 0o640, 0o604]) {
    t.match(await message('http://u:pw@proxy:1', mode), /network\.proxy: a secret is written here.*chmod 600/)
  }
  t.equal(await message('http://u:pw@proxy:1', 0o600), '')
  t.equal(await message('http://proxy:1', 0o644), '')
  t.equal(await message('{ env: P }', 0o644), '')
})

t.test('certificates: PEM or DER, one or many, relative to the file, watched', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const good = pem('good.pem')
  folder.write('etc/one.pem', CA)
  const windows = CA.replaceAll('\n', '\r\n')
  folder.write('etc/two.pem', `\ufeff# ours\r\n${windows}\n# and another\n${good}${pem('good.key')}`)
  writeFileSync(join(folder.path, 'etc/ca.cer'), new X509Certificate(CA).raw)
  const load = async (name: string) => {
    const file = folder.write('etc/proxy.yaml', network(`{ caFile: ${name} }`))
    return folder.load(undefined, { flags: { config: file } })
  }
  const one = await load('one.pem')
  t.strictSame(one.network.certificates, [CA])
  t.ok(Object.isFrozen(one.network.certificates))
  t.strictSame(one.watchedFiles, [join(folder.path, 'etc/proxy.yaml'), join(folder.path, 'etc/one.pem')])
  t.strictSame((await load('two.pem')).network.certificates, [CA, good])
  t.strictSame((await load('ca.cer')).network.certificates, [CA])
  t.strictSame((await load(join(folder.path, 'etc/one.pem'))).network.certificates, [CA])
  const wrong = network('{ caFile: none.pem, proxy: { env: NONE } }')
  const unread = await folder.load(wrong, { resolveSecrets: false })
  t.match(unread.network, { proxy: undefined, certificates: { length: 0 } }, 'read only where secrets are')
})

t.test('the key differs with everything that counts', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  folder.write('ca.pem', CA)
  folder.write('good.pem', pem('good.pem'))
  const proxies = ['http://proxy:1', 'http://proxy:2', 'http://u:a@proxy:1', 'http://u:b@proxy:1']
  const others = [
    '{}',
    '{ noProxy: [a.b] }',
    '{ noProxy: ["a.b:1"] }',
    '{ caFile: ca.pem }',
    '{ caFile: good.pem }',
  ]
  const texts = [...others, ...proxies.map((proxy) => `{ proxy: "${proxy}" }`)]
  const keys = new Set<string>()
  for (const text of texts) keys.add((await folder.load(network(text))).network.key)
  t.equal(keys.size, texts.length)
})
