// Looks up a path in the JSON Schema: which keys are allowed there, and which are required.
import type { Path } from './problems.ts'
import { jsonSchema } from './schema.ts'

/** The part of JSON Schema that this configuration uses. */
export interface SchemaNode {
  readonly $ref?: string
  readonly title?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly default?: unknown
  readonly anyOf?: readonly SchemaNode[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly additionalProperties?: SchemaNode | false
  readonly required?: readonly string[]
  readonly items?: SchemaNode
}

/** The schema of the whole file. */
export interface RootNode extends SchemaNode {
  readonly $defs: Readonly<Record<string, SchemaNode>>
}

let root: RootNode | undefined

/** Made when it is first needed: a configuration without mistakes never needs it. */
function rootNode(): RootNode {
  root ??= jsonSchema() as unknown as RootNode
  return root
}

/** A node, what it refers to, and the branches of its unions; the node itself comes first. */
export function open(node: SchemaNode, whole = rootNode()): SchemaNode[] {
  const target = node.$ref === undefined ? undefined : whole.$defs[node.$ref.replace('#/$defs/', '')]
  return [node, ...(target ? [target] : []), ...(node.anyOf ?? [])].flatMap((one) =>
    one === node ? [one] : open(one, whole),
  )
}

/** Every node for the value at a path. */
export function nodesAt(path: Path, whole = rootNode()): SchemaNode[] {
  let nodes: SchemaNode[] = [whole]
  for (const part of path) {
    nodes = nodes.flatMap((node) => {
      const properties = new Map(Object.entries(node.properties ?? {}))
      const next = typeof part === 'number' ? node.items : (properties.get(part) ?? node.additionalProperties)
      return next ? open(next, whole) : []
    })
  }
  return nodes
}

/** The keys that are allowed in the map at a path; none if any name is. */
export function knownKeys(path: Path): string[] {
  return [...new Set(nodesAt(path).flatMap((node) => Object.keys(node.properties ?? {})))]
}
