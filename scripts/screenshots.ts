// Takes the screenshots of the documentation: sends some traffic to a fake Procore and opens the page in a browser.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createLogger } from '../src/observe/log.ts'
import { buildServer, loadConfig } from '../src/server.ts'
import { launchBrowser } from '../test/fixtures/browser.ts'
import { startFakeProcore } from '../test/fixtures/procore.ts'
import { settingsFor } from '../test/fixtures/proxy.ts'

const ROUNDS = 58
const ROUND_MS = 10_000
const realNow = Date.now
setClock(-ROUNDS)
const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-screenshots-'))
const shots = join(dirname(import.meta.dirname), 'docs/screenshots')
mkdirSync(shots, { recursive: true })
const fake = await startFakeProcore({
  rateLimit: { hourly: 400, spike: Infinity },
  clients: [
    { clientId: 'demo-client', clientSecret: 'demo-secret', companyIds: ['7656'] },
    { clientId: 'reports-client', clientSecret: 'demo-secret', companyIds: ['562949953443325'] },
  ],
})
const file = join(folder, 'procore-proxy.yaml')
const settings = settingsFor(fake, {
  listen: '127.0.0.1:8377',
  serviceAccounts: {
    app: { clientId: 'demo-client', clientSecret: 'demo-secret' },
    reports: { clientId: 'reports-client', clientSecret: 'demo-secret' },
  },
  companies: {
    acme: { id: '7656', serviceAccount: 'app' },
    globex: { id: '562949953443325', serviceAccount: 'reports', access: 'read-only' },
  },
})
writeFileSync(file, JSON.stringify(settings), { mode: 0o600 })
const config = await loadConfig({ flags: { config: file }, env: {}, cwd: folder })
const server = await buildServer(config, { log: createLogger({ level: 'silent', format: 'json' }) })
await server.listen()
await Promise.all([...server.tokens.sources()].map((source) => source.get()))
const [{ url = '' } = {}] = server.addresses()

const call = async (path: string, method = 'GET') => {
  const answer = await fetch(url + path, {
    method,
    ...(method === 'POST' && { body: '{"project":{"name":"x"}}' }),
  })
  await answer.arrayBuffer()
}

/** Makes ten minutes of traffic in a few seconds: sets the clock back, and moves it by ten seconds each round. */
async function traffic(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    setClock(round - ROUNDS)
    const busy = Math.round(2 + 2 * Math.sin(round / 6))
    for (let count = 0; count < busy; count++) {
      const delayMs = 25 + 15 * Math.sin(round / 9) + (count === 0 ? (round * 7) % 30 : 0)
      fake.faults.api = [{ delayMs, match: '/rest/' }]
      await call('/acme/rest/v1.0/projects?per_page=2&page=1')
    }
    if (round % 3 === 0) await call('/globex/rest/v1.0/me')
    if (round % 11 === 0) await call('/globex/rest/v1.0/projects/1', 'DELETE')
    if (round % 13 === 0) await call('/acme/rest/v1.0/projects', 'POST')
  }
  fake.faults.clear()
  setClock(0)
}

function setClock(rounds: number): void {
  Date.now = () => realNow() + rounds * ROUND_MS
}

const browser = await launchBrowser()
try {
  await traffic()
  const shoot = async (
    name: string,
    look: { width: number; height: number; colorScheme: 'light' | 'dark'; detail?: string },
  ) => {
    const { width, height, colorScheme, detail } = look
    const page = await browser.newPage({ viewport: { width, height }, colorScheme })
    await page.goto(`${url}/_proxy/`)
    await page.locator('#connection.ok').waitFor()
    await page.locator('#list tbody tr').first().waitFor()
    if (detail !== undefined) await page.locator('.path', { hasText: detail }).first().click()
    await page.screenshot({ path: join(shots, `${name}.png`) })
    await page.close()
  }
  await shoot('light', { width: 1100, height: 780, colorScheme: 'light' })
  await shoot('dark', { width: 1100, height: 780, colorScheme: 'dark', detail: 'per_page' })
  await shoot('phone', { width: 390, height: 844, colorScheme: 'light' })
  fake.resetSecret('reports-client', 'another-secret')
  await call('/acme/rest/v1.0/projects/404')
  for (let count = 0; count < 3; count++) await call('/globex/rest/v1.0/me')
  await shoot('error', { width: 1100, height: 780, colorScheme: 'light' })
} finally {
  await browser.close()
  await server.drain()
  await fake.close()
  rmSync(folder, { recursive: true, force: true })
}
