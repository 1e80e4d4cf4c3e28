// What must never leave: the bearer to another origin, and secrets, tokens, keys and signatures into any text.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { attack, getOf, head, type Outcome, UNLIMITED } from '../fixtures/attacker.ts'
import { run, runToEnd, startPlace } from '../fixtures/cli.ts'
import { type RigOptions, settingsFor, startRig } from '../fixtures/proxy.ts'
import { startRawUpstream } from '../fixtures/raw-upstream.ts'
import { words } from '../fixtures/words.ts'

/** Made to be found again wherever they turn up. */
const CLIENT = { clientId: 'leak-client-id', clientSecret: 'L3ak/cl1ent+s3cret=="x' }
const KEYS = ['l3ak-client-key-one', 'l3ak-client-key-two']
const COMPANIES = ['7656', '562949953443325', '90210']
const FAKE: RigOptions['fake'] = { ...UNLIMITED, clients: [{ ...CLIENT, companyIds: COMPANIES }] }

/** The ways in which a secret may have been written. */
function writings(secret: string): string[] {
  return [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams({ s: secret }).toString().slice(2),
    JSON.stringify(secret).slice(1, -1),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('base64url'),
    Buffer.from(secret).toString('hex'),
    Buffer.from(`${CLIENT.clientId}:${secret}`).toString('base64'),
  ]
}

/** Fails if a text contains one of the secrets, in any encoding. */
function holdsNone(t: Test, texts: Readonly<Record<string, string>>, secrets: readonly string[]): void {
  for (const [where, text] of Object.entries(texts)) {
    for (const secret of secrets) {
      t.ok(secret.length >= 8, 'a secret that would be found')
      for (const writing of writings(secret)) {
        const at = text.indexOf(writing)
        t.equal(
          at,
          -1,
          `${where} holds a secret${at === -1 ? '' : `: …${text.slice(Math.max(0, at - 80), at)}[HERE]`}`,
        )
      }
    }
  }
}

// Go CVE-2023-45289, Deno CVE-2025-21620
t.test('a redirect is passed on, never followed: the bearer stays with the API', async (t) => {
  const thief = await startRawUpstream(
    t,
    (_request, socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  )
  const rig = await startRig(t, { fake: UNLIMITED! })
  const locations = [
    `${thief.url}/steal`,
    `//${new URL(thief.url).host}/steal`,
    `${rig.fake.storageUrl}/fas/api/v5/files/1.pdf`,
    `${rig.fake.apiUrl}@${new URL(thief.url).host}/steal`,
    `/\\${new URL(thief.url).host}/steal`,
    `${rig.fake.apiUrl}/rest/v1.0/me`,
  ]
  for (const status of [300, 301, 302, 303, 305, 307, 308]) {
    for (const location of locations) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        rig.fake.faults.clear()
        rig.fake.faults.api.push({
          match: '/rest/v1.0/moved',
          status,
          headers: { Location: location, Refresh: `0; url=${thief.url}` },
          body: 'moved',
        })
        const outcome = await attack(
          rig,
          head(
            `${method} /acme/rest/v1.0/moved HTTP/1.1`,
            'Host: localhost',
            'Connection: close',
            'Content-Length: 0',
          ),
        )
        t.equal(outcome.verdict, `${status}`)
        t.equal(outcome.seen.length, 1, 'sent once')
        t.notMatch(outcome.text, /bearer/i)
        if (location.startsWith(thief.url)) t.strictSame(outcome.answers[0]?.values('location'), [location])
      }
    }
  }
  t.equal(thief.requests.length, 0, 'the other origin saw nothing')
  t.equal(rig.fake.journal.storage().length, 0, 'nor did the file host')
})

