// Builds the parser and the help texts from the table of commands.
import { styleText } from 'node:util'
import { Command, type Option } from 'commander'
import { VERSION } from '../observe/own-files.ts'
import { COMMANDS, type CommandSpec, collect, type Options } from './commands.ts'

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
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, `${PROGRAM}:`)) })
    .exitOverride()
    .commandsGroup('Help:')
    .addHelpText(
      'after',
      `\nWithout a command, "start" runs. "${PROGRAM} COMMAND --help" explains one command.`,
    )
  for (const spec of COMMANDS) addCommand(program, spec)
  return program
}

/**
 * Puts the command in front of the flags: `start` where none is named. A mistyped command at the beginning is still
 * recognized as one.
 */
export function withDefaultCommand(words: readonly string[]): string[] {
  const [first = ''] = words
  const isForProgram = /^(-h|--help|-V|--version|help)$/.test(first)
  if (first !== '' && (!first.startsWith('-') || isForProgram)) return [...words]
  const isCommand = (word: string, at: number) =>
    !takesValue(words[at - 1]) && COMMANDS.some(({ name }) => name === word)
  const place = words.findIndex(isCommand)
  return place === -1 ? ['start', ...words] : [words[place] as string, ...words.toSpliced(place, 1)]
}

/** Whether the word after this one is the value of a flag. */
function takesValue(word = ''): boolean {
  const options = COMMANDS.flatMap(({ options = [] }) => options)
  return options.some(({ required, short, long }) => required && (word === short || word === long))
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
  for (const argument of spec.arguments ?? []) command.addArgument(argument)
  for (const option of spec.options ?? []) {
    command.addOption(option)
    if (option.required && option.parseArg !== collect) allowOnce(command, option)
  }
}

/** A flag with a value that is given twice is an error, because one of its values would be ignored. */
function allowOnce(command: Command, option: Option): void {
  let isGiven = false
  command.on(`option:${option.name()}`, () => {
    if (isGiven) command.error(`error: give --${option.name()} only once`)
    isGiven = true
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
