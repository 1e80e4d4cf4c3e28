// Covers src/forward/budgets.ts.
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Secret } from '../../src/config/config.ts'
import { Budget } from '../../src/forward/budget.ts'
import { Budgets } from '../../src/forward/budgets.ts'
import { testAccount, testConfig, testEnvironment } from '../fixtures/config.ts'
import { collectGarbage } from '../fixtures/memory.ts'

const account = testAccount()
const acme = { name: 'acme', id: '1' }

t.test('A reload keeps the budgets, whatever of it changes', async (t) => {
  const before = testConfig({ companies: [acme], anyCompany: true })
  let latest: unknown
  const budgets = new Budgets(before, (_, settings) => {
    latest = settings
    return new Budget(settings)
  })
  const known = budgets.get(account, '1')
  const any = budgets.get(account, '2')
  t.not(known, any)
  const settings = { whenExhausted: 'reject', maxWaitMs: 1, maxQueued: 1 } as const
  budgets.configure(
    testConfig({ companies: [{ name: 'other', id: '2', access: 'read-only' }], rateLimit: settings }),
  )
  t.equal(budgets.get(account, '1'), known, 'it left the file')
  t.equal(budgets.get(account, '2'), any, 'it got a name')
  budgets.get(account, '3')
  t.equal(latest, settings, 'a new one has the new settings')
})

t.test('The account counts by its login server and client id; the secret does not matter', async (t) => {
  const budgets = new Budgets(testConfig())
  const budget = budgets.get(account, '1')
  const rotated = testAccount({ name: 'app', clientSecret: new Secret('another'), key: 'another' })
  t.equal(budgets.get(rotated, '1'), budget)
  t.not(budgets.get(testAccount({ name: 'b' }), '1'), budget)
  t.not(
    budgets.get(testAccount({ environment: testEnvironment({ loginUrl: 'http://127.0.0.1:8' }) }), '1'),
    budget,
  )
})

t.test('Ids under "*" are bounded in number, and push out no configured company', async (t) => {
  const opened: string[] = []
  const budgets = new Budgets(testConfig({ companies: [acme], anyCompany: true }), (key, settings) => {
    opened.push(key)
    return new Budget(settings)
  })
  const known = budgets.get(account, '1')
  const first = budgets.get(account, '1000')
  for (let id = 1001; id < 1000 + 1024; id++) budgets.get(account, String(id))
  t.equal(budgets.get(account, '1000'), first)
  budgets.get(account, '5000')
  await setImmediate()
  collectGarbage()
  await setImmediate()
  budgets.get(account, '1001')
  t.equal(opened.length, 1 + 1024 + 2)
  t.equal(budgets.get(account, '1'), known)
  t.equal(opened[0], JSON.stringify(['http://127.0.0.1:9', 'app-client-id', '1']))
})

t.test('A budget under "*" that is in use is never forgotten', async (t) => {
  const budgets = new Budgets(testConfig({ anyCompany: true }))
  const used = budgets.get(account, 'used')
  for (let id = 0; id < 3_000; id++) budgets.get(account, String(id))
  await setImmediate()
  collectGarbage()
  await setImmediate()
  const settings = { whenExhausted: 'reject', maxWaitMs: 1, maxQueued: 1 } as const
  const configured: unknown[] = []
  used.configure = (next) => void configured.push(next)
  budgets.configure(testConfig({ companies: [{ name: 'named', id: 'used' }], rateLimit: settings }))
  t.equal(budgets.get(account, 'used'), used, 'after a reload that gives it a name')
  budgets.configure(testConfig({ anyCompany: true, rateLimit: settings }))
  for (let id = 0; id < 3_000; id++) budgets.get(account, String(id))
  budgets.configure(testConfig({ anyCompany: true, rateLimit: settings }))
  t.equal(budgets.get(account, 'used'), used)
  t.strictSame(configured, [settings, settings, settings])
})
