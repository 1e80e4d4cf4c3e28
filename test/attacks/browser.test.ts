// Attacks by a web page in a real browser: prefetches of speculation rules, and answers that would run as pages.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import t, { type Test } from 'tap'
import { UNLIMITED } from '../fixtures/attacker.ts'
import { hasBrowser, launchBrowser, NO_BROWSER } from '../fixtures/browser.ts'
import { type Rig, startRig } from '../fixtures/proxy.ts'

const skip = NO_BROWSER
t.setTimeout(120_000)

let browser: Browser
if (hasBrowser) {
  t.before(async () => {
    browser = await launchBrowser()
  })
  t.teardown(() => browser.close())
}

/** Serves a page of another origin, and counts what the browser fetches of it besides. */
async function foreignPage(t: Test, html: (own: string) => string) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers['sec-purpose'] ?? ''}`.trim())
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end(request.url === '/' ? html(origin()) : 'fetched')
  })
  const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { url: origin(), asked }
}

async function newPage(t: Test) {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  return page
}

const start = (t: Test): Promise<Rig> => startRig(t, { fake: UNLIMITED! })

t.test(
  'Speculation rules of a foreign page reach the API neither by prefetch nor prerender',
  { skip },
  async (t) => {
    const rig = await start(t)
    // The last URL is the page's own: once it has been prefetched, the rules have been followed.
    const foreign = await foreignPage(t, (own) => {
      const urls = [`${rig.url}/acme/rest/v1.0/me`, `${own}/probe`]
      const rules = JSON.stringify({ prefetch: [{ source: 'list', urls, eagerness: 'immediate' }] })
      const prerender = JSON.stringify({
        prerender: [{ source: 'list', urls: [`${own}/probe2`], eagerness: 'immediate' }],
      })
      return `<!doctype html><link rel="prefetch" href="${rig.url}/acme/rest/v1.0/companies">
      <script type="speculationrules">${rules}</script><script type="speculationrules">${prerender}</script>`
    })
    const page = await newPage(t)
    rig.fake.journal.clear()
    await page.goto(foreign.url)
    await t.resolves(
      waitFor(() => foreign.asked.some((each) => each.startsWith('/probe prefetch'))),
      'the browser follows speculation rules',
    )
    await waitFor(() => rig.log().some(({ cause }) => cause === 'origin_not_allowed'))
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)))
    t.same(
      rig.fake.journal.api().map(({ url }) => url),
      [],
      'nothing has reached the API',
    )
  },
)

t.test('A person who opens an API address sees the answer', { skip }, async (t) => {
  const rig = await start(t)
  const page = await newPage(t)
  const response = await page.goto(`${rig.url}/acme/rest/v1.0/me`)
  t.equal(response?.status(), 200)
  t.match(await page.textContent('body'), /"id"/)
})

t.test('An HTML answer is shown, and runs no script in the origin of the proxy', { skip }, async (t) => {
  const rig = await start(t)
  for (const type of ['text/html', 'image/svg+xml', 'application/xhtml+xml', 'text/xml', 'nonsense']) {
    rig.fake.faults.clear()
    const script = `fetch('/acme/rest/v1.0/stolen')`
    rig.fake.faults.api.push({
      match: '/rest/v1.0/page',
      status: 200,
      headers: { 'Content-Type': type },
      body:
        type === 'image/svg+xml'
          ? `<svg xmlns="http://www.w3.org/2000/svg"><text>shown</text><script>${script}</script></svg>`
          : `<html xmlns="http://www.w3.org/1999/xhtml"><body>shown<script>${script}</script></body></html>`,
    })
    const page = await newPage(t)
    rig.fake.journal.clear()
    const response = await page.goto(`${rig.url}/acme/rest/v1.0/page`).catch(() => null)
    t.equal(response?.headers()['x-content-type-options'], 'nosniff', type)
    t.equal(response?.headers()['content-security-policy'], 'sandbox', type)
    if (type !== 'nonsense') t.match(await page.content(), 'shown')
    // A second navigation comes after whatever the first page would have asked for.
    await page.goto(`${rig.url}/acme/rest/v1.0/me`)
    t.notMatch(
      rig.fake.journal
        .api()
        .map(({ url }) => url)
        .join(),
      'stolen',
      type,
    )
  }
})

/** Resolves once the condition holds; the test's own time limit ends it otherwise. */
async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10))
}
