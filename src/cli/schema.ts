// The `schema` command: prints the JSON Schema of the configuration.
import type { Command } from 'commander'

export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration file')
    .action(async () => {
      const { default: schema } = await import('../../config/procore-proxy.schema.json', {
        with: { type: 'json' },
      })
      process.stdout.write(`${JSON.stringify(schema, null, 2)}\n`)
    })
}
