// The command `completion`: prints a script for a shell, made from the table of commands, or the names of companies for it.

import { METHODS } from '../config/access-rules.ts'
import { BUILT_IN_ENVIRONMENTS } from '../config/environments.ts'
import { COMMANDS, SHELLS } from './commands.ts'
import { type CompletedCommand, SCRIPTS } from './completion-scripts.ts'
import { readConfig } from './config.ts'
import { usageError } from './exit.ts'
import type { OptionSpec, Options } from './options.ts'

type Shell = (typeof SHELLS)[number]

export async function completion(shell: string | undefined, options: Options): Promise<void> {
  if (options.companies) {
    process.stdout.write((await companyNames(options)).map((name) => `${name}\n`).join(''))
    return
  }
  if (shell === undefined) throw usageError(`name a shell: ${SHELLS.join(', ')}`)
  process.stdout.write(SCRIPTS[shell as Shell](completedCommands()))
}

/** Of the configuration; none where it cannot be read, since a shell that completes is no place for an error. */
async function companyNames({ config: file }: Options): Promise<string[]> {
  const config = await readConfig({ config: file }, { resolveSecrets: false }).catch(() => undefined)
  return (config?.companies ?? []).map(({ name }) => name)
}

/** What there is to complete, command by command. */
export function completedCommands(): CompletedCommand[] {
  return COMMANDS.filter(({ hidden }) => !hidden).map(
    ({ name, summary, options = [], arguments: [argument] = [] }) => ({
      name,
      about: summary,
      flags: [...options.map(completedFlag), { names: ['-h', '--help'], about: 'show the help' }],
      ...(argument && { argument: { offers: argument.offers, words: wordsFor(argument) } }),
    }),
  )
}

function completedFlag({ flags, about, choices, offers }: OptionSpec) {
  const names = flags.match(/-{1,2}[a-z-]+(?=,| |$)/gi) ?? []
  if (!flags.includes('<')) return { names, about }
  const words = flags.includes('--environment')
    ? BUILT_IN_ENVIRONMENTS.map(({ name }) => name)
    : (choices ?? [])
  return { names, about, value: { offers, words } }
}

function wordsFor({ choices, offers }: { choices?: readonly string[]; offers?: string }): readonly string[] {
  return offers === 'method' ? METHODS : (choices ?? [])
}
