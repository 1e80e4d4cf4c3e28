// Covers src/routing/company.ts
import t from 'tap'
import { companyOfId, companyTable } from '../../src/routing/company.ts'
import { testConfig } from '../fixtures/config.ts'

t.test('Companies are found by name and by id', async (t) => {
  const config = testConfig()
  const table = companyTable(config)
  t.equal(table.byName.get('acme')?.company, config.companies[0])
  t.equal(table.byId.get('562949953443325')?.name, 'globex')
  t.equal(table.default, undefined)
  t.equal(table.only, undefined)
})

t.test('The default and the only company are known beforehand', async (t) => {
  const one = [{ name: 'acme', id: '7656' }]
  const two = [...one, { name: 'globex', id: '8', isDefault: true }]
  t.equal(companyTable(testConfig({ companies: two })).default?.name, 'globex')
  t.equal(companyTable(testConfig({ companies: two })).only, undefined)
  t.equal(companyTable(testConfig({ companies: one })).only?.name, 'acme')
  t.equal(companyTable(testConfig({ companies: one, anyCompany: true })).only, undefined)
  t.equal(companyTable(testConfig({ companies: [], anyCompany: true })).only, undefined)
})

t.test('"*" serves every canonical id that no company has', async (t) => {
  const config = testConfig({ anyCompany: true })
  const table = companyTable(config)
  t.same(companyOfId(table, '999'), { name: '999', id: '999', company: config.anyCompany })
  t.equal(companyOfId(table, '7656')?.name, 'acme', 'a configured id stays with its company')
  t.equal(companyOfId(table, '99999999999999999999')?.id, '99999999999999999999', 'twenty digits')
  for (const id of [
    '',
    '0',
    '07',
    '+7',
    ' 7',
    '7 ',
    '7\n',
    'acme',
    '1e3',
    '٣',
    '999999999999999999999',
    '*',
  ]) {
    t.equal(companyOfId(table, id), undefined, JSON.stringify(id))
  }
  t.equal(companyOfId(companyTable(testConfig()), '999'), undefined, 'without "*" no company does')
})

t.test('Names of object properties are no companies', async (t) => {
  const table = companyTable(testConfig())
  for (const name of ['constructor', '__proto__', 'toString']) {
    t.equal(table.byName.get(name), undefined)
    t.equal(companyOfId(table, name), undefined)
  }
})
