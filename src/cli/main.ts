// The command line: reads the words, runs the command, turns what went wrong into a message and an exit status.
import { Command } from 'commander'
import { VERSION } from '../observe/version.ts'
import { addCheck } from './check.ts'
import { addCompletion } from './completion.ts'
import { addDemo } from './demo.ts'
import { CommandError, EXIT } from './exit.ts'
import { addExplain } from './explain.ts'
import { addFake } from './fake.ts'
import { addInit } from './init.ts'
import { watchOutput } from './output.ts'
import { addSchema } from './schema.ts'
import { addStart } from './start.ts'
import { addStatus } from './status.ts'
import { addToken } from './token.ts'
import { addWait } from './wait.ts'

const program = new Command('procore-proxy')
  .description("A local reverse proxy that logs in to Procore for programs that can't.")
  .version(VERSION)
  .showHelpAfterError('(see procore-proxy --help)')
  .exitOverride((error) => {
    // commander: 0 for --help and --version; whatever else it ends with, the words were off.
    process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.badConfig)
  })
for (const add of [
  addStart,
  addCheck,
  addInit,
  addExplain,
  addToken,
  addDemo,
  addFake,
  addStatus,
  addWait,
  addSchema,
  addCompletion,
])
  add(program)
for (const command of program.commands) command.copyInheritedSettings(program)

watchOutput()
refuseUnknownCommand(process.argv[2])
// No await here: the bundle is CommonJS.
program.parseAsync().catch((error: Error) => {
  const known = error instanceof CommandError
  process.stderr.write(`procore-proxy: ${known ? error.message : (error.stack ?? error)}\n`)
  process.exitCode = known ? error.status : EXIT.failure
})

/** commander would hand the word to the default command, whose complaint misleads. */
function refuseUnknownCommand(word: string | undefined): void {
  if (word === undefined || word.startsWith('-') || word === 'help') return
  if (program.commands.some((command) => command.name() === word)) return
  const names = program
    .createHelp()
    .visibleCommands(program)
    .map((command) => command.name())
  program.error(`error: unknown command '${word}'; there are: ${names.join(', ')}`)
}
