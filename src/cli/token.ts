// `token`: prints a fresh access token, for tools that can send one but not get one.
import type { Command } from 'commander'
import type { Flags } from '../config/overrides.ts'
import { withConfigOptions } from './config-options.ts'

export interface TokenOptions extends Flags {
  readonly show?: boolean
}

export function addToken(program: Command): void {
  withConfigOptions(program.command('token').argument('<company>', 'its name or id'))
    .description('print a fresh access token for a company, and nothing else')
    .option('--show', 'print it on a terminal too, where it stays to be read')
    .action(async (name: string, options: TokenOptions) => {
      const { token } = await import('./token-run.ts')
      await token(name, options)
    })
}
