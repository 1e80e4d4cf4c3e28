// The page at /_proxy/ in a real browser: what a person does with it, and what a page of another origin can't do.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { hasBrowser, launchBrowser, NO_BROWSER } from '../fixtures/browser.ts'
import { ACME, GLOBEX, type Rig, type RigOptions, sendRaw, startRig } from '../fixtures/proxy.ts'

const AXE = readFileSync(join(import.meta.dirname, '../../node_modules/axe-core/axe.min.js'), 'utf8')
// On a developer's machine without Chromium these tests are skipped; in CI they fail.
const skip = hasBrowser || process.env['CI'] ? false : NO_BROWSER

// A browser on a busy machine takes its time.
t.setTimeout(180_000)

let browser: Browser
if (!skip) {
  t.before(async () => {
    browser = await launchBrowser()
  })
  t.teardown(() => browser?.close())
}

interface Opened extends Rig {
  readonly page: Page
  /** Everything that the page's console said, and every error in it. */
  readonly said: string[]
}

/** Opens the page in a browser of its own and waits until it is live. */
async function open(t: Test, rigOptions: RigOptions = {}, look: BrowserContextOptions = {}): Promise<Opened> {
  const rig = await startRig(t, rigOptions)
  const context = await browser.newContext({ ...look, acceptDownloads: true })
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  const said: string[] = []
  page.on('console', (message) => said.push(message.text()))
  page.on('pageerror', (error) => said.push(String(error)))
  await page.goto(`${rig.url}/_proxy/`)
  await page.locator('#connection.ok').waitFor()
  return { ...rig, page, said }
}

const row = (page: Page, text: string) => page.locator('#list tbody tr', { hasText: text })

