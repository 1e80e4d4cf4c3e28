// The JSON Schema with a description for each key, which editors show.

import { jsonSchema } from '../../src/config/schema.ts'
import { DESCRIPTIONS } from './descriptions.ts'
import type { RootNode, SchemaNode } from './nodes.ts'

/** @throws if a key has no description. */
export function describedSchema(): RootNode {
  const { $schema, ...root } = jsonSchema() as unknown as RootNode & { $schema: string }
  const $defs = Object.entries(root.$defs).map(([id, node]) => [id, described(node, id)])
  return { $schema, ...described(root, ''), $defs: Object.fromEntries($defs) } as RootNode
}

/** The text of the JSON Schema file. */
export function schemaFile(): string {
  return `${JSON.stringify(describedSchema(), null, 2)}\n`
}

function described(node: SchemaNode, key: string): SchemaNode {
  const { properties, additionalProperties, items, anyOf, ...rest } = node
  const inner = (name: string) => (key === '' ? name : `${key}.${name}`)
  const below = Object.entries(properties ?? {}).map(([name, value]) => {
    const description = descriptionOf(inner(name))
    if (description === undefined) throw new Error(`scripts/config/descriptions.ts lacks ${inner(name)}`)
    return [name, described({ description, ...value }, inner(name))]
  })
  const named = additionalProperties && described(additionalProperties, inner('NAME'))
  const description = named && descriptionOf(inner('NAME'))
  return {
    ...rest,
    ...(properties && { properties: Object.fromEntries(below) }),
    ...(additionalProperties === false && { additionalProperties }),
    ...(named && { additionalProperties: description ? { description, ...named } : named }),
    ...(items && { items: described(items, key) }),
    ...(anyOf && { anyOf: anyOf.map((branch) => described(branch, key)) }),
  }
}

/** `"*"` has the keys of a company, and a company's own service account those of a shared one. */
function descriptionOf(key: string): string | undefined {
  const ofCompany = key.replace(/^companies\.\*\./, 'companies.NAME.')
  const ofAccount = ofCompany.replace(/^companies\.NAME\.serviceAccount\./, 'serviceAccounts.NAME.')
  return DESCRIPTIONS[key] ?? DESCRIPTIONS[ofCompany] ?? DESCRIPTIONS[ofAccount]
}
