#!/usr/bin/env node
// The command line: reads the words, runs the command, turns what went wrong into a message and an exit status.
import { Command } from 'commander'
import { addCheck } from './check.ts'
import { addDemo } from './demo.ts'
import { CommandError, EXIT } from './exit.ts'
import { addExplain } from './explain.ts'
import { watchOutput } from './output.ts'
import { addSchema } from './schema.ts'
import { addStart } from './start.ts'
import { VERSION } from './version.ts'
import { addWait } from './wait.ts'

const program = new Command('procore-proxy')
  .description("A local reverse proxy that logs in to Procore for programs that can't.")
  .version(VERSION)
  .showHelpAfterError('(see procore-proxy --help)')
  .exitOverride((error) => {
    // commander: 0 for --help and --version; whatever else it ends with, the words were off.
    process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.badConfig)
  })
for (const add of [addStart, addCheck, addExplain, addDemo, addWait, addSchema]) add(program)
for (const command of program.commands) command.copyInheritedSettings(program)

watchOutput()
refuseUnknownCommand(process.argv[2])
try {
  await program.parseAsync()
} catch (error) {
  const known = error instanceof CommandError
  process.stderr.write(`procore-proxy: ${known ? error.message : ((error as Error).stack ?? error)}\n`)
  process.exitCode = known ? error.status : EXIT.failure
}

/** commander would hand the word to the default command, whose complaint misleads. */
function refuseUnknownCommand(word: string | undefined): void {
  if (word === undefined || word.startsWith('-') || word === 'help') return
  const names = program.commands.map((command) => command.name())
  if (!names.includes(word)) program.error(`error: unknown command '${word}'; there are: ${names.join(', ')}`)
}
