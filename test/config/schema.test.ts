import t from 'tap'
import { readDocument } from '../../src/config/document.ts'
import { readSettings } from '../../src/config/issues.ts'
import { applyOverrides } from '../../src/config/overrides.ts'
import { fileSchema, jsonSchema, RESERVED_NAMES } from '../../src/config/schema.ts'

interface Node {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: Node | false
}

t.test('an empty file has the defaults of the contract', async (t) => {
  t.strictSame(fileSchema.parse({}), {
    listen: { kind: 'tcp', host: '127.0.0.1', port: 8377 },
    environment: 'production',
    environments: {},
    defaultAccess: {},
    serviceAccounts: {},
    companies: {},
    callers: {},
    upstream: {
      connectTimeout: 10_000,
      responseTimeout: 120_000,
      connections: 64,
      maxQueued: 1000,
      retries: 2,
      compression: 'auto',
    },
    network: {},
    rateLimit: { whenExhausted: 'wait', maxWait: 60_000, maxQueued: 1000 },
    cache: { coalesce: false, keep: [], refusals: 0, size: 64_000_000 },
    lists: {
      enabled: true,
      perPage: 1000,
      maxPages: 200,
      maxProjects: 200,
      concurrency: 2,
      csvFormulas: 'escape',
    },
    recordings: { redact: [] },
    metrics: {},
    guard: {
      allowedHosts: [],
      allowedOrigins: [],
      requireHeader: false,
      clientKeys: [],
      allowUnauthenticated: false,
    },
    log: { level: 'info', format: 'auto' },
    inspector: { enabled: true, requests: 200, showQueryValues: false, bodies: false },
    shutdownTimeout: 30_000,
  })
})

t.test('the JSON Schema is one, and allows no other keys', async (t) => {
  const schema = jsonSchema()
  t.match(schema, {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'procore-proxy configuration',
    additionalProperties: false,
  })
  t.strictSame(JSON.parse(JSON.stringify(schema)), schema, 'plain JSON')
  const visit = (node: Node, path: string) => {
    if (node.properties) t.not(node.additionalProperties, undefined, `${path} is closed`)
    if (node.additionalProperties) visit(node.additionalProperties, `${path}.NAME`)
    for (const [key, inner] of Object.entries(node.properties ?? {})) {
      visit(inner, `${path}.${key}`)
    }
  }
  visit(schema as Node, '')
})

t.test('the JSON Schema knows defaults, enums, ids of both kinds and reserved names', async (t) => {
  const { properties } = jsonSchema() as { properties: Record<string, unknown> }
  t.match(properties, {
    listen: { default: '127.0.0.1:8377' },
    upstream: { properties: { connectTimeout: { default: '10s', type: 'string' } } },
    rateLimit: { properties: { whenExhausted: { enum: ['wait', 'reject', 'pass'], default: 'wait' } } },
    companies: {
      additionalProperties: {
        properties: { id: { type: ['string', 'integer'] } },
        required: ['id', 'serviceAccount'],
      },
    },
  })
  const names = (properties['companies'] as { propertyNames: { anyOf: { pattern: string }[] } }).propertyNames
  const pattern = new RegExp(names.anyOf[1]?.pattern ?? '')
  for (const name of [...RESERVED_NAMES, '*', 'A', '-a', 'a_b', '', 'é', '__proto__'])
    t.notMatch(name, pattern, name)
  for (const name of ['acme', '7656', 'rest-west', 'constructor', 'a']) t.match(name, pattern, name)
})

t.test('a section may be empty, for the JSON Schema as for the program', async (t) => {
  const { properties } = jsonSchema() as { properties: Record<string, { type?: unknown }> }
  const sections = Object.keys(properties).filter((key) => String(properties[key]?.type).includes('object'))
  t.ok(['companies', 'upstream', 'audit'].every((key) => sections.includes(key)))
  for (const key of sections) {
    t.strictSame(properties[key]?.type, ['object', 'null'], key)
    const { value } = applyOverrides(readDocument(`${key}:`).value, { flags: {}, env: {}, cwd: '/' })
    t.strictSame(readSettings(value).findings, [], key)
  }
})
