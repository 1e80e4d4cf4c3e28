import t from 'tap'
import { readCompanyId } from '../../src/config/overrides.ts'

t.test('a company id is read from the addresses that browsers show', async (t) => {
  const cases: [string, unknown][] = [
    ['7656', { id: '7656' }],
    [' 562949953443325\n', { id: '562949953443325' }],
    ['https://app.procore.com/7656/company/home/list', { id: '7656' }],
    ['app.procore.com/7656/company/home', { id: '7656' }],
    ['https://us02.procore.com/webclients/host/companies/7656/tools/x?a=b', { id: '7656' }],
    ['https://app.procore.com/7656/project/home', { problem: 'project' }],
    ['https://app.procore.com/', { problem: 'unknown' }],
    ['ftp://app.procore.com/7656/company', { problem: 'unknown' }],
    ['acme', { problem: 'unknown' }],
    ['1'.repeat(21), { problem: 'unknown' }],
    ['', { problem: 'unknown' }],
  ]
  for (const [text, expected] of cases) t.strictSame(readCompanyId(text), expected, text)
})
