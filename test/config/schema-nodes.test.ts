import t from 'tap'
import { knownKeys, nodesAt, open } from '../../src/config/issues.ts'

t.test('the keys that may stand at a path are known, through names, unions and lists', async (t) => {
  const cases: Record<string, string[]> = {
    log: ['level', 'format'],
    'serviceAccounts/any': ['environment', 'clientId', 'clientSecret'],
    'companies/constructor/serviceAccount/clientId': ['env', 'file', 'command', 'timeout'],
    'companies/*': ['serviceAccount', 'access', 'rules', 'rewriteFileUrls'],
    'companies/acme/rules/0': ['allow', 'methods', 'deny'],
    listen: ['path', 'mode'],
    'listen/0': ['path', 'mode'],
    'companies/acme/id': [],
    'nonsense/deeper': [],
  }
  for (const [path, keys] of Object.entries(cases)) {
    const parts = path.split('/').map((part) => (part === '0' ? 0 : part))
    t.strictSame(knownKeys(parts), keys, path)
  }
  t.ok(knownKeys([]).includes('companies'))
  t.equal(nodesAt(['shutdownTimeout'])[0]?.title, 'duration')
})

t.test('a node is opened into itself, what it refers to and its branches', async (t) => {
  const plain = { type: 'string' }
  t.strictSame(open(plain), [plain])
  t.equal(open({ $ref: '#/$defs/secret' }).length, 6)
  t.equal(open({ $ref: '#/$defs/none' }).length, 1)
})
