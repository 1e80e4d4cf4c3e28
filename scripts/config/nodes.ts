// Finds the parts of the configuration's JSON Schema.
import type { Path } from '../../src/config/problems.ts'

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
export type RootNode = SchemaNode & { readonly $defs: Readonly<Record<string, SchemaNode>> }

/** A node, what it refers to, and the branches of its unions; the node itself comes first. */
export function open(node: SchemaNode, whole: RootNode): SchemaNode[] {
  const target = node.$ref === undefined ? undefined : whole.$defs[node.$ref.replace('#/$defs/', '')]
  return [node, ...(target ? [target] : []), ...(node.anyOf ?? [])].flatMap((one) =>
    one === node ? [one] : open(one, whole),
  )
}

/** Every node for the value at a path. */
export function nodesAt(path: Path, whole: RootNode): SchemaNode[] {
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