interface Finding {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

/** What axe finds; `page.evaluate` runs it past the page's own policy. */
async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  const { violations } = (await page.evaluate('axe.run()')) as { violations: Finding[] }
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${impact} ${id}: ${html} ${failureSummary}`),
  )
}

/** Each colour scheme and each width once; neither changes what the other does. */
const LOOKS = [
  { colorScheme: 'light', viewport: { width: 1200, height: 740 } },
  { colorScheme: 'dark', viewport: { width: 360, height: 740 } },
] as const

/** Elements that stick out on the right. */
const TOO_WIDE =
  'document.documentElement.scrollWidth > document.documentElement.clientWidth || document.body.scrollWidth > innerWidth'

t.test(
  'requests show up live; they can be filtered, opened, copied, replayed and exported',
  { skip },
  async (t) => {
    const { page, get, said, url, fake } = await open(t)
    t.equal(await page.locator('#health').textContent(), '✓ All is well.')
    t.match(await page.locator('#empty').textContent(), 'No requests yet. Try: curl')
    t.match(await page.locator('.card').first().textContent(), /acme.*id 7656.*Token valid/s)
    await get('/acme/rest/v1.0/projects?search=s3cr3t')
    await get('/globex/rest/v1.0/me', { headers: { authorization: 'Bearer s3cr3t' } })
    await get('/acme/rest/v1.0/nothing-there')
    await get("/acme/rest/v1.0/it's/$(id)", { method: 'POST', body: '{"name":"s3cr3t"}' })
    await get('/unknown/rest/v1.0/me')
    await row(page, '/unknown/').waitFor()
    const rows = page.locator('#list tbody tr:visible')
    t.equal(await rows.count(), 5, 'all five, and none of its own')
    t.match(await row(page, '/acme/rest/v1.0/projects?search=*').textContent(), /GET.*acme.*✓ 200/)

    await page.getByLabel('Path or id').fill('PROJECTS')
    t.equal(await rows.count(), 1)
    await page.getByLabel('Path or id').fill('')
    await page.getByLabel('Company').selectOption('globex')
    t.equal(await rows.count(), 1)
    t.match(page.url(), /\?company=globex$/, 'filters are in the address')
    await page.getByLabel('Company').selectOption('')
    await page.getByLabel('Status').selectOption('failed')
    t.match(await page.locator('#count').textContent(), /^\d of the last 5 requests/)
    t.equal(await row(page, '/globex/').isVisible(), false)
    await page.getByLabel('Status').selectOption('proxy')
    t.equal(await rows.count(), 1)
    await page.getByLabel('Status').selectOption('')
    await page.getByLabel('Method').selectOption('POST')
    t.equal(await rows.count(), 1)

    await row(page, "it's").click()
    const dialog = page.getByRole('dialog')
    t.match(
      await dialog.textContent(),
      /Copy as curl.*path prefix \/acme.*URL.*\/rest\/v1\.0\/it's.*Sentonce.*Authorization.*Procore's first byte/s,
    )
    t.match(await dialog.textContent(), 'A POST may change something')
    t.equal(await dialog.getByRole('button', { name: 'Repeat' }).count(), 0)
    await dialog.getByRole('button', { name: 'Copy as curl' }).click()
    await dialog.getByText('Copied.').waitFor()
    t.equal(
      await page.evaluate('navigator.clipboard.readText()'),
      `curl --globoff --path-as-is --request 'POST' --header 'Content-Type: application/json' --data-binary @BODY.json '${url}/acme/rest/v1.0/it'\\''s/$(id)'`,
    )
    await page.keyboard.press('Escape')
    await page.getByLabel('Method').selectOption('')

    await row(page, '/unknown/').click()
    t.equal(
      await dialog.getByRole('link', { name: 'company_unknown' }).getAttribute('href'),
      'errors#company_unknown',
    )
    t.match(
      await dialog.textContent(),
      /404 \(proxy\).*company_unknown.*What to do.*Nothing was sent: the proxy answered by itself/s,
    )
    await page.keyboard.press('Escape')

    await row(page, 'projects?search').click()
    t.match(await dialog.locator('pre').textContent(), `'${url}/acme/rest/v1.0/projects?search=VALUE'`)
    fake.journal.clear()
    await dialog.getByLabel('GET at this proxy').fill('/acme/rest/v1.0/projects?search=ag4in')
    await dialog.getByRole('button', { name: 'Repeat' }).click()
    await dialog.getByText(/Status 200, \d+ bytes/).waitFor()
    t.match(fake.journal.api(), [{ method: 'GET', url: '/rest/v1.0/projects?search=ag4in' }])
    for (const elsewhere of ['//evil.example/x', 'http://evil.example/x', '/\\evil.example/x']) {
      await dialog.getByLabel('GET at this proxy').fill(elsewhere)
      await dialog.getByRole('button', { name: 'Repeat' }).click()
      await dialog.getByText('Enter a path of this proxy').waitFor()
    }
    await dialog.getByRole('button', { name: 'Close' }).click()
    await page.locator('#list tbody tr').nth(5).waitFor()

    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Export as HAR' }).click()
    const file = await download
    t.match(file.suggestedFilename(), /^procore-proxy-.*\.har$/)
    const text = readFileSync(await file.path(), 'utf8')
    const { log } = JSON.parse(text) as {
      log: { version: string; entries: { time: number; timings: object }[] }
    }
    t.equal(log.version, '1.2')
    t.equal(log.entries.length, 6)
    t.match(log.entries[0], {
      request: { method: 'GET', url: `${url}/acme/rest/v1.0/projects?search=*` },
      response: { status: 200, content: { mimeType: /json/ } },
      timings: { wait: Number },
      _company: 'acme',
    })
    for (const secret of ['s3cr3t', 'ag4in']) {
      t.notMatch(text, secret)
      t.notMatch(await page.content(), secret)
    }
    const only = said.filter((line) => !line.includes('status of 4'))
    t.strictSame(only, [], 'the policy forbids nothing that the page does')
  },
)