// SSRF; Entra PR #3794’s class
t.test('no Host, target or header of a caller sends the bearer elsewhere', async (t) => {
  const thief = await startRawUpstream(
    t,
    (_request, socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  )
  const rig = await startRig(t, { fake: UNLIMITED! })
  const { host, port } = new URL(thief.url)
  for (const bytes of [
    getOf(`${thief.url}/acme/rest/v1.0/me`),
    head('GET /acme/rest/v1.0/me HTTP/1.1', `Host: ${host}`, 'Connection: close'),
    head(`GET ${thief.url}/acme/rest/v1.0/me HTTP/1.1`, `Host: ${host}`, 'Connection: close'),
    getOf(`//${host}/rest/v1.0/me`),
    getOf(`/acme/rest/@${host}/`),
    getOf(`/acme/rest/v1.0/http://${host}/`),
    getOf(`/${host}/rest/v1.0/me`),
    getOf(`/acme/rest/v1.0/me?url=${thief.url}`),
    getOf(
      '/acme/rest/v1.0/me',
      `X-Forwarded-Host: ${host}`,
      `Forwarded: host=${host}`,
      `X-Original-URL: ${thief.url}`,
      `X-Rewrite-URL: ${thief.url}`,
    ),
    getOf('/acme/rest/v1.0/me', `Procore-Proxy-Upstream: ${thief.url}`, `Procore-Proxy-Environment: sandbox`),
    getOf(`/_proxy/files/${host}/steal`),
    getOf(`/acme/_proxy/files/${host}/steal`),
    getOf(`/acme/_proxy/files/127.0.0.1:${port}/steal`),
    getOf(`/acme/_proxy/files/${host}%2fsteal`),
    head(`CONNECT ${host} HTTP/1.1`, `Host: ${host}`),
  ]) {
    const { text } = await attack(rig, bytes, { patienceMs: 1_000 })
    t.notMatch(text, new RegExp(rig.fake.issuedTokens().join('|')))
  }
  t.equal(thief.requests.length, 0)
  for (const entry of rig.fake.journal.api()) t.equal(entry.headers['host'], new URL(rig.fake.apiUrl).host)
})

// Nor a token, key or signature.
t.test('everything fails at trace level, and neither log nor responses contain a secret', async (t) => {
  const rig = await startRig(t, {
    fake: FAKE,
    logLevel: 'trace',
    settings: {
      serviceAccounts: { app: CLIENT },
      guard: { clientKeys: KEYS },
      upstream: { responseTimeout: '500ms', connections: 2, maxQueued: 1, retries: 0 },
      rateLimit: { whenExhausted: 'reject', maxWait: '1s' },
    },
  })
  const { fake } = rig
  const key = `Procore-Proxy-Key: ${KEYS[0]}`
  const answers: string[] = []
  const say = async (bytes: string): Promise<Outcome> => {
    const outcome = await attack(rig, bytes, { patienceMs: 1_200 })
    answers.push(outcome.text)
    return outcome
  }
  const call = (path: string, ...lines: string[]) => say(getOf(path, key, ...lines))
  const sig = 'l3ak-signature-of-a-file'
  const secrets = [
    CLIENT.clientSecret,
    ...KEYS,
    sig,
    'l3ak-callers-own-bearer',
    'l3ak-callers-cookie',
    'l3ak-body-of-token',
  ]
  t.equal((await call('/acme/rest/v1.0/me')).verdict, '200')
  await call(
    `/acme/rest/v1.0/files/1?sig=${sig}&X-Amz-Signature=${sig}&access_token=${sig}`,
    'Authorization: Bearer l3ak-callers-own-bearer',
    'Cookie: a=l3ak-callers-cookie',
  )
  await call(`/nowhere?sig=${sig}`, 'Referer: http://x/?sig=l3ak-callers-cookie')
  await call(`/acme/rest/../x?sig=${sig};x=${sig}&${sig}=1`.replace(`&${sig}=1`, ''))
  await call(`/acme/rest/v1.0/x?company_id=999&sig=${sig}`)
  await call('/acme/rest/v1.0/me', `Procore-Company-Id: ${CLIENT.clientSecret}`)
  await call(`/acme/rest/v1.0/me?company_id=${fake.issuedTokens()[0]}`)
  await call('/acme/rest/v1.0/me', `Origin: ${CLIENT.clientSecret}`)
  await say(`GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: ${KEYS[1]?.toUpperCase()}\r\n${key}\r\n\r\n`)
  await say(getOf(`/acme/rest/v1.0/me?sig=${sig}`, `Procore-Proxy-Key: ${KEYS[0]}wrong`))
  await say(getOf('/acme/rest/v1.0/me', key, `Procore-Proxy-Key: ${KEYS[1]}`))
  await say(
    getOf(
      '/acme/rest/v1.0/me',
      key,
      `Origin: http://evil.com`,
      'Authorization: Bearer l3ak-callers-own-bearer',
    ),
  )
  await say(`GET /acme/rest/v1.0/me?sig=${sig} HTTP/1.1\r\nHost: localhost\r\n${key}\r\nbad header\r\n\r\n`)
  await say(`GET /${'x'.repeat(40_000)}?sig=${sig} HTTP/1.1\r\nHost: localhost\r\n${key}\r\n\r\n`)
  const faults = [
    () => fake.faults.reset('before'),
    () => fake.faults.reset('mid-body'),
    () => fake.faults.hang('before'),
    () => fake.faults.unauthorized(),
    () => fake.faults.notConnected(),
    () => fake.faults.rateLimited(1),
    () => fake.faults.unavailable(1),
    () => void fake.faults.api.push({ raw: 'rubbish\r\n\r\n' }),
    () => void fake.faults.api.push({ raw: `HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n` }),
    () =>
      void fake.faults.api.push({
        status: 302,
        headers: { Location: `https://s3.example/x?sig=${sig}`, 'Set-Cookie': `s=${sig}` },
        body: '',
      }),
  ]
  for (const fault of faults) {
    fake.faults.clear()
    fault()
    const outcome = await call('/acme/rest/v1.0/projects', 'Authorization: Bearer l3ak-callers-own-bearer')
    // Procore's own Location is for the caller; it must not get into the log.
    if (outcome.answers[0]?.status === 302) answers.pop()
  }
  fake.faults.clear()
  fake.faults.hang('before')
  answers.push(
    ...(
      await Promise.all(
        Array.from({ length: 8 }, () => attack(rig, getOf('/acme/rest/v1.0/me', key), { patienceMs: 1_200 })),
      )
    ).map(({ text }) => text),
  )
  fake.faults.clear()
  fake.faults.token = { status: 500, body: '{"access_token":"l3ak-body-of-token"}' }
  fake.revokeTokens()
  await call('/acme/rest/v1.0/me')
  fake.faults.token = { status: 200, body: '<html>l3ak-body-of-token</html>' }
  fake.revokeTokens()
  await call('/acme/rest/v1.0/me')
  fake.faults.token = undefined
  await rig.reload(
    settingsFor(fake, {
      serviceAccounts: { app: { ...CLIENT, clientSecret: `${CLIENT.clientSecret}2` } },
      guard: { clientKeys: KEYS },
    }),
  )
  await call('/acme/rest/v1.0/me')
  for (const path of words`
      /_proxy/health/live /_proxy/status /_proxy/metrics /_proxy/ /oauth/token /oauth/token/info
    `) {
    answers.push((await attack(rig, getOf(path, key), { patienceMs: 500 })).text)
  }
  t.ok(fake.issuedTokens().length > 0)
  t.ok(rig.log().length > 20, 'the log said much')
  holdsNone(t, { log: rig.logText(), answers: answers.join('\n') }, [...secrets, ...fake.issuedTokens()])
})

t.test('a running `start` and a `check` print none either', async (t) => {
  const settings = {
    serviceAccounts: { app: CLIENT },
    guard: { clientKeys: KEYS },
    log: { level: 'trace' },
    upstream: { responseTimeout: '1s' },
  }
  const { fake, folder, write, settings: over } = await startPlace(t, settings, { fake: FAKE! })
  const sig = 'l3ak-signature-of-a-file'
  const secrets = () => [CLIENT.clientSecret, ...KEYS, sig, ...fake.issuedTokens()]
  const program = run(t, ['start'], { cwd: folder })
  const url = await program.ready()
  const rig = { fake, port: Number(new URL(url).port) }
  const key = `Procore-Proxy-Key: ${KEYS[0]}`
  const answers: string[] = []
  for (const bytes of [
    getOf(`/acme/rest/v1.0/me?sig=${sig}`, key),
    getOf(`/acme/rest/v1.0/status/500?sig=${sig}`, key),
    getOf(`/acme/rest/v1.0/me?sig=${sig}`, `Procore-Proxy-Key: ${KEYS[1]}x`),
    `\0\0rubbish ${KEYS[0]}\r\n\r\n`,
  ]) {
    answers.push((await attack(rig, bytes)).text)
  }
  write(over({ serviceAccounts: { app: { ...CLIENT, clientSecret: `${CLIENT.clientSecret}2` } } }))
  program.kill('SIGHUP')
  await program.line('old configuration stays')
  write(over())
  program.kill('SIGTERM')
  const ended = await program.end()
  const good = await runToEnd(t, ['check'], { cwd: folder })
  fake.resetSecret(CLIENT.clientId, 'another-secret')
  const bad = await runToEnd(t, ['check', '--json'], { cwd: folder })
  write({
    ...over(),
    clientSecret: CLIENT.clientSecret,
    serviceAccounts: { app: { ...CLIENT, nonsense: CLIENT.clientSecret, environment: 'nowhere' } },
  })
  const wrong = await runToEnd(t, ['check'], { cwd: folder })
  t.equal(wrong.code, 2)
  write(over({ guard: { clientKeys: [KEYS[0]!, 7] } }))
  const wrongKey = await runToEnd(t, ['start'], { cwd: folder })
  t.equal(wrongKey.code, 2)
  t.equal(good.code === 0 || good.code === 1, true)
  t.equal(bad.code, 1)
  const texts: Record<string, string> = { answers: answers.join('\n') }
  for (const [name, { out, err }] of Object.entries({
    start: ended,
    check: good,
    'check --json': bad,
    'a wrong file': wrong,
    'a wrong key': wrongKey,
  })) {
    texts[`${name}, output`] = out
    texts[`${name}, errors`] = err
  }
  holdsNone(t, texts, secrets())
  t.notMatch(
    readFileSync(`${folder}/procore-proxy.yaml`, 'utf8'),
    fake.issuedTokens()[0] ?? 'x',
    'no token is written to disk',
  )
})

t.test('a server within another program hides secrets in its log too', async (t) => {
  const program = `
    const { buildServer, loadConfig } = await import(${JSON.stringify(import.meta.resolve('../../src/server.ts'))})
    const { ID: PROCORE_CLIENT_ID, SECRET: PROCORE_CLIENT_SECRET } = process.env
    const env = { PROCORE_COMPANY_ID: '7656', PROCORE_CLIENT_ID, PROCORE_CLIENT_SECRET, PROCORE_PROXY_LISTEN: '127.0.0.1:0' }
    const server = await buildServer(await loadConfig({ flags: {}, env, cwd: '/', homedir: '/' }))
    await server.listen()
    await fetch(server.addresses()[0].url + '/_proxy/l3ak-' + encodeURIComponent(PROCORE_CLIENT_SECRET))
    await server.drain()
  `
  const env = { ...process.env, ID: CLIENT.clientId, SECRET: CLIENT.clientSecret }
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', program],
    { env, timeout: 20_000 },
  )
  t.match(stdout, /l3ak-\*/, 'the request is in the log')
  holdsNone(t, { stdout }, [CLIENT.clientSecret])
})
