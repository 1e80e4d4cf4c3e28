// `schema`: prints the JSON Schema of the configuration.
import type { Command } from 'commander'
import { jsonSchema } from '../config/schema.ts'

export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration file')
    .action(() => {
      process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`)
    })
}
