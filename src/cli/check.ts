// `check`: tries the configuration for real, and says of each failure what to do about it.
import type { Command } from 'commander'
import type { Flags } from '../config/overrides.ts'
import { withConfigOptions } from './config-options.ts'

interface CheckOptions extends Flags {
  offline?: boolean
  json?: boolean
}

export function addCheck(program: Command): void {
  withConfigOptions(program.command('check').argument('[company...]', 'companies to check (default: all)'))
    .description('get a token for each service account and call /rest/v1.0/me for each company')
    .option('--offline', 'stop after the configuration: call nobody')
    .option('--json', 'print JSON')
    .action(async (names: string[], options: CheckOptions) => {
      const { check } = await import('./check-run.ts')
      await check(names, options)
    })
}
