// `status`: what a running proxy says of itself: companies, tokens, budgets, last errors.
import type { Command } from 'commander'
import type { Flags } from '../config/overrides.ts'

export interface StatusOptions extends Flags {
  url?: string
  json?: boolean
}

export function addStatus(program: Command): void {
  program
    .command('status')
    .description("show a running proxy's companies, tokens, budgets and last errors")
    .option(
      '--url <url>',
      'where the proxy listens: http://127.0.0.1:8377 or unix:/path (default: of the configuration)',
    )
    .option('-c, --config <file>', 'configuration file to take the address, and a client key, from')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nA proxy with guard.clientKeys wants one of them: it is taken from PROCORE_PROXY_KEY, or, without --url, from\nthe configuration.',
    )
    .action(async (options: StatusOptions) => {
      const { status } = await import('./status-run.ts')
      await status(options)
    })
}
