// Covers src/guards/callers.ts: what a caller may do
import fc from 'fast-check'
import t from 'tap'
import { resolveRule } from '../../src/config/access-rules.ts'
import type { Caller } from '../../src/config/config.ts'
import type { RuleSettings } from '../../src/config/schema.ts'
import {
  decideCaller,
  judgeCaller,
  mayUseCompany,
  namedProjects,
  visibleCompanies,
} from '../../src/guards/callers.ts'
import { words } from '../fixtures/words.ts'

interface Short extends Partial<Omit<Caller, 'rules'>> {
  readonly rules?: readonly RuleSettings[]
}

function caller({ rules = [], ...short }: Short = {}): Caller {
  return {
    name: 'excel',
    keys: [],
    companies: undefined,
    access: 'read-write',
    projects: undefined,
    share: undefined,
    ...short,
    rules: rules.map(resolveRule),
  }
}

interface Asked {
  readonly method?: string
  readonly headers?: readonly string[]
  readonly company?: string
  readonly access?: 'read-only' | 'read-write'
}

function decide(short: Short, target: string, asked: Asked = {}) {
  const { method = 'GET', headers = [], company = 'acme', access = 'read-write' } = asked
  const [path = '', query = ''] = target.split(/(?=\?)/)
  const judged = { name: company, company: { access, rules: [] } }
  return decideCaller(caller(short), judged, { method, rawHeaders: headers, path, query })
}

const MINE = { projects: ['316469'] }