const WITH_BODIES: RigOptions = { settings: { inspector: { bodies: true } } }
const JSON_TYPE = { 'content-type': 'application/json' }

t.test('a click counts, though a request arrives while the button is pressed', { skip }, async (t) => {
  const { page, get, url } = await open(t)
  const other = await page.context().newPage()
  await other.goto(`${url}/_proxy/`)
  await get('/acme/rest/v1.0/first')
  const { x, y, width, height } = (await row(page, '/first').boundingBox())!
  await page.mouse.move(x + width / 2, y + height / 2)
  await page.mouse.down()
  await get('/acme/rest/v1.0/second')
  await row(other, '/second').waitFor()
  await page.mouse.up()
  await page.getByRole('dialog').getByText('GET /acme/rest/v1.0/first').waitFor()
  await page.keyboard.press('Escape')
  await row(page, '/second').waitFor()
})

t.test('bodies are shown where that is switched on, with what looks secret masked', { skip }, async (t) => {
  const { page, get, fake, said, url } = await open(t, WITH_BODIES)
  t.ok(await page.getByText('The first 2 KiB of each body').isVisible(), 'it says so')
  const evil = '<img src=x onerror=document.title=1>'
  const answer = `{"id":562949953443325000001,"refresh_token":"s3cr3t","note":"${evil}","list":[],"none":{}}`
  fake.faults.api = [
    { match: '/rest/v1.0/echo', headers: { 'Content-Type': 'application/json' }, body: answer },
  ]
  const post = (path: string, body: string, headers: Record<string, string> = JSON_TYPE) =>
    get(`/acme/rest/v1.0/echo/${path}`, { method: 'POST', headers, body })
  await post('login', '{"user":"me","password":"s3cr3t"}')
  const whole = `{\n  "name": "It's $(id) é"\n}`
  await post('whole', whole)
  await post('long', JSON.stringify({ text: 'long '.repeat(1000) }))
  await post('bell', 'a\u0007b', { 'content-type': 'text/plain' })
  await get('/acme/rest/v1.0/large?bytes=12345')
  await row(page, '/large').waitFor()
  const dialog = page.getByRole('dialog')
  const requestBody = dialog.getByRole('region', { name: 'Request body' })
  const responseBody = dialog.getByRole('region', { name: 'Response body' })
  const copied = async () => {
    await dialog.getByRole('button', { name: 'Copy as curl' }).click()
    await dialog.getByText('Copied.').waitFor()
    return page.evaluate('navigator.clipboard.readText()')
  }
  const curl = (path: string, type: string, data: string) =>
    `curl --globoff --path-as-is --request 'POST' --header 'Content-Type: ${type}' ${data} '${url}/acme/rest/v1.0/echo/${path}'`
  const later = (why: string) => `# Put the body into the file BODY.json: ${why}\n`

  await row(page, '/login').click()
  t.equal(await requestBody.textContent(), '{\n  "user":"me",\n  "password":"*"\n}')
  t.match(
    await dialog.locator('#request-body').textContent(),
    'application/json, 33 bytes; what looks secret is *.',
  )
  t.equal(
    await responseBody.textContent(),
    `{\n  "id":562949953443325000001,\n  "refresh_token":"*",\n  "note":"${evil}",\n  "list":[],\n  "none":{}\n}`,
    'as it came but for line breaks',
  )
  t.equal(await page.locator('dialog img').count(), 0)
  t.equal(
    await copied(),
    later('a part of it is masked') + curl('login', 'application/json', '--data-binary @BODY.json'),
  )
  await page.keyboard.press('Escape')

  await row(page, '/whole').click()
  t.equal(await requestBody.textContent(), whole)
  t.equal(await copied(), curl('whole', 'application/json', `--data-raw '${whole.replace("'", "'\\''")}'`))
  await page.keyboard.press('Escape')

  await row(page, '/long').click()
  await requestBody.waitFor()
  t.match(await dialog.locator('#request-body').textContent(), '5,011 bytes; only its beginning.')
  t.equal(
    await copied(),
    later('only its beginning is kept') + curl('long', 'application/json', '--data-binary @BODY.json'),
  )
  await page.keyboard.press('Escape')

  await row(page, '/bell').click()
  await requestBody.waitFor()
  t.match(await copied(), later('it has control characters'))
  await page.keyboard.press('Escape')

  await row(page, '/large').click()
  await dialog.locator('#request-body').getByText('None.').waitFor()
  t.match(
    await dialog.locator('#response-body').textContent(),
    'application/octet-stream, 12,345 bytes: binary, not shown.',
  )
  await page.keyboard.press('Escape')

  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Export as HAR' }).click()
  const text = readFileSync(await (await download).path(), 'utf8')
  t.notMatch(text, 's3cr3t')
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into what it expects
  const entries = JSON.parse(text).log.entries as any[]
  t.strictSame(
    entries.map(({ request: { postData } }) => postData),
    [
      {
        mimeType: 'application/json',
        text: '{"user":"me","password":"*"}',
        comment: 'What looks secret is *.',
      },
      { mimeType: 'application/json', text: whole },
      {
        mimeType: 'application/json',
        text: JSON.stringify({ text: 'long '.repeat(1000) }).slice(0, 2048),
        comment: 'The beginning of 5,011 bytes.',
      },
      { mimeType: 'text/plain', text: 'a\u0007b' },
      undefined,
    ],
  )
  t.match(entries[0].response.content, {
    mimeType: 'application/json',
    text: answer.replace('s3cr3t', '*'),
    comment: 'What looks secret is *.',
  })
  t.notOk('text' in entries[4].response.content)
  t.notMatch(await page.content(), 's3cr3t')
  t.strictSame(said, [], 'the policy forbids nothing that the page does')
})

