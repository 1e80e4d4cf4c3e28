import t from 'tap'
import { ConfigError, didYouMean, keyOf, quoted, renderProblem } from '../../src/config/problems.ts'

t.test('a path is written as a user would write it', async (t) => {
  const cases: [(string | number)[], string][] = [
    [[], ''],
    [['companies', 'acme', 'id'], 'companies.acme.id'],
    [['listen', 1], 'listen[1]'],
    [['companies', '*', 'listen'], 'companies."*".listen'],
    [['companies', 'a b'], 'companies."a b"'],
    [['guard', 'clientKeys', 0, 'env'], 'guard.clientKeys[0].env'],
  ]
  for (const [path, text] of cases) t.equal(keyOf(path), text)
})

t.test('a problem is one line: place, key, message, fix', async (t) => {
  const mistake = { message: 'is wrong', fix: 'Do it right' }
  t.equal(
    renderProblem({ file: '/f.yaml', line: 2, column: 3, key: 'a.b', ...mistake }),
    '/f.yaml:2:3 a.b: is wrong. Do it right',
  )
  t.equal(renderProblem({ file: '/f.yaml', key: '', ...mistake }), '/f.yaml: is wrong. Do it right')
  t.equal(renderProblem({ key: 'PROCORE_CLIENT_ID', ...mistake }), 'PROCORE_CLIENT_ID: is wrong. Do it right')
  t.equal(renderProblem({ key: '', ...mistake }), 'is wrong. Do it right')
  t.equal(renderProblem({ key: 'a', message: 'b\nc\x1b[31m', fix: 'd' }), 'a: b\uFFFDc\uFFFD[31m. d')
})

t.test('an error holds every problem once, in the order of the file', async (t) => {
  const mistake = { message: 'm', fix: 'x' }
  const at = (line: number, column: number) => ({
    file: '/f',
    line,
    column,
    key: `k${line}${column}`,
    ...mistake,
  })
  const error = new ConfigError([{ key: 'VARIABLE', ...mistake }, at(3, 1), at(2, 9), at(2, 1), at(3, 1)])
  t.strictSame(
    error.problems.map(({ key }) => key),
    ['k21', 'k29', 'k31', 'VARIABLE'],
  )
  t.equal(error.message, '/f:2:1 k21: m. x\n/f:2:9 k29: m. x\n/f:3:1 k31: m. x\nVARIABLE: m. x')
  t.equal(error.name, 'ConfigError')
})

t.test('quoted text is short and holds no password', async (t) => {
  t.equal(quoted('a"b'), '"a\\"b"')
  t.equal(quoted('https://user:pass@host/'), '"https://…@host/"')
  t.equal(
    quoted('https://user:pa/ss@wo?rd@host/'),
    '"https://…@host/"',
    'nor one with characters that have to be escaped',
  )
  t.equal(quoted('x'.repeat(100)).length, 82)
})

t.test('a word close to a known one is taken for a slip of the keyboard', async (t) => {
  const known = ['listen', 'rateLimit', 'log', 'upstream', 'connectTimeout']
  const cases: [string, string][] = [
    ['lissten', 'listen'],
    ['lsiten', 'listen'],
    ['Listen', 'listen'],
    ['rate_limit', 'rateLimit'],
    ['lgo', 'log'],
    ['conectTimout', 'connectTimeout'],
    ['lamp', ''],
    ['version', ''],
    ['', ''],
  ]
  for (const [word, meant] of cases) {
    t.equal(didYouMean(word, known), meant === '' ? '' : `Did you mean ${meant}? `, word)
  }
  t.equal(didYouMean('anything', []), '')
})
