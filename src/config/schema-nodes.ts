// Finds what the JSON Schema says of a path: which keys may stand there, and their descriptions.
import type { Path } from './problems.ts'
import { jsonSchema } from './schema.ts'

/** The part of JSON Schema that this configuration uses. */
export interface SchemaNode {
  readonly $ref?: string
  readonly title?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly default?: unknown
  readonly anyOf?: readonly SchemaNode[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly additionalProperties?: SchemaNode | false
  readonly required?: readonly string[]
  readonly items?: SchemaNode
}

interface RootNode extends SchemaNode {
  readonly $defs: Readonly<Record<string, SchemaNode>>
}

let root: RootNode | undefined

/** The schema of the whole file; made when it is first asked for, which a configuration without mistakes never does. */
export function rootNode(): RootNode {
  root ??= jsonSchema() as unknown as RootNode
  return root
}

/** A node, what it refers to, and the branches of its unions; the node itself comes first. */
export function open(node: SchemaNode): SchemaNode[] {
  const target = node.$ref === undefined ? undefined : rootNode().$defs[node.$ref.replace('#/$defs/', '')]
  return [node, ...(target === undefined ? [] : open(target)), ...(node.anyOf ?? []).flatMap(open)]
}

/** Every node that describes the value at a path. */
export function nodesAt(path: Path): SchemaNode[] {
  let nodes = open(rootNode())
  for (const part of path) {
    nodes = nodes.flatMap((node) => {
      const properties = new Map(Object.entries(node.properties ?? {}))
      const next = typeof part === 'number' ? node.items : (properties.get(part) ?? node.additionalProperties)
      return next ? open(next) : []
    })
  }
  return nodes
}

/** The keys that may stand in the map at a path; none where any name may. */
export function knownKeys(path: Path): string[] {
  return [...new Set(nodesAt(path).flatMap((node) => Object.keys(node.properties ?? {})))]
}