t.test('bodies come when a request is opened, and only to that request', { skip }, async (t) => {
  const { page, get, reload, file } = await open(t, WITH_BODIES)
  for (const name of ['one', 'two'])
    await get(`/acme/rest/v1.0/echo/${name}`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: `{"name":"${name}"}`,
    })
  await row(page, '/two').waitFor()
  const seen: string[] = []
  page.on('request', (request) => seen.push(request.url()))
  let letGo = () => {}
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  await page.route('**/requests/*/1', async (route) => {
    await held
    await route.continue()
  })
  const dialog = page.getByRole('dialog')
  await row(page, '/one').click()
  await dialog.getByRole('button', { name: 'Close' }).click()
  await row(page, '/two').click()
  const requestBody = dialog.getByRole('region', { name: 'Request body' })
  await requestBody.waitFor()
  const late = page.waitForResponse('**/requests/*/1')
  letGo()
  await (await late).finished()
  t.match(await requestBody.textContent(), '"two"')
  t.equal(seen.length, 2, 'one for each that was opened')
  await page.keyboard.press('Escape')

  await page.unroute('**/requests/*/1')
  await page.route('**/requests/*/1', (route) => route.abort())
  await row(page, '/one').click()
  await dialog.getByText('No longer remembered.').first().waitFor()
  await page.keyboard.press('Escape')

  const settings = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  t.notOk(await page.locator('#reload').isVisible(), 'there was no reload yet')
  await reload({ ...settings, inspector: {} })
  await page.getByText('The first 2 KiB of each body').waitFor({ state: 'hidden' })
  await page.getByText(/^The last reload of the configuration, at \d\d:\d\d:\d\d, worked\.$/).waitFor()
  await row(page, '/two').click()
  t.match(await dialog.textContent(), /bytes out; not kept/)
  t.equal(await dialog.getByText('Request body').count(), 0)
})

