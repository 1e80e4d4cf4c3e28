// `explain`: says what the proxy would do with a request, without sending anything.
import type { Command } from 'commander'
import type { Flags } from '../config/overrides.ts'
import { withConfigOptions } from './config-options.ts'

export interface ExplainOptions extends Flags {
  header?: string[]
  json?: boolean
}

export function addExplain(program: Command): void {
  withConfigOptions(
    program
      .command('explain')
      .argument('<method>', 'such as GET')
      .argument(
        '<url>',
        'as the caller would send it: /acme/rest/v1.0/me or http://acme.localhost:8377/rest/v1.0/me',
      ),
  )
    .description('print what would become of a request, and why; sends nothing')
    .option('-H, --header <line>', "a header of the caller's, 'Name: value'; may be repeated", collect)
    .option('--json', 'print JSON')
    .action(async (method: string, url: string, options: ExplainOptions) => {
      const { explain } = await import('./explain-run.ts')
      await explain(method, url, options)
    })
}

function collect(line: string, lines: string[] = []): string[] {
  return [...lines, line]
}
