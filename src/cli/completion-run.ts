// What `completion` does. @bomb.sh/tab brings the scripts and the matching; its adapter for commander is not used, because
// it can't wait for the company names, which stand in a file.
import { type Complete, RootCommand, script, type Command as TabCommand } from '@bomb.sh/tab'
import type { Command } from 'commander'
import { METHODS } from '../config/access-rules.ts'
import { BUILT_IN_ENVIRONMENTS } from '../config/environments.ts'
import { loadConfig } from '../config/load.ts'
import type { Shell } from './completion.ts'

const NAME = 'procore-proxy'

/** The script for a shell, ready to be sourced. */
export function completionScript(shell: Shell): string {
  // tab prints it, and knows no other way.
  const lines: string[] = []
  const { log } = console
  console.log = (text: string) => void lines.push(text)
  try {
    script(shell, NAME, NAME)
  } finally {
    console.log = log
  }
  const text = `${lines.join('\n')}\n`
  return shell === 'bash' ? forPlainBash(text) : text
}

/** The words as bash has them, for which `=` is one of its own: `--config`, `=`, `FILE`. */
const WORDS_IN_BASH = `
__procore_proxy_words() {
    words=("\${COMP_WORDS[@]:0:COMP_CWORD+1}")
    cword=$COMP_CWORD
    cur=\${COMP_WORDS[COMP_CWORD]}
    prev=\${COMP_WORDS[COMP_CWORD-1]}
    if [[ $cur == "=" ]]; then cur=; fi
}
`

/**
 * tab's script needs the package bash-completion and then finds nothing behind `--flag=`; it declares constants, over which a
 * second sourcing (or another program's script of tab's) stumbles; and it hands the typed words to eval as they are, so that
 * Tab would run a $(…) among them.
 */
function forPlainBash(text: string): string {
  return text
    .replaceAll(/^readonly (ShellCompDirective)/gm, '$1')
    .replace('_get_comp_words_by_ref -n "=:" cur prev words cword', '__procore_proxy_words')
    .replace(`complete -- \${words[@]:1}"`, `complete -- $(printf '%q ' "\${words[@]:1}")"`)
    .replace('\n', `\n${WORDS_IN_BASH}`)
}

/** Prints what the last of the words may become, one candidate a line. */
export async function complete(program: Command, typed: readonly string[]): Promise<void> {
  const words = apart(typed)
  const names = await companyNames(words)
  const root = new RootCommand()
  const visible = program.createHelp().visibleCommands(program)
  // What follows no command is meant for the default one.
  const start = visible.filter((command) => command.name() === 'start')
  for (const command of [program, ...start]) describeOptions(root, command)
  for (const command of visible) {
    const described = root.command(command.name(), command.description())
    describeOptions(described, command)
    for (const argument of command.registeredArguments) {
      const values = argument.argChoices ?? VALUES[argument.name()]?.(names) ?? []
      described.argument(argument.name(), suggest(values), argument.variadic)
    }
  }
  root.parse(words)
}

/** `--flag=value` as two words, which is what tab understands; the last word stays, for the shells that replace all of it. */
function apart(typed: readonly string[]): string[] {
  return typed.flatMap((word, index) => {
    if (word === '=' && typed[index - 1]?.startsWith('--')) return []
    const pair = index < typed.length - 1 ? /^(--[^=]+)=(.*)$/.exec(word) : null
    return pair?.slice(1) ?? [word]
  })
}

/** What an argument or a flag's value may be, by its name in the help. */
const VALUES: Readonly<Record<string, (companies: readonly string[]) => readonly string[]>> = {
  company: (companies) => companies,
  method: () => METHODS,
  environment: () => BUILT_IN_ENVIRONMENTS.map(({ name }) => name),
}

function describeOptions(to: TabCommand, command: Command): void {
  for (const option of command.createHelp().visibleOptions(command)) {
    const name = option.long!.replace(/^--/, '')
    const short = option.short?.replace(/^-/, '')
    if (option.required) {
      const values = option.argChoices ?? VALUES[name]?.([]) ?? []
      to.option(name, option.description, suggest(values), short)
    } else if (short === undefined) to.option(name, option.description)
    else to.option(name, option.description, short)
  }
}

function suggest(values: readonly string[]): (complete: Complete) => void {
  return (complete) => {
    for (const value of values) complete(value, '')
  }
}

/** From the configuration that the words name, or the usual one; none where it can't be read. No secret is. */
async function companyNames(words: readonly string[]): Promise<string[]> {
  const at = words.findLastIndex((word) => word === '-c' || word === '--config')
  try {
    const { companies } = await loadConfig({
      flags: at === -1 ? {} : { config: words[at + 1] },
      env: process.env,
      cwd: process.cwd(),
      resolveSecrets: false,
    })
    return companies.map(({ name }) => name)
  } catch {
    return []
  }
}
