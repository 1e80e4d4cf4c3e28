// Covers src/routing/raw-request.ts
import t from 'tap'
import { COMPANY_ID, METHOD_OVERRIDE, queryValues } from '../../src/routing/raw-request.ts'
import { words } from '../fixtures/words.ts'

t.test('A parameter is found wherever and however it is written', async (t) => {
  const cases: [query: string, values: string[]][] = [
    ['', []],
    ['?', []],
    ['?a=1', []],
    ['?a=%20', []],
    ['?company_id=7', ['7']],
    ['?a=1&company_id=7&b', ['7']],
    ['?company_id=7&company_id=8', ['7', '8']],
    ['?a=1;company_id=7', ['7']],
    ['?company_id=7;a=1', ['7']],
    ['?company_id[]=7', ['7']],
    ['?company_id%5B%5D=7', ['7']],
    ['?company_id[x]=7', ['7']],
    ['?company_id]=7', ['7']],
    ['?[company_id]=7', ['7']],
    ['?company%5fid=7', ['7']],
    ['?%63ompany_id=%37', ['7']],
    ['?company_id=+7', [' 7']],
    ['?company_id=7%268', ['7&8']],
    ['?company_id=a=b', ['a=b']],
    ['?+company_id=7', ['7']],
    ['?company_id%20=7', ['7']],
    ['?company_id%00=7', ['7']],
    ['?company_id', []],
    ['?company_id=', []],
    ['?company_id=&company_id=7', ['7']],
    ['?company%255fid=7', ['7']],
    ['?company%25255fid=7', ['7']],
    ['?Company_ID=7', ['7']],
    ['?COMPANY%5FID[]=7', ['7']],
    ['?company_ids=7', []],
    ['?my_company_id=7', []],
    ['?filters[company_id]=7', []],
    ['?a=company_id', []],
    ['?a=company_id=7', []],
    ['?a=%zz&company_id=7', ['7']],
    ['?%zz=1&company_id=7', ['7']],
    ['?%ff=1', []],
  ]
  for (const [query, values] of cases) t.same(queryValues(query, COMPANY_ID), values, query)
})

t.test('What can be no other key, or is its value, must be decodable', async (t) => {
  const queries = words`
    ?company_id=%zz ?company_id=% ?company_id=%ff ?company_id[]=7%c0%ae ?company_id%zz=7 ?company_id%ff=7
    ?%ffcompany_id=7 ?%company_id=7 ?company%zz_id=7 ?company%ff_id=7 ?company%5fid%=7
  `
  for (const query of queries) {
    t.throws(() => queryValues(query, COMPANY_ID), { code: 'request_invalid' }, query)
  }
})

t.test('The override of the method is found in the same spellings', async (t) => {
  for (const query of ['?_method=put', '?a=1;_METHOD=put', '?%5Fmethod=put', '?%255Fmethod[]=put']) {
    t.same(queryValues(query, METHOD_OVERRIDE), ['put'], query)
  }
  t.same(queryValues('?http_method=put', METHOD_OVERRIDE), [])
})