t.test('long bodies can be scrolled by keyboard, on a phone and in the dark too', { skip }, async (t) => {
  const { page, get } = await open(t, WITH_BODIES)
  const lines = JSON.stringify(
    { word: 'x'.repeat(500), list: Array.from({ length: 200 }, (_, id) => id) },
    null,
    1,
  )
  await get('/acme/rest/v1.0/echo', { method: 'POST', headers: JSON_TYPE, body: lines })
  for (const { colorScheme, viewport } of LOOKS) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize(viewport)
    await row(page, '/echo').getByRole('button').click()
    const body = page.getByRole('region', { name: 'Request body' })
    const scrolled = () => page.evaluate('document.activeElement.scrollTop > 0')
    for (let tries = 0; tries < 50 && !(await scrolled()); tries++) {
      await body.focus()
      await page.keyboard.press('End')
      await sleep(20)
    }
    t.ok(await scrolled())
    t.strictSame(await axe(page), [], colorScheme)
    t.equal(await page.evaluate(TOO_WIDE), false, colorScheme)
    const within = 'document.activeElement.scrollWidth <= document.activeElement.clientWidth'
    t.ok(await page.evaluate(within), `long words are broken: ${colorScheme}`)
    await page.keyboard.press('Escape')
  }
})

t.test('plots and gauge say in words what they show', { skip }, async (t) => {
  const rig = await open(t)
  for (let count = 0; count < 5; count++) await rig.get('/acme/rest/v1.0/me')
  await rig.page.reload()
  await row(rig.page, '/me').first().waitFor()
  const card = rig.page.locator('.card').first()
  t.match(
    await card.getByRole('img').first().getAttribute('aria-label'),
    /ten minutes: 5, 0 with status 4xx, 0 failed/,
  )
  t.match(await card.getByRole('img').nth(1).getAttribute('aria-label'), /95 % within [\d.]+ ms/)
  t.match(await card.getByRole('img').nth(2).getAttribute('aria-label'), /now \d+ left/)
  t.match(await card.getByRole('meter').getAttribute('aria-valuetext'), /^\d+ of \d+ left/)
  await card.getByText('Plots as numbers').click()
  t.match(await card.locator('table tbody').textContent(), /\d\d:\d\d\s*\d/)
})

t.test('a token failure, and how to fix it', { skip }, async (t) => {
  const { page, fake, get } = await open(t)
  fake.revokeTokens()
  fake.faults.token = { status: 401, body: '{"error":"invalid_client"}' }
  await get('/acme/rest/v1.0/me')
  await page.locator('#health.bad').waitFor()
  t.match(await page.locator('#health').textContent(), '✕ Something is wrong: no good token for app')
  t.match(await page.locator('#warnings').textContent(), /service account app.*(wrong|reset)/s)
  t.match(await page.locator('.card').first().textContent(), '✕ Token rejected')
  t.strictSame(await axe(page), [])
})

t.test('a login server that can not be reached, until it can', { skip }, async (t) => {
  const { page, fake, get } = await open(t, {
    cold: true,
    before: ({ faults }) => {
      faults.token = { status: 503 }
    },
  })
  await page.locator('#health.bad').waitFor()
  t.match(await page.locator('.card').first().textContent(), '✕ Token unavailable')
  fake.faults.clear()
  await get('/acme/rest/v1.0/me')
  await page.locator('#health.ok').waitFor({ timeout: 20_000 })
  t.match(await page.locator('.card').first().textContent(), '✓ Token valid')
})

t.test('it says that the connection is lost, and comes back by itself', { skip }, async (t) => {
  const { page, server, file, get, said, reload } = await open(t)
  await get('/acme/rest/v1.0/me')
  await page.reload()
  await page.getByText('Last ten minutes').first().waitFor()
  const settings = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  await reload({ ...settings, inspector: { enabled: false } })
  await page.getByText('Not connected').waitFor()
  t.match(await page.locator('#health').textContent(), 'what is shown is old')
  t.notOk(server.inspector.enabled)
  await reload(settings)
  await page.locator('#connection.ok').waitFor()
  t.equal(await page.locator('#health').textContent(), '✓ All is well.')
  t.equal(await page.getByText('Last ten minutes').count(), 2)
  t.notOk(
    await page.getByText('Last ten minutes').first().isVisible(),
    'the plots of what was forgotten are gone',
  )
  t.notMatch(said.join('\n'), /Content Security|TypeError/)
})

