// The annotated sample file: a small configuration with every description of the schema at its key.
import { Document, isScalar, type Pair, type Scalar, visit } from 'yaml'
import type { Path } from '../../src/config/problems.ts'
import { SCHEMA_FILE } from '../../src/config/schema.ts'
import { describedSchema } from './json-schema.ts'
import { nodesAt, type SchemaNode } from './nodes.ts'

const root = describedSchema()

const SAMPLE = {
  listen: undefined,
  environment: undefined,
  defaultAccess: { production: 'read-only' },
  serviceAccounts: {
    app: { clientId: { env: 'APP_CLIENT_ID' }, clientSecret: { env: 'APP_CLIENT_SECRET' } },
  },
  companies: {
    acme: { id: '7656', serviceAccount: 'app', default: true, access: 'read-write' },
    globex: {
      id: '562949953443325',
      serviceAccount: {
        environment: 'sandbox',
        clientId: { env: 'GLOBEX_CLIENT_ID' },
        clientSecret: { env: 'GLOBEX_CLIENT_SECRET' },
      },
      listen: '127.0.0.1:8401',
      access: 'read-only',
      rules: [
        { deny: ['/rest/**/users', '/rest/**/users/**'] },
        { allow: '/rest/v1.0/projects/*/daily_logs/**', methods: ['writes'] },
      ],
      rewriteFileUrls: true,
    },
    '*': { serviceAccount: 'app' },
  },
  upstream: undefined,
  network: {},
  rateLimit: undefined,
  cache: undefined,
  lists: undefined,
  recordings: undefined,
  guard: undefined,
  metrics: {},
  log: undefined,
  shutdownTimeout: undefined,
}

const HEADER = `# yaml-language-server: $schema=./${SCHEMA_FILE}
# A sample configuration of procore-proxy; npm run generate makes it from scripts/config.
# Only companies and their service accounts are required. From "upstream" on, the values are the defaults.
# Copy the file to procore-proxy.yaml, and run chmod 600 on it if you write a secret into it.
`

const WIDTH = 100

/** The sample, ready to be written to a file. */
export function sampleYaml(): string {
  const entries = Object.entries(SAMPLE).map(([key, value]) => [
    key,
    value ?? defaultOf(nodesAt([key], root)[0]),
  ])
  const document = new Document(Object.fromEntries(entries))
  const shown = new Set<string>()
  visit(document, {
    Pair(_, pair, ancestors) {
      const path = pathOf([...ancestors, pair] as unknown[])
      const key = pair.key as Scalar
      const description = descriptionAt(path)
      if (path.length === 1) key.spaceBefore = true
      // {env: NAME} stays on one line.
      if (description === undefined || shown.has(description) || path.at(-1) === 'env') return
      shown.add(description)
      key.commentBefore = wrap(description, WIDTH - 2 * path.length)
    },
    Map(_, map, ancestors) {
      // {env: NAME} and rules on one line
      const key = String(pathOf(ancestors as unknown[]).at(-1))
      if (key === 'rules' || (map.items.length === 1 && key.startsWith('client'))) map.flow = true
    },
  })
  return HEADER + document.toString({ lineWidth: 0, flowCollectionPadding: true })
}

/** The default that a section's keys make together. */
function defaultOf(node: SchemaNode | undefined): unknown {
  const properties = Object.entries(node?.properties ?? {})
  if (properties.length === 0) return node?.default
  return Object.fromEntries(properties.map(([key, inner]) => [key, defaultOf(inner)]))
}

function pathOf(ancestors: readonly unknown[]): Path {
  return ancestors.flatMap((node) => {
    const key = (node as Pair | null)?.key
    return isScalar(key) ? [String(key.value)] : []
  })
}

function descriptionAt(path: Path): string | undefined {
  return nodesAt(path, root).find((node) => node.description !== undefined)?.description
}

function wrap(text: string, width: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > width) {
      lines.push(line)
      line = ''
    }
    line += ` ${word}`
  }
  return [...lines, line].join('\n')
}
