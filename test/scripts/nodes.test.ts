import t from 'tap'
import { describedSchema } from '../../scripts/config/json-schema.ts'
import { nodesAt, open } from '../../scripts/config/nodes.ts'
import type { Path } from '../../src/config/problems.ts'

const root = describedSchema()

t.test('the nodes at a path are found, through names, unions and lists', async (t) => {
  const cases: Record<string, string[]> = {
    log: ['level', 'format'],
    'serviceAccounts/any': ['environment', 'clientId', 'clientSecret'],
    'companies/constructor/serviceAccount/clientId': ['env', 'file', 'command', 'timeout'],
    'companies/*': ['serviceAccount', 'access', 'rules', 'rewriteFileUrls'],
    'companies/acme/rules/0': ['allow', 'methods', 'deny', 'methods'],
    listen: ['path', 'mode'],
    'listen/0': ['path', 'mode'],
    'companies/acme/id': [],
    'nonsense/deeper': [],
  }
  const keysAt = (path: Path) => nodesAt(path, root).flatMap(({ properties = {} }) => Object.keys(properties))
  for (const [path, keys] of Object.entries(cases)) {
    const parts = path.split('/').map((part) => (part === '0' ? 0 : part))
    t.strictSame(keysAt(parts), keys, path)
  }
  t.ok(keysAt([]).includes('companies'))
  t.equal(nodesAt(['shutdownTimeout'], root)[0]?.title, 'duration')
})

t.test('a node is opened into itself, what it refers to and its branches', async (t) => {
  const plain = { type: 'string' }
  t.strictSame(open(plain, root), [plain])
  t.equal(open({ $ref: '#/$defs/secret' }, root).length, 6)
  t.equal(open({ $ref: '#/$defs/none' }, root).length, 1)
})