t.test('a paused list stays as it is while the page connects again', { skip }, async (t) => {
  const { page, file, get, reload } = await open(t)
  await get('/acme/rest/v1.0/before')
  await row(page, '/before').waitFor()
  await page.getByLabel('Pause').check()
  await get('/acme/rest/v1.0/meanwhile')
  await page.getByText('1 more since the list was paused').waitFor()
  const settings = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  await reload({ ...settings, rateLimit: { maxWait: '59s' } })
  await page.getByText('The last reload of the configuration').waitFor()
  await get('/acme/rest/v1.0/after')
  await page.getByText('1 of the last 1 request; 2 more since the list was paused').waitFor()
  t.ok(await row(page, '/before').isVisible())
  await page.getByLabel('Pause').uncheck()
  await row(page, '/after').waitFor()
  t.strictSame(await page.locator('#list .path').allTextContents(), [
    '/acme/rest/v1.0/after',
    '/acme/rest/v1.0/meanwhile',
    '/acme/rest/v1.0/before',
  ])
})

t.test('by keyboard alone', { skip }, async (t) => {
  const { page, get } = await open(t)
  await get('/acme/rest/v1.0/me')
  await get('/acme/rest/v1.0/projects')
  await row(page, '/projects').waitFor()
  const focused = () =>
    page.evaluate('document.activeElement.textContent.trim() || document.activeElement.name')
  await page.keyboard.press('Tab')
  t.equal(await focused(), 'Skip to the requests')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  t.equal(await focused(), 'text')
  await page.keyboard.type('projects')
  for (let count = 0; count < 6; count++) await page.keyboard.press('Tab')
  t.equal(await focused(), '/acme/rest/v1.0/projects', 'past the other filters, to the one row that is left')
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'GET /acme/rest/v1.0/projects' })
  await dialog.waitFor()
  t.equal(await focused(), 'GET /acme/rest/v1.0/projects', 'the title, so that it is read out')
  for (let count = 0; count < 12; count++) {
    await page.keyboard.press('Tab')
    const inside =
      'document.activeElement === document.body || document.querySelector("dialog").contains(document.activeElement)'
    t.ok(await page.evaluate(inside), 'the focus stays in the dialog')
  }
  await page.keyboard.press('Escape')
  t.equal(await focused(), '/acme/rest/v1.0/projects', 'back where it was')
})

t.test('axe finds nothing, in either colour scheme, on a desk or a phone', { skip }, async (t) => {
  const rig = await open(t)
  const { page, get } = rig
  await get('/acme/rest/v1.0/projects?a=b')
  await get(`/acme/rest/v1.0/${'long-path-without-any-break'.repeat(20)}`)
  await get('/unknown/rest/v1.0/me')
  await row(page, '/unknown/').waitFor()
  for (const { colorScheme, viewport } of LOOKS) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize(viewport)
    t.equal(await page.evaluate(TOO_WIDE), false, `nothing sticks out: ${colorScheme}`)
    t.strictSame(await axe(page), [], colorScheme)
    await row(page, 'projects?a').getByRole('button').click()
    t.strictSame(await axe(page), [], `${colorScheme}, a request opened`)
    t.equal(await page.evaluate(TOO_WIDE), false)
    await page.keyboard.press('Escape')
  }
  const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor')
  const dark = await ground()
  await page.emulateMedia({ colorScheme: 'light' })
  t.not(await ground(), dark)
})

