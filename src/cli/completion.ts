// `completion`: prints a script for a shell, and answers what such a script asks for while somebody types.
import { Argument, type Command } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const
export type Shell = (typeof SHELLS)[number]

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .description('print a script that completes commands, flags and company names in a shell')
    .action(async (shell: Shell) => {
      const { completionScript } = await import('./completion-run.ts')
      process.stdout.write(completionScript(shell))
    })
  // What the scripts call, with the words typed so far.
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { complete } = await import('./completion-run.ts')
      await complete(program, words)
    })
}
