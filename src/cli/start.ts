// `start`, the default command.
import type { Command } from 'commander'
import type { Flags } from '../config/overrides.ts'
import { withConfigOptions } from './config-options.ts'

export function addStart(program: Command): void {
  withConfigOptions(program.command('start', { isDefault: true }))
    .description('run the proxy (the default command)')
    .action(async (flags: Flags) => {
      // Loaded here: `wait` and `schema` need no server.
      const { start } = await import('./run.ts')
      await start(flags)
    })
}