t.test('what a request says is text, never markup', { skip }, async (t) => {
  const { page, port, fake, said } = await open(t)
  const evil = '<img/src=x/onerror=document.title=1><script>document.title=2</script>'
  fake.faults.api = [{ status: 200, headers: { 'X-Evil': evil }, body: '{}' }]
  await sendRaw(port, `GET /acme/rest/v1.0/${evil} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  await row(page, 'onerror').click()
  const dialog = page.getByRole('dialog')
  t.match(await dialog.textContent(), evil)
  t.equal(await page.locator('main img, main script, dialog img, dialog script').count(), 0)
  t.equal(await page.title(), 'procore-proxy')
  t.strictSame(said, [])
})

t.test('a page of another origin can neither read nor cause anything', { skip }, async (t) => {
  const { url, port, fake, get } = await startRig(t)
  await get('/acme/rest/v1.0/me')
  const attacker = createServer((request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(request.url === '/' ? '<!doctype html><title>evil</title><body></body>' : '')
  })
  await new Promise<void>((resolve) => attacker.listen(0, '127.0.0.1', resolve))
  t.teardown(() => attacker.close())
  const attackerPort = (attacker.address() as AddressInfo).port
  const context = await browser.newContext()
  t.teardown(() => context.close())
  // Same site as the proxy, and another site; by the name of the proxy's own loopback, and by another.
  for (const [origin, target] of [
    [`http://127.0.0.1:${attackerPort}`, url],
    [`http://localhost:${attackerPort}`, url],
    [`http://localhost:${attackerPort}`, `http://acme.localhost:${port}`],
  ]) {
    const page = await context.newPage()
    await page.goto(`${origin}/`)
    fake.journal.clear()
    const outcome = (await page.evaluate(`(async () => {
      const target = ${JSON.stringify(target)}
      const got = {}
      const attempt = async (name, act) => { try { got[name] = await act() } catch (error) { got[name] = 'refused' } }
      const within = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 3000, 'nothing'))])
      const load = (tag, key, path) => within(new Promise((resolve) => {
        const element = document.createElement(tag)
        element.onload = () => resolve('loaded')
        element.onerror = () => resolve('refused')
        element[key] = target + path
        document.body.append(element)
      }))
      for (const path of ['/_proxy/', '/_proxy/requests', '/_proxy/status', '/acme/rest/v1.0/me']) {
        await attempt('fetch ' + path, async () => (await fetch(target + path)).status)
        await attempt('no-cors ' + path, async () => (await (await fetch(target + path, { mode: 'no-cors' })).text()).length)
      }
      await attempt('delete', async () => (await fetch(target + '/acme/rest/v1.0/projects/1', { method: 'DELETE' })).status)
      await attempt('simple post', async () => (await (await fetch(target + '/acme/rest/v1.0/projects', { method: 'POST', mode: 'no-cors', body: 'x' })).text()).length)
      got.img = await load('img', 'src', '/acme/rest/v1.0/me')
      got.script = await load('script', 'src', '/_proxy/page.js')
      got.events = await within(new Promise((resolve) => {
        const source = new EventSource(target + '/_proxy/events')
        source.onopen = () => resolve('open')
        source.onerror = () => { source.close(); resolve('refused') }
      }))
      const frame = document.createElement('iframe')
      frame.name = 'frame'
      frame.src = target + '/_proxy/'
      document.body.append(frame)
      await within(new Promise((resolve) => { frame.onload = resolve }))
      const form = document.createElement('form')
      form.method = 'post'
      form.action = target + '/acme/rest/v1.0/projects'
      form.target = 'frame'
      document.body.append(form)
      form.submit()
      await new Promise((resolve) => setTimeout(resolve, 500))
      return got
    })()`)) as Record<string, unknown>
    for (const [attempt, got] of Object.entries(outcome)) {
      t.ok(got === 'refused' || got === 0, `${origin} → ${target}: ${attempt}: ${got}`)
    }
    for (const frame of page.frames().slice(1)) {
      t.notMatch(await frame.content().catch(() => ''), /Skip to the requests/, 'not framed')
    }
    t.strictSame(fake.journal.entries, [], `${origin} → ${target}: nothing reached Procore`)
    const opened = context.waitForEvent('page')
    await page.evaluate(`void window.open(${JSON.stringify(`${target}/_proxy/`)})`)
    const popup = await opened
    await popup.waitForLoadState()
    t.notMatch(await popup.content(), 'Skip to the requests', 'nor opened by it')
    await popup.close()
    await page.close()
  }
})

