// `schema`: prints the JSON Schema of the configuration.
import type { Command } from 'commander'

export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration file')
    .action(async () => {
      const { jsonSchema } = await import('../config/schema.ts')
      process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`)
    })
}
