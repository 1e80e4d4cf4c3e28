// The flags that commands with a configuration share, and the reading of it.
import { type Command, Option } from 'commander'
import type { Config } from '../config/config.ts'
import type { Flags } from '../config/overrides.ts'
import { ConfigError } from '../config/problems.ts'
import { CommandError, EXIT } from './exit.ts'

/** Adds the flags; each beats the variable and the file's key of the same meaning. */
export function withConfigOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file')
    .option('-l, --listen <address...>', 'address to listen on, e.g. 127.0.0.1:8377; may be repeated')
    .option('--environment <name>', 'production, sandbox, monthly-sandbox, federal or one of the file')
    .option('--company-id <id>', "the only company's id")
    .option('--client-id <id>', "the only company's client id")
    .addOption(
      new Option('--log-level <level>', 'least important lines that are written').choices([
        'fatal',
        'error',
        'warn',
        'info',
        'debug',
        'trace',
        'silent',
      ]),
    )
    .addOption(
      new Option('--log-format <format>', 'how lines are written').choices(['auto', 'json', 'readable']),
    )
}

/** Reads the configuration; a bad one ends the command with status 2 and every mistake. */
export async function readConfig(flags: Flags, options: { resolveSecrets?: boolean } = {}): Promise<Config> {
  // Loaded here: most runs of the program are those of health checks, which need no more than an address.
  const { loadConfig } = await import('../config/load.ts')
  try {
    return await loadConfig({ flags, env: process.env, cwd: process.cwd(), ...options })
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandError(error.message, EXIT.badConfig)
    throw error
  }
}