t.test('The narrower of the rights of caller and company holds', async (t) => {
  const path = '/rest/v1.0/me'
  const cases: [short: Short, asked: Asked, allowed: boolean, why: RegExp][] = [
    [{}, { method: 'POST' }, true, /The caller "excel" is read-write/],
    [{}, { method: 'POST', access: 'read-only' }, false, /The company is read-only/],
    [{ access: 'read-only' }, { method: 'POST' }, false, /The caller "excel" is read-only: POST/],
    [{ access: 'read-only' }, {}, true, /only reads/],
    [{ companies: ['globex'] }, {}, false, /may not use this company/],
    [{ companies: ['globex'] }, { company: 'globex' }, true, /./],
    [{ companies: [] }, {}, false, /may not use this company/],
    [{ companies: ['acme'] }, { company: '999' }, false, /may not use/],
    [{ companies: ['999'] }, { company: '999' }, true, /./],
    [{ rules: [{ deny: '/rest/v1.0/me' }] }, {}, false, /^Rule 1 of the caller "excel" \(deny .* refuses it/],
    [{ access: 'read-only', rules: [{ allow: path }] }, { method: 'POST' }, true, /^Rule 1 of the caller/],
    [
      { rules: [{ allow: path }] },
      { method: 'POST', access: 'read-only' },
      false,
      /The company is read-only/,
    ],
  ]
  for (const [short, asked, allowed, why] of cases) {
    t.match(decide(short, path, asked), { allowed, why }, JSON.stringify([short, asked]))
  }
  const request = { method: 'POST', rawHeaders: [], path, query: '' }
  const readOnly = { name: 'acme', company: { access: 'read-only' as const, rules: [] } }
  t.throws(() => judgeCaller(undefined, readOnly, request), { code: 'access_denied', message: /The company/ })
  const open = { name: 'acme', company: { access: 'read-write' as const, rules: [] } }
  t.equal(judgeCaller(undefined, open, request).allowed, true)
  t.throws(() => judgeCaller(caller({ access: 'read-only' }), open, request), {
    code: 'access_denied',
    help: /caller’s/,
  })
  t.throws(
    () => judgeCaller(caller(), readOnly, request),
    { code: 'access_denied' },
    'the narrower of the two',
  )
})

t.test('What an entrance and a caller may not call, they may not see', async (t) => {
  t.equal(visibleCompanies(undefined, undefined), undefined)
  t.equal(visibleCompanies({ companies: undefined }, undefined), undefined)
  t.same(visibleCompanies({ companies: ['a', 'b'] }, undefined), new Set(['a', 'b']))
  t.same(visibleCompanies({ companies: ['a', 'b'] }, 'a'), new Set(['a']))
  t.same(visibleCompanies({ companies: ['a', 'b'] }, 'c'), new Set())
  t.same(visibleCompanies(undefined, 'c'), new Set(['c']))
  t.ok(mayUseCompany({ companies: undefined }, 'a'))
})

t.test('A caller of one project reaches that project, and what everyone needs', async (t) => {
  for (const [target, method] of [
    ['/rest/v1.0/projects/316469'],
    ['/rest/v1.0/projects/316469.json'],
    ['/rest/v1.0/projects/316469/rfis/5.pdf'],
    ['/rest/v1.0/projects/316469/daily_logs', 'POST'],
    ['/rest/v2.0/companies/7656/projects/316469/rfis'],
    ['/rest/v1.0/rfis?project_id=316469'],
    ['/rest/v1.0/rfis?project_id[]=316469&a=b'],
    ['/rest/v1.0/rfis?project_id=316469&project[name]=x&projection=y'],
    ['/rest/v1.0/rfis?project_id=316469,316469'],
    ['/rest/v1.0/rfis?project_id=316469&filters[project_id]=&name='],
    ['/rest/v1.0/projects/316469/rfis?project_id='],
    ['/rest/v1.0/projects/316469.json2/rfis'],
    ['/rest/v1.0/projects/316469/rfis?filters[project_id]=316469'],
    ['/rest/v1.0/me'],
    ['/rest/v1.0/companies'],
    ['/rest/v1.0/companies/'],
    ['/rest/v1.0/projects?company_id=7656'],
    ['/rest/v1.0/projects', 'HEAD'],
    ['/rest/v2.0/companies/7656/projects'],
  ] as const) {
    t.match(
      decide(MINE, target, { method: method ?? 'GET' }),
      { allowed: true },
      `${method ?? 'GET'} ${target}`,
    )
  }
})

/** Calls that name another project, in some reading. */
const OTHERS = words`
  /rest/v1.0/projects/999 /rest/v1.0/projects/999/rfis /rest/v1.0/Projects/999/rfis
  /rest/v1.0/%70rojects/999/rfis /rest/v1.0/%2570rojects/999/rfis /rest/v1.0/projects%2f999
  /rest/v1.0/projects%252f999 /rest/v1.0/projects//999 /rest/v1.0/projects;a/999 /rest/v1.0/projects%3ba/999
  /rest/v1.0/projects/316469;999 /rest/v1.0/projects/0316469/rfis /rest/v1.0/projects/316469%00/rfis
  /rest/v1.0/projects/316469x/rfis /rest/v1.0/projects/+316469/rfis /rest/v1.0/projects/%20316469/rfis
  /rest/v1.0/projects/*/rfis /rest/v1.0/projects/316469/projects/999
  /rest/v1.0/projects/316469%2frfis?project_id=999 /rest/v1.0/projects/316469/rfis?project_id=999
  /rest/v1.0/rfis?project_id=999 /rest/v1.0/rfis?project_id=316469&project_id=999
  /rest/v1.0/rfis?project_id=999&project_id=316469 /rest/v1.0/rfis?project_id=316469;project_id=999
  /rest/v1.0/rfis?project_id=316469,999 /rest/v1.0/rfis?project_id=316469+
  /rest/v1.0/rfis?project_id[]=316469&project_id[]=999 /rest/v1.0/rfis?project_id=316469&project_id[0]=999
  /rest/v1.0/rfis?project_id=316469&project%5fid=999 /rest/v1.0/rfis?project_id=316469&project%255fid=999
  /rest/v1.0/rfis?project_id=316469&Project_Id=999 /rest/v1.0/rfis?project_id=316469&projectId=999
  /rest/v1.0/rfis?project_id=316469&project-id=999 /rest/v1.0/rfis?project_id=316469&project_ids[]=999
  /rest/v1.0/rfis?project_id=316469&filters[project_id]=999
  /rest/v1.0/rfis?project_id=316469&filters%5Bproject_ids%5D%5B%5D=999
  /rest/v1.0/rfis?project_id=316469&a[b][project_id]=999 /rest/v1.0/rfis?project_id=316469&project[id]=999
  /rest/v1.0/projects/316469%3fproject_id=999 /rest/v1.0/projects/316469%253fproject_id=999
  /rest/v1.0/projects/316469.0/rfis /rest/v1.0/projects/316469.0 /rest/v1.0/projects/316469.0.json
  /rest/v1.0/projects/316469%2e5/rfis /rest/v1.0/me?project_id=999 /rest/v1.0/companies?project_id=999 /vapid/projects/999
  /rest/v1.0/rfis?project_id=316469&project=999 /rest/v1.0/rfis?project_id=316469&projects[]=999
  /rest/v1.0/rfis?project_id=316469&filters[project]=999 /rest/v1.0/rfis?project_id=316469&source_project=999
  /rest/v1.0/rfis?project_id=316469&filters%5Bprojects%5D[0]=999
`

t.test('No spelling reaches another project, and no rule opens one', async (t) => {
  for (const target of OTHERS) {
    t.match(decide(MINE, target), { allowed: false, why: /names the project/ }, target)
    t.notOk(decide({ ...MINE, rules: [{ allow: '/**' }] }, target).allowed, `${target} with a rule`)
  }
  t.throws(() => decide(MINE, '/rest/v1.0/rfis?project_id=%zz'), { code: 'request_invalid' })
  t.notOk(decide(MINE, `/rest/v1.0/projects/316469/${'%25'.repeat(4)}${'25'.repeat(4)}2f`).allowed)
})

t.test('A call that names no project needs a rule of the caller', async (t) => {
  for (const [target, method] of [
    ['/rest/v1.0/companies/7656/users'],
    ['/rest/v1.0/projects', 'POST'],
    ['/rest/v1.0/projects', 'OPTIONS'],
    ['/rest/v1.0/me/x'],
    ['/rest/v1.0/x/me'],
    ['/rest/v1.0/companies/7656'],
    ['/rest/v1.0/rfis?filters[project_id]=316469'],
    ['/rest/v1.0/rfis?project_id='],
    ['/rest/v1.0/rfis?project_id=316469&project_id='],
    ['/rest/v1.0/rfis?project_id=&project_id=316469'],
    ['/rest/v1.0/rfis?project_id=316469&project_id'],
    ['/rest/v1.0/rfis?project_id=316469;project_id'],
    ['/rest/v1.0/rfis?project_id=316469&project_id[]='],
    ['/rest/v1.0/rfis?project_id=316469&project_id[]'],
    ['/rest/v1.0/rfis?project_id=316469&project_id[a]='],
    ['/rest/v1.0/rfis?project_id=316469&+project_id='],
    ['/rest/v1.0/rfis?project_id=316469&project%5fid='],
    ['/rest/v1.0/rfis?project_id=316469&[project_id]'],
    ['/rest/v1.0/rfis%3fproject_id?project_id=316469'],
    ['/_proxy/files/storage.procore.com/projects/316469/x'],
  ] as const) {
    const asked = { method: method ?? 'GET' }
    t.match(decide(MINE, target, asked), { allowed: false, why: /names none/ }, target)
    t.ok(decide({ ...MINE, rules: [{ allow: '/**' }] }, target, asked).allowed, `${target} with a rule`)
  }
  const rules: RuleSettings[] = [{ allow: '/rest/v1.0/companies/*/users' }]
  t.ok(decide({ ...MINE, rules }, '/rest/v1.0/companies/7656/users').allowed)
  t.notOk(decide({ ...MINE, rules }, '/rest/v1.0/companies/7656/vendors').allowed, 'access is no rule')
  t.notOk(decide({ ...MINE, rules }, '/rest/v1.0/companies/7656/users.json').allowed, 'nor in some reading')
  const override = { headers: ['X-HTTP-Method-Override', 'POST'] }
  t.notOk(decide(MINE, '/rest/v1.0/projects', override).allowed, 'a list that asks to be a write')
})

t.test('No random spelling of a project gets past', async () => {
  const spelt = (text: string) =>
    fc.array(fc.nat(9), { minLength: text.length, maxLength: text.length }).map((odds) =>
      [...text]
        .map((char, place) => {
          const hex = char.charCodeAt(0).toString(16)
          return [`%${hex}`, `%25${hex}`, char.toUpperCase()][odds[place]!] ?? char
        })
        .join(''),
    )
  const slash = fc.constantFrom('/', '//', '%2f', '%252f', ';a/', '%20/', '%3bb/')
  const path = fc
    .tuple(spelt('projects'), slash, spelt('999'), fc.constantFrom('', '/rfis', '.json', ';a', '%3fx'))
    .map(([name, between, id, end]) => `/rest/v1.0/${name}${between}${id}${end}?project_id=316469`)
  const query = fc
    .tuple(spelt('project_id'), fc.constantFrom('', '[]', '%5B%5D', '[a]'))
    .map(([name, end]) => `/rest/v1.0/projects/316469/rfis?${name}${end}=999`)
  fc.assert(
    fc.property(fc.oneof(path, query), (target) => {
      try {
        return !decide({ ...MINE, rules: [{ allow: '/**' }] }, target).allowed
      } catch (error) {
        return (error as { code?: string }).code === 'request_invalid'
      }
    }),
    { numRuns: 5_000 },
  )
})

t.test('The projects of path and query are named, and compared as text', async (t) => {
  t.same(namedProjects('/rest/v1.0/projects/5/x', '?project_id=7'), { ids: ['5', '7'], isConfined: true })
  t.same(namedProjects('/rest/v1.0/x', '?filters[project_id]=7'), { ids: ['7'], isConfined: false })
  t.same(namedProjects('/rest/v1.0/x', ''), { ids: [], isConfined: false })
  t.equal(namedProjects('/rest/%25252525', ''), undefined)
  t.notOk(decide(MINE, '/rest/v1.0/projects/0316469/rfis').allowed)
})