t.test(
  'requests begin above the fold, and on a phone after one screen, with three companies',
  { skip },
  async (t) => {
    const companies = { acme: ACME, globex: GLOBEX, initech: '99' }
    const { page, get } = await open(t, {
      settings: {
        companies: Object.fromEntries(
          Object.entries(companies).map(([name, id]) => [name, { id, serviceAccount: 'app' }]),
        ),
      },
    })
    for (const name of ['acme', 'globex']) await get(`/${name}/rest/v1.0/me`)
    await row(page, '/globex').waitFor()
    const topOf = (selector: string) =>
      page.evaluate(`document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect().top`)
    await page.setViewportSize({ width: 1280, height: 900 })
    await page.reload()
    await row(page, '/globex').waitFor()
    t.equal(await page.locator('figure').count(), 6, 'no plot of a company without requests')
    t.ok(Number(await topOf('#list tbody')) < 700)
    await page.setViewportSize({ width: 390, height: 844 })
    await page.reload()
    await row(page, '/globex').waitFor()
    t.ok(Number(await topOf('#requests')) < 844)
  },
)

t.test('a company that Procore refuses every time is shown as such, with the causes', { skip }, async (t) => {
  const { page, get, fake } = await open(t)
  fake.faults.notConnected({ match: '/rest/', message: 'Forbidden' })
  for (let n = 0; n < 3; n++) await get('/acme/rest/v1.0/me')
  await page.locator('#health.bad').waitFor()
  t.match(await page.locator('#health').textContent(), 'Procore refuses every request of acme')
  t.match(await page.locator('.card').first().textContent(), /✕ Token valid.*but Procore answers 403/)
  t.match(await page.locator('#warnings').textContent(), /not connected to this company/)
  t.match(await row(page, '/me').first().textContent(), /! 403 Procore/)
  t.strictSame(await axe(page), [])
})

t.test('a filter has no more companies than the list has requests', { skip }, async (t) => {
  const { page } = await open(t)
  await page.evaluate(`import('/_proxy/requests.js').then(({ addRequests }) => {
    const rest = { at: 0, method: 'GET', target: '/rest', status: 200, pages: 0, retries: [], timing: { totalMs: 1 } }
    const request = (id) => ({ ...rest, seq: id, id: String(id), company: String(id) })
    addRequests([request(0)])
    document.querySelector('[name=company]').value = '0'
    for (let id = 1; id < 600; id++) addRequests([request(id)])
  })`)
  const options = (await page
    .locator('[name=company] option')
    .evaluateAll((all) => all.map((option) => (option as unknown as { value: string }).value))) as string[]
  t.equal(options.length, 501)
  t.strictSame([options[0], options[1], options.at(-1)], ['', '0', '599'], 'the chosen one stays')
})

t.test('filters come from the address', { skip }, async (t) => {
  const { page, get, url } = await open(t)
  for (const path of ['/acme/rest/v1.0/me', '/globex/rest/v1.0/me', '/globex/rest/v1.0/nope']) await get(path)
  await page.goto(`${url}/_proxy/?company=globex&status=procore&method=nonsense`)
  const rows = page.locator('#list tbody tr:visible')
  await rows.first().waitFor()
  t.equal(await rows.count(), 1)
  t.match(await rows.first().textContent(), '/globex/rest/v1.0/nope')
  await page.getByLabel('Path or id').fill('none')
  t.equal(await page.getByText('No matching requests.').isVisible(), true)
})
