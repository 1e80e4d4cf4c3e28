// Builds the parser and the help texts from the table of commands.
import { styleText } from 'node:util'
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { VERSION } from '../observe/own-files.ts'
import { COMMANDS, type CommandSpec, type OptionSpec, type Options } from './commands.ts'

export const PROGRAM = 'procore-proxy'
export const SUMMARY = 'A local reverse proxy that logs in to Procore for programs that cannot.'

/** The parser. It throws commander's CommanderError for help, version and wrong usage instead of ending the process. */
export function buildProgram(): Command {
  const program = new Command(PROGRAM)
    .description(SUMMARY)
    .version(VERSION)
    .usage('[command] [flags]')
    .showHelpAfterError(`(see ${PROGRAM} --help)`)
    .configureHelp({
      styleTitle: bold,
      styleCommandText: bold,
      styleSubcommandText: bold,
      styleOptionText: bold,
    })
    .exitOverride()
    .commandsGroup('Help:')
    .addHelpText(
      'after',
      `\nWithout a command, "start" runs. "${PROGRAM} COMMAND --help" explains one command.`,
    )
  for (const spec of COMMANDS) addCommand(program, spec)
  return program
}

/** Puts `start` in front of arguments that name no command. A mistyped command is still recognized as one. */
export function withDefaultCommand(words: readonly string[]): string[] {
  const [first = ''] = words
  const isForProgram = /^(-h|--help|-V|--version|help)$/.test(first)
  return first === '' || (first.startsWith('-') && !isForProgram) ? ['start', ...words] : [...words]
}

function addCommand(program: Command, spec: CommandSpec): void {
  const command = program
    .command(spec.name, { hidden: spec.hidden === true })
    .copyInheritedSettings(program)
    .summary(spec.summary)
    .description(spec.about)
    .helpGroup(spec.group)
    .addHelpText('after', () => helpSections(spec))
    .action(() => spec.run(command.args, command.opts<Options>()))
  for (const { name, about, choices } of spec.arguments ?? []) {
    const argument = new Argument(name, about)
    command.addArgument(choices === undefined ? argument : argument.choices(choices))
  }
  for (const option of spec.options ?? []) command.addOption(toOption(option))
}

/** A flag given twice is an error, because one of its values would be ignored. */
function toOption({ repeatable, ...spec }: OptionSpec): Option {
  const option = new Option(spec.flags, spec.about)
  if (spec.choices) option.choices(spec.choices)
  if (spec.fallback !== undefined) option.default(spec.fallback, spec.shown ?? String(spec.fallback))
  if (spec.conflicts) option.conflicts([...spec.conflicts])
  if (!option.required) return option
  const parse = spec.choices ? option.parseArg : spec.parse
  let isGiven = false
  return option.argParser((text: string, before: unknown): unknown => {
    const value = parse === undefined ? text : parse(text, undefined)
    if (repeatable) return [...((before as unknown[] | undefined) ?? []), value]
    if (isGiven) throw new InvalidArgumentError(`Give ${spec.flags.split(' ').at(-2)} only once.`)
    isGiven = true
    return value
  })
}

/** The end of a command's help: examples, variables, exit statuses and the page to read. */
export function helpSections({ examples, variables = [], exits, docs }: CommandSpec): string {
  const sections = {
    'Examples:': examples,
    'Environment variables:': variables,
    'Exit status:': exits.flatMap((when, status) => (when === '' ? [] : `${status}  ${when}`)),
    'Documentation:': [docs],
  }
  return Object.entries(sections)
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => `\n${bold(title)}\n${lines.map((line) => `  ${line}`).join('\n')}`)
    .join('\n')
}

function bold(text: string): string {
  return styleText('bold', text)
}
